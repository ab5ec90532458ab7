// SVG elements. Knows no drawing.

const NAMESPACE = "http://www.w3.org/2000/svg";

/** `svg("line", {x1: 0}, child, ...)`; a child that is no node becomes text. */
export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
