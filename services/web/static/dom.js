// Small pieces of a document, made of text alone. Knows no page.

import { visible } from "./text.js";

export const byId = (id) => document.getElementById(id);

/** Writes `text` where it differs, so that a reader of the screen hears changes alone; no matter where it is not. */
export function setText(id, text) {
  const element = byId(id);
  if (element && element.textContent !== text) element.textContent = text;
}

/** An element of a class with a text that others wrote, every invisible character written out. */
export function element(tag, { className = "", text = "" } = {}) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = visible(text);
  return made;
}

/** A row of cells; numbers are set to the right. */
export function tableRow(cells) {
  const row = document.createElement("tr");
  for (const { text, isNumber = false } of cells) {
    const cell = row.insertCell();
    cell.textContent = text;
    if (isNumber) cell.className = "number";
  }
  return row;
}

/** What a network wrote after its prompt. */
export function written({ prompt, text }) {
  const block = element("pre", { className: "sample" });
  block.dir = "auto";
  block.tabIndex = 0;
  block.append(element("span", { className: "prompt", text: prompt }), visible(text));
  return block;
}

/** Puts what the server wrote in the place of the element of its id, unless nothing differs. Parsing runs nothing. */
export function putPart(html, id) {
  const next = new DOMParser().parseFromString(html, "text/html").getElementById(id);
  const old = byId(id);
  if (!next || !old || next.isEqualNode(old)) return;
  const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
  const open = [...old.querySelectorAll("details")].map((details) => details.open);
  [...next.querySelectorAll("details")].forEach((details, at) => (details.open = open[at] ?? false));
  old.replaceWith(document.adoptNode(next));
  if (focused) (byId(focused) ?? next.querySelector("[tabindex]"))?.focus({ preventScroll: true });
}
