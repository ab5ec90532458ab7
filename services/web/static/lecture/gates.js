// Chapter 5: one LSTM or GRU unit whose gates one opens and closes step by step, computed by cells.js.

import { gruCell, lstmCell } from "./cells.js";
import { plot } from "./plot.js";
import { Drawing, picture, svg } from "./svg.js";
import { fill, words } from "./words.js";

const STEPS = 30;
const CLOSED = -20; // sigmoid of it is 2e-9
const GATES = { lstm: ["i", "f", "o"], gru: ["r", "z"] };
const CANDIDATE = { lstm: "g", gru: "n" };
// What is drawn: the state that lasts in the accent, what the cell shows of it beside.
const LINES = { lstm: [["c", "series-lstm after"], ["h", "series-rnn after"]], gru: [["h", "series-lstm after"]] };
const HEIGHT = 220;

const all = (isOpen) => Array.from({ length: STEPS }, (_, t) => isOpen(t));
const at = (...steps) => all((t) => steps.includes(t));
const ALWAYS = all(() => true);
const NEVER = all(() => false);

// Of each preset: the input's pulses, and when each gate is open.
const PRESETS = {
  lstm: {
    keep: { x: at(3, 14), i: at(3), f: ALWAYS, o: ALWAYS },
    read_late: { x: at(3, 10, 17), i: at(3), f: ALWAYS, o: at(25) },
    reset: { x: at(3, 18), i: at(3, 18), f: all((t) => t !== 12), o: ALWAYS },
    add: { x: at(2, 8, 14, 20), i: ALWAYS, f: ALWAYS, o: ALWAYS },
    no_memory: { x: at(3, 14), i: ALWAYS, f: NEVER, o: ALWAYS },
  },
  gru: {
    keep: { x: at(3, 14), r: ALWAYS, z: all((t) => t !== 3) },
    replace: { x: at(3, 18), r: NEVER, z: all((t) => t !== 3 && t !== 18) },
    add: { x: at(2, 8, 14, 20), r: ALWAYS, z: all((t) => ![2, 8, 14, 20].includes(t)) },
    no_memory: { x: at(3, 14), r: NEVER, z: NEVER },
  },
};

const byId = (id) => document.getElementById(id);
const logit = (share) => Math.log(share / (1 - share));

export class Gates {
  constructor() {
    this.cell = "lstm";
    this.rows = new Map(); // "lstm f" or "x" -> its steps
    for (const element of document.querySelectorAll(".gate")) this.addRow(element);
    for (const choice of document.querySelectorAll('input[name="gate-cell"]')) choice.addEventListener("change", () => this.turnTo(choice.value));
    this.preset = byId("gate-preset");
    this.preset.addEventListener("change", () => this.arrange(this.preset.value));
    this.drawing = new Drawing(byId("gate-drawing"), (width) => this.draw(width));
    this.turnTo(document.querySelector('input[name="gate-cell"]:checked').value);
  }

  addRow(element) {
    const { cell, gate } = element.dataset;
    const isCandidate = gate === "g" || gate === "n";
    const slider = element.querySelector("input");
    slider?.addEventListener("input", () => this.show());
    const steps = isCandidate ? null : new StepRow(element.querySelector(".gate-steps"), gate, () => this.touched());
    if (isCandidate) element.querySelector(".gate-steps").remove();
    this.rows.set(cell ? `${cell} ${gate}` : gate, { slider, steps });
  }

  turnTo(cell) {
    this.cell = cell;
    for (const element of document.querySelectorAll("#gates [data-of]")) element.hidden = element.dataset.of !== cell;
    this.preset.replaceChildren(...Object.keys(PRESETS[cell]).map((name) => new Option(words.presets[cell][name], name)));
    this.arrange(this.preset.value);
  }

  arrange(name) {
    const preset = PRESETS[this.cell][name];
    this.rows.get("x").steps.set(preset.x);
    for (const gate of GATES[this.cell]) this.rows.get(`${this.cell} ${gate}`).steps.set(preset[gate]);
    this.show();
  }

  /** What one has arranged by hand is no preset. */
  touched() {
    if (!this.preset.querySelector('[value=""]')) this.preset.add(new Option(words.gates.own, ""));
    this.preset.value = "";
    this.show();
  }

