// SVG elements, and drawings that follow the width of their place. Knows no figure.

const NAMESPACE = "http://www.w3.org/2000/svg";

/** An element; children are elements or text. */
export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Keeps in `element` what `draw(width)` makes; call `redraw` when what it shows has changed. */
export class Drawing {
  constructor(element, draw) {
    this.element = element;
    this.draw = draw;
    this.width = 0;
    new ResizeObserver(([entry]) => {
      if (entry.contentRect.width === this.width) return;
      this.width = entry.contentRect.width;
      this.redraw();
    }).observe(element);
  }

  redraw() {
    if (this.width) this.element.replaceChildren(this.draw(this.width));
  }
}

/** A picture of this size in pixels. */
export function picture(width, height, ...children) {
  return svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, ...children);
}

/** A line with a head at its end, `gap` pixels short of both ends. */
export function arrow(from, to, className, gap = 0) {
  const length = Math.hypot(to.x - from.x, to.y - from.y);
  const [dx, dy] = [(to.x - from.x) / length, (to.y - from.y) / length];
  const a = { x: from.x + dx * gap, y: from.y + dy * gap };
  const b = { x: to.x - dx * gap, y: to.y - dy * gap };
  const head = [-1, 1].map((side) => `M${b.x} ${b.y}l${-dx * 6 - side * dy * 3.5} ${-dy * 6 + side * dx * 3.5}`).join("");
  return svg("path", { class: className, d: `M${a.x} ${a.y}L${b.x} ${b.y}${head}` });
}
