// A small plot of dots, and of a line that steps: x against y, one dot a trial. Knows no service.

import { scaleOf, short } from "./scales.js";
import { svg } from "./svg.js";

const HEIGHT = 230;
const MARGIN = { left: 58, right: 14, top: 10, bottom: 38 };

/** Draws into `element`; tells `onHover(number | null)` and `onPick(number)`. */
export class Dots {
  constructor(element, { onHover, onPick }) {
    this.element = element;
    this.on = { onHover, onPick };
    this.dots = new Map();
  }

  /** `points`: {number, x, y, isBest}, of which those without a place on an axis are left out; `steps`: [[x, y], ...] of a line that holds each y until the next x. */
  draw(xAxis, yAxis, points, steps = []) {
    this.dots.clear();
    const width = this.element.clientWidth;
    if (!xAxis || !yAxis || !width) return this.say("No trial has a score yet.");
    const x = scaleOf(xAxis, MARGIN.left, width - MARGIN.right);
    const y = scaleOf(yAxis, HEIGHT - MARGIN.bottom, MARGIN.top);
    const picture = svg("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true" });
    picture.append(...frame(x, y, xAxis, width));
    if (steps.length) picture.append(svg("path", { d: stepped(steps, x, y, width - MARGIN.right), class: "plot-course" }));
    for (const point of points) {
      const [cx, cy] = [x.place(point.x), y.place(point.y)];
      if (Number.isFinite(cx) && Number.isFinite(cy)) picture.append(this.dot(point, cx, cy));
    }
    this.element.replaceChildren(picture);
    this.element.dataset.dots = this.dots.size;
  }

  dot(point, cx, cy) {
    const dot = svg("circle", { cx: cx.toFixed(1), cy: cy.toFixed(1), r: 4, class: point.isBest ? "dot is-best" : "dot" });
    dot.addEventListener("pointerenter", () => this.on.onHover(point.number));
    dot.addEventListener("pointerleave", () => this.on.onHover(null));
    dot.addEventListener("click", () => this.on.onPick(point.number));
    this.dots.set(point.number, dot);
    return dot;
  }

  say(words) {
    const note = document.createElement("p");
    note.className = "quiet";
    note.textContent = words;
    this.element.replaceChildren(note);
    this.element.dataset.dots = 0;
  }

  filter(isShown) {
    for (const [number, dot] of this.dots) dot.classList.toggle("is-out", !isShown(number));
  }

  highlight(number) {
    this.element.querySelector(".is-lit")?.classList.remove("is-lit");
    this.dots.get(number)?.classList.add("is-lit");
  }
}

function frame(x, y, xAxis, width) {
  const bottom = HEIGHT - MARGIN.bottom;
  const found = [];
  for (const tick of y.ticks) {
    const at = y.place(tick);
    found.push(svg("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: at, y2: at, class: "plot-grid" }));
    found.push(svg("text", { x: MARGIN.left - 6, y: at + 4, class: "plot-tick", "text-anchor": "end" }, short(tick)));
  }
  let last = -Infinity;
  for (const tick of x.ticks) {
    const at = x.place(tick);
    if (at - last < 34) continue;
    last = at;
    found.push(svg("text", { x: at, y: bottom + 16, class: "plot-tick", "text-anchor": "middle" }, short(tick)));
  }
  const middle = (MARGIN.left + width - MARGIN.right) / 2;
  found.push(svg("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: bottom, y2: bottom, class: "plot-rule" }));
  found.push(svg("text", { x: middle, y: HEIGHT - 4, class: "plot-name", "text-anchor": "middle" }, xAxis.name));
  return found;
}

function stepped(steps, x, y, end) {
  const [[firstX, firstY], ...rest] = steps;
  let path = `M${x.place(firstX).toFixed(1)} ${y.place(firstY).toFixed(1)}`;
  for (const [atX, atY] of rest) path += `H${x.place(atX).toFixed(1)}V${y.place(atY).toFixed(1)}`;
  return `${path}H${end}`;
}