  show() {
    for (const { slider } of this.rows.values()) if (slider) slider.nextElementSibling.textContent = Number(slider.value).toFixed(2).replace("-", "−");
    this.trace = this.cell === "lstm" ? this.runLstm() : this.runGru();
    const last = this.trace.at(-1);
    byId("gate-said").textContent = fill(this.cell === "lstm" ? words.gates.said_lstm : words.gates.said_gru, {
      steps: STEPS,
      c: short(last.c),
      h: short(last.h),
    });
    byId("gate-legend").replaceChildren(...LINES[this.cell].map(([name, className]) => key(name, className)));
    this.drawing.redraw();
  }

  /** The pre-activation of a gate at step t: its slider's where it is open. */
  bias(gate, t) {
    const { slider, steps } = this.rows.get(`${this.cell} ${gate}`);
    return steps.values[t] ? logit(Number(slider.value)) : CLOSED;
  }

  /** So that a pulse of 1 makes the candidate what its slider says. */
  candidateWeight() {
    return Math.atanh(Number(this.rows.get(`${this.cell} ${CANDIDATE[this.cell]}`).slider.value));
  }

  input(t) {
    return this.rows.get("x").steps.values[t] ? 1 : 0;
  }

  runLstm() {
    let state = { h: [0], c: [0] };
    return all((t) => {
      const bIh = [this.bias("i", t), this.bias("f", t), 0, this.bias("o", t)];
      const w = { wIh: [[0], [0], [this.candidateWeight()], [0]], wHh: [[0], [0], [0], [0]], bIh, bHh: [0, 0, 0, 0] };
      state = lstmCell([this.input(t)], state.h, state.c, w);
      return { c: state.c[0], h: state.h[0] };
    });
  }

  runGru() {
    let h = [0];
    return all((t) => {
      const w = {
        wIh: [[0], [0], [this.candidateWeight()]],
        wHh: [[0], [0], [1]],
        bIh: [this.bias("r", t), this.bias("z", t), 0],
        bHh: [0, 0, 0],
      };
      h = gruCell([this.input(t)], h, w).h;
      return { c: null, h: h[0] };
    });
  }

  draw(width) {
    const read = (name) => this.trace.map((state, t) => [t + 1, state[name]]);
    const values = this.trace.flatMap(({ c, h }) => [c ?? h, h]);
    return plot(width, HEIGHT, {
      series: LINES[this.cell].map(([name, className]) => ({ points: read(name), className })),
      x: { from: 0.5, to: STEPS + 0.5, words: words.gates.step }, // a step lies beneath its switches
      y: { from: Math.min(-0.2, ...values), to: Math.max(1, ...values), words: "" },
    });
  }
}

/** A row of thirty switches: one stop for the tab key, arrows move, space or a click switches. */
class StepRow {
  constructor(element, name, onChange) {
    this.values = [...NEVER];
    this.onChange = onChange;
    this.buttons = all((t) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-label", fill(words.gates.switch, { name, step: t + 1 }));
      button.tabIndex = t ? -1 : 0;
      button.addEventListener("click", () => this.toggle(t));
      button.addEventListener("keydown", (event) => this.move(event, t));
      return button;
    });
    element.append(...this.buttons);
  }

  set(values) {
    this.values = [...values];
    this.buttons.forEach((button, t) => button.setAttribute("aria-pressed", String(this.values[t])));
  }

  toggle(t) {
    this.set(this.values.map((value, step) => (step === t ? !value : value)));
    this.onChange();
  }

  move(event, t) {
    const to = { ArrowRight: t + 1, ArrowLeft: t - 1, Home: 0, End: STEPS - 1 }[event.key];
    if (to === undefined || !this.buttons[to]) return;
    event.preventDefault();
    for (const [step, button] of this.buttons.entries()) button.tabIndex = step === to ? 0 : -1;
    this.buttons[to].focus();
  }
}

function key(name, className) {
  const item = document.createElement("span");
  const letter = document.createElement("i");
  letter.textContent = name;
  item.append(picture(28, 10, svg("path", { class: `series ${className}`, d: "M1 5L27 5" })), letter);
  return item;
}

const short = (value) => (value === null ? "" : value.toFixed(3).replace("-", "−"));
