// Chapter 3: a window slides over a text; what flows on, what flows back, and how much of it arrives.

import { rnnCell, unitGradients } from "./cells.js";
import { arrow, Drawing, picture, svg } from "./svg.js";
import { fill, words } from "./words.js";

const TEXT = "hello hello hello hello";
// One tanh unit: each letter drives it by its place in the alphabet, so that the states differ.
const drive = (symbol) => (symbol === " " ? -0.4 : (symbol.charCodeAt(0) - 108) / 10);

const TIGHT = 18;

const byId = (id) => document.getElementById(id);

export class Truncation {
  constructor() {
    this.steps = byId("cut-steps");
    this.window = byId("cut-window");
    this.weight = byId("cut-weight");
    this.drawing = new Drawing(byId("cut-drawing"), (width) => this.draw(width));
    for (const input of [this.steps, this.window, this.weight]) input.addEventListener("input", () => this.show());
    this.show();
  }

  show() {
    const steps = Number(this.steps.value);
    this.window.max = Math.ceil(TEXT.length / steps) - 1; // clamps the value too
    const number = Number(this.window.value);
    const end = Math.min(TEXT.length, (number + 1) * steps);
    this.view = { begin: number * steps, end, cut: end - number * steps };
    this.steps.nextElementSibling.textContent = steps;
    this.window.nextElementSibling.textContent = fill(words.truncation.of, { number: number + 1, all: Number(this.window.max) + 1 });
    this.weight.nextElementSibling.textContent = this.weight.value;
    const whole = this.norms(Infinity);
    const oldest = whole[this.view.cut - 1];
    byId("cut-said").textContent = fill(words.truncation.said, {
      symbols: this.view.cut,
      oldest: short(oldest),
      beyond: this.view.begin,
      lost: this.view.begin ? short(whole[this.view.cut]) : "0",
    });
    this.drawing.redraw();
  }

  /** Of the last state of the window, by lag, back to the beginning of the text. */
  norms(cut) {
    const weight = Number(this.weight.value);
    let h = [0];
    const hidden = [...TEXT.slice(0, this.view.end)].map((symbol) => {
      h = rnnCell([drive(symbol)], h, { wIh: [[1]], wHh: [[weight]], bIh: [0], bHh: [0] });
      return h[0];
    });
    return unitGradients(hidden, weight, cut);
  }

  draw(width) {
    const { begin, end } = this.view;
    const step = width / TEXT.length;
    const size = Math.min(24, step * 0.72);
    const [forwards, backwards] = step < TIGHT ? [line, arc] : [arrow, back]; // no room for heads
    const [top, middle, bottom, base] = [14, 62, 104, 196];
    const at = (t) => (t + 0.5) * step;
    const parts = [svg("rect", { class: "window", x: begin * step + 0.5, y: 30, width: (end - begin) * step - 1, height: 172, rx: 6 })];
    const whole = this.norms(Infinity);
    [...TEXT].forEach((symbol, t) => {
      const isIn = t >= begin && t < end;
      const where = t < begin ? "past" : isIn ? "inside" : "future";
      parts.push(svg("text", { class: `middle symbol ${where}`, x: at(t), y: bottom + 5 }, symbol === " " ? "␣" : symbol));
      parts.push(svg("rect", { class: `cell ${where}`, x: at(t) - size / 2, y: middle - size / 2, width: size, height: size, rx: size / 5 }));
      if (t && t < end) parts.push(forwards({ x: at(t - 1), y: middle }, { x: at(t), y: middle }, t === begin ? "edge edge-state carried" : "edge edge-state", size / 2 + 0.5));
      if (t >= end) return;
      const norm = whole[end - 1 - t];
      const height = bar(norm);
      parts.push(svg("rect", { class: isIn ? "gradient" : "gradient lost", x: at(t) - size / 2, y: base - height, width: size, height: Math.max(1, height), rx: 2 }));
    });
    for (let t = end - 1; t > begin; t -= 1) parts.push(backwards(at(t), at(t - 1), middle - size / 2));
    if (begin) {
      parts.push(svg("line", { class: "cut", x1: begin * step, x2: begin * step, y1: 22, y2: base + 6 }));
      parts.push(svg("text", { class: `tick strong ${begin * step > width / 2 ? "end" : ""}`, x: begin * step + (begin * step > width / 2 ? -6 : 6), y: top }, words.truncation.cut));
    }
    return picture(width, base + 8, ...parts);
  }
}

/** A gradient's way back, above the cells. */
function back(from, to, y) {
  const lift = 12;
  return svg("path", { class: "edge edge-gradient", d: `M${from - 2} ${y - 2}C${from - 4} ${y - lift} ${to + 4} ${y - lift} ${to + 2} ${y - 3}m6 -3l-6 3l0 -7` });
}

function arc(from, to, y) {
  return svg("path", { class: "edge edge-gradient", d: `M${from} ${y - 2}C${from} ${y - 12} ${to} ${y - 12} ${to} ${y - 2}` });
}

function line(from, to, className, gap) {
  return svg("path", { class: className, d: `M${from.x + gap} ${from.y}L${to.x - gap} ${to.y}` });
}

const FLOOR = 1e-4;
const HIGHEST = 70;
/** On a log scale from FLOOR to 1 and beyond, in pixels. */
const bar = (norm) => (norm <= FLOOR ? 1 : Math.min(HIGHEST, HIGHEST * (1 - Math.log(norm) / Math.log(FLOOR))));
const short = (value) => (value >= 0.01 ? value.toFixed(2) : value.toExponential(0).replace("-", "−"));
