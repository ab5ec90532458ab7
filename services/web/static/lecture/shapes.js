// Chapter 1: each shape as a graph, unrolled over as many steps as one likes.

import { arrow, Drawing, picture, svg } from "./svg.js";

// Which steps of T are read and which answer; `isFed`: what is answered is read at the next step.
const SHAPES = {
  one_to_one: () => columns(1, () => true, () => true),
  one_to_many: (T) => ({ ...columns(T, (t) => t === 0, () => true), isFed: true }),
  many_to_one: (T) => columns(T, () => true, (t) => t === T - 1),
  many_to_many: (T) => columns(T, () => true, () => true),
  encoder_decoder: (T) => ({ ...columns(2 * T, (t) => t < T, (t) => t >= T), isFed: true, second: T }),
};

const columns = (length, isRead, answers) => ({
  steps: Array.from({ length }, (_, t) => ({ isRead: isRead(t), answers: answers(t) })),
  isFed: false,
  second: length,
});

export class Shapes {
  constructor() {
    this.choices = document.querySelectorAll('input[name="shape"]');
    this.steps = document.getElementById("shape-steps");
    this.drawing = new Drawing(document.getElementById("shape-drawing"), (width) => graph(width, this.shape(), true));
    for (const icon of document.querySelectorAll("[data-icon]")) icon.append(graph(64, SHAPES[icon.dataset.icon](icon.dataset.icon === "encoder_decoder" ? 2 : 3), false));
    for (const input of [...this.choices, this.steps]) input.addEventListener("input", () => this.show());
    this.show();
  }

  get chosen() {
    return [...this.choices].find((choice) => choice.checked).value;
  }

  shape() {
    return SHAPES[this.chosen](Number(this.steps.value));
  }

  show() {
    const isFixed = this.chosen === "one_to_one";
    this.steps.disabled = isFixed;
    this.steps.nextElementSibling.textContent = isFixed ? "1" : this.steps.value;
    for (const panel of document.querySelectorAll("[data-shape]")) panel.hidden = panel.dataset.shape !== this.chosen;
    this.drawing.redraw();
  }
}

/** Outputs above, states in the middle, inputs below. */
function graph(width, { steps, isFed, second }, hasLabels) {
  const height = hasLabels ? 200 : 46;
  const size = hasLabels ? Math.min(38, (width - 20) / steps.length / 1.5) : 9;
  const gap = Math.min(hasLabels ? 96 : 16, (width - size - 4) / Math.max(1, steps.length - 1 || 1));
  const first = (width - gap * (steps.length - 1)) / 2;
  const margin = size / 2 + (hasLabels ? 6 : 2);
  const row = { output: margin, hidden: height / 2, input: height - margin };
  const edge = hasLabels ? arrow : line;
  const centre = (t, name) => ({ x: first + t * gap, y: row[name] });
  const edges = steps.flatMap(({ isRead, answers }, t) => {
    const drawn = [];
    if (t) drawn.push(edge(centre(t - 1, "hidden"), centre(t, "hidden"), "edge edge-state", size / 2 + 1));
    if (isRead) drawn.push(edge(centre(t, "input"), centre(t, "hidden"), "edge", size / 2 + 1));
    if (answers) drawn.push(edge(centre(t, "hidden"), centre(t, "output"), "edge", size / 2 + 1));
    if (isFed && answers && t + 1 < steps.length && hasLabels) drawn.push(fedBack(centre(t, "output"), centre(t + 1, "hidden"), size));
    return drawn;
  });
  const boxes = steps.flatMap(({ isRead, answers }, t) => [
    box(centre(t, "hidden"), size, t < second ? "node-hidden" : "node-hidden second", hasLabels ? ["h", t + 1] : null),
    ...(isRead ? [box(centre(t, "input"), size, "node-input", hasLabels ? ["x", t + 1] : null)] : []),
    ...(answers ? [box(centre(t, "output"), size, "node-output", hasLabels ? ["y", t + 1] : null)] : []),
  ]);
  return picture(width, height, ...edges, ...boxes);
}

function box({ x, y }, size, className, label) {
  const shape = svg("rect", { x: x - size / 2, y: y - size / 2, width: size, height: size, rx: size / 5 });
  if (!label) return svg("g", { class: `node ${className}` }, shape);
  const [letter, number] = label;
  const name = svg("text", { x, y: y + 4, class: "middle" }, letter, svg("tspan", { dy: 3, "font-size": 9 }, String(number)));
  return svg("g", { class: `node ${className}` }, shape, name);
}

/** An arrow too small for its head. */
function line(from, to, className) {
  return svg("path", { class: className, d: `M${from.x} ${from.y}L${to.x} ${to.y}` });
}

function fedBack(from, to, size) {
  const [ax, ay] = [from.x + size / 2 + 1, from.y];
  const [bx, by] = [to.x - size / 2.6, to.y - size / 2 - 2];
  return svg("path", { class: "edge edge-fed", d: `M${ax} ${ay}C${ax + 16} ${ay} ${bx - 4} ${by - 22} ${bx} ${by}m-5 -4l5 4l2 -7` });
}
