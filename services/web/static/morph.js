// Makes a part of the page equal to a newer one, touching what differs alone: scroll, focus and open details stay.

/** `shown` becomes as `next`. What somebody is about to confirm (data-asking) is left as it is. */
export function morph(shown, next) {
  if (shown.isEqualNode(next) || shown.dataset?.asking !== undefined) return;
  if (shown.nodeType !== next.nodeType || shown.nodeName !== next.nodeName || shown.id !== next.id) {
    shown.replaceWith(document.adoptNode(next));
  } else if (shown.nodeType === Node.ELEMENT_NODE) {
    attributes(shown, next);
    children(shown, next);
  } else {
    shown.nodeValue = next.nodeValue;
  }
}

function attributes(shown, next) {
  for (const { name, value } of next.attributes) if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  for (const { name } of [...shown.attributes]) {
    const isOfTheReader = name === "open" && shown.nodeName === "DETAILS";
    if (!next.hasAttribute(name) && !isOfTheReader) shown.removeAttribute(name);
  }
}

/** Children with an id are found again wherever they went; others are taken in their order. */
function children(shown, next) {
  const named = new Map([...shown.children].filter((child) => child.id).map((child) => [child.id, child]));
  let at = shown.firstChild;
  for (const child of [...next.childNodes]) {
    const same = child.id ? named.get(child.id) : null;
    if (same && same !== at) shown.insertBefore(same, at);
    const old = same ?? (at && !at.id && !child.id ? at : null);
    if (!old) {
      shown.insertBefore(document.adoptNode(child), at);
      continue;
    }
    at = old.nextSibling;
    morph(old, child);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}
