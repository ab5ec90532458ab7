// Parallel coordinates: one axis a searched field and one for the score, one line a trial. Knows no service.

import { scaleOf, short } from "./scales.js";
import { svg } from "./svg.js";

const HEIGHT = 300;
const TOP = 34;
const BOTTOM = 18;
const AXIS_WIDTH = 118;
const EDGE = 56;
const GRAB = 14;
const RAMP = 5;
const MOST_NAME = 20;

/** Draws into `element`. Tells `onHover(number | null)`, `onPick(number)`, and `onBrush(axis name, [from, to] | null)`. */
export class ParallelCoordinates {
  constructor(element, { onHover, onPick, onBrush }) {
    this.element = element;
    this.on = { onHover, onPick, onBrush };
    this.lines = new Map();
  }

  /** `rows`: {number, score, values by name of an axis, rank 0 (best) to 1}. `brushes`: name -> [from, to]. */
  draw(axes, rows, brushes) {
    const width = Math.max(this.element.parentElement.clientWidth, EDGE * 2 + AXIS_WIDTH * (axes.length - 1));
    const gap = axes.length > 1 ? (width - 2 * EDGE) / (axes.length - 1) : 0;
    this.axes = axes.map((axis, at) => ({ ...axis, x: EDGE + gap * at, scale: scaleOf(axis, HEIGHT - BOTTOM, TOP) }));
    const lines = svg("g", { class: "trial-lines" });
    this.lines.clear();
    for (const row of [...rows].sort((a, b) => b.rank - a.rank)) {
      const line = this.line(row);
      this.lines.set(row.number, line);
      lines.append(line);
    }
    const picture = svg("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true" }, lines);
    for (const axis of this.axes) picture.append(this.axis(axis, brushes[axis.name]));
    this.element.replaceChildren(picture);
    this.element.dataset.lines = rows.length;
  }

  line(row) {
    const points = this.axes.map((axis) => [axis.x, axis.scale.place(row.values[axis.name])]);
    const known = points.filter(([, y]) => Number.isFinite(y)).map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`);
    const isScored = row.score !== null;
    const tone = isScored ? `tone-${Math.min(RAMP - 1, Math.floor(row.rank * RAMP))}` : "tone-none";
    const shown = svg("polyline", { points: known.join(" "), class: `trial-line ${tone}` });
    const felt = svg("polyline", { points: known.join(" "), class: "trial-felt" });
    const group = svg("g", { "data-number": row.number }, shown, felt);
    if (row.rank === 0 && isScored) group.classList.add("is-best");
    group.addEventListener("pointerenter", () => this.on.onHover(row.number));
    group.addEventListener("pointerleave", () => this.on.onHover(null));
    group.addEventListener("click", () => this.on.onPick(row.number));
    return group;
  }

  axis(axis, brush) {
    const group = svg("g", { transform: `translate(${axis.x.toFixed(1)} 0)`, class: "plot-axis" });
    const name = axis.name.length > MOST_NAME ? `…${axis.name.slice(-MOST_NAME + 1)}` : axis.name;
    group.append(svg("text", { y: 14, class: "plot-name", "text-anchor": "middle" }, name, svg("title", {}, axis.name)));
    group.append(svg("line", { y1: TOP, y2: HEIGHT - BOTTOM, class: "plot-rule" }));
    for (const tick of axis.scale.ticks) {
      group.append(svg("text", { x: 6, y: axis.scale.place(tick) + 4, class: "plot-tick" }, short(tick)));
    }
    const chosen = svg("rect", { x: -GRAB / 2, width: GRAB, class: "plot-brush" });
    const grip = svg("rect", { x: -GRAB, width: GRAB * 2, y: TOP - 8, height: HEIGHT - BOTTOM - TOP + 16, class: "plot-grip" });
    group.append(chosen, grip);
    show(chosen, brush && ends(axis, brush));
    this.brushable(grip, chosen, axis);
    return group;
  }

  /** Drag: from here to there. A click alone: everything again. */
  brushable(grip, chosen, axis) {
    const within = (event) => {
      const y = event.clientY - this.element.getBoundingClientRect().top;
      return Math.min(HEIGHT - BOTTOM, Math.max(TOP, y));
    };
    let began = null;
    grip.addEventListener("pointerdown", (event) => {
      began = within(event);
      grip.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    grip.addEventListener("pointermove", (event) => began !== null && show(chosen, [began, within(event)].sort((a, b) => a - b)));
    grip.addEventListener("pointerup", (event) => {
      if (began === null) return;
      const [top, bottom] = [began, within(event)].sort((a, b) => a - b);
      began = null;
      const isClick = bottom - top < 3;
      this.on.onBrush(axis.name, isClick ? null : between(axis, top, bottom));
    });
  }

  /** `isShown(number)` tells which lines are not filtered out. */
  filter(isShown) {
    for (const [number, line] of this.lines) line.classList.toggle("is-out", !isShown(number));
  }

  highlight(number) {
    this.element.querySelector(".is-lit")?.classList.remove("is-lit");
    const line = this.lines.get(number);
    if (!line) return;
    line.classList.add("is-lit");
    line.parentElement.append(line);
  }
}

/** Of choices a brush is the first and the last one that it covers. */
function between(axis, top, bottom) {
  const found = [axis.scale.value(bottom), axis.scale.value(top)];
  if (axis.scale.ticks !== axis.choices) return found;
  const [first, last] = found.map((choice) => axis.choices.indexOf(choice)).sort((a, b) => a - b);
  return [axis.choices[first], axis.choices[last]];
}

function ends(axis, [from, to]) {
  const half = axis.choices?.length ? (HEIGHT - BOTTOM - TOP) / axis.choices.length / 2 : 0;
  const places = [axis.scale.place(from), axis.scale.place(to)].sort((a, b) => a - b);
  return [Math.max(TOP - 8, places[0] - half), Math.min(HEIGHT - BOTTOM + 8, places[1] + half)];
}

function show(chosen, span) {
  chosen.setAttribute("y", span ? span[0] : 0);
  chosen.setAttribute("height", span ? Math.max(1, span[1] - span[0]) : 0);
}
