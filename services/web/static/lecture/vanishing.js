// Chapter 4: RNN, LSTM and GRU of equal size, trained on this service; their gradients against lag, before and after.

import { getJson } from "../api.js";
import { Experiment } from "./laboratory.js";
import { plot } from "./plot.js";
import { Drawing, picture, svg } from "./svg.js";
import { fill, words } from "./words.js";

// Hidden sizes at which the recurrent layer and the output layer have about as many parameters as the LSTM of 32.
const SIZES = { rnn: 68, gru: 37, lstm: 32 };
const GATES = { rnn: 1, gru: 3, lstm: 4 };
const EMBEDDING = 8;
const LETTERS = "ab";
const FILLER = "-";
const DISTANCE = 12;
const LINES = 500;
const STEPS = 800;
const LAGS = 40;
const FLOOR = 1e-8;

const byId = (id) => document.getElementById(id);

export class Vanishing {
  constructor() {
    this.bias = byId("vanishing-bias");
    this.steps = byId("vanishing-steps");
    for (const input of [this.bias, this.steps]) input.addEventListener("input", () => this.tellOrder());
    byId("vanishing-text").textContent = text(3);
    this.views = new Map(); // job id -> what was seen inside
    this.shown = [];
    this.drawing = new Drawing(byId("vanishing-drawing"), (width) => this.draw(width));
    this.experiment = new Experiment("vanishing", { order: () => this.order(), onJobs: (jobs) => this.take(jobs) });
    this.tellOrder();
  }

  async start() {
    await this.experiment.find();
  }

  tellOrder() {
    for (const input of [this.bias, this.steps]) input.nextElementSibling.textContent = input.value;
  }

  /** For each cell a job of one step that moves nothing, and a real one. */
  order() {
    const cells = Object.keys(SIZES);
    const before = cells.map((cell) => this.spec(cell, "before", { max_steps: 1, learning_rate: 1e-12 }));
    const after = cells.map((cell) => this.spec(cell, "after", { max_steps: STEPS, learning_rate: 0.01 }));
    return { text: text(LINES), title: "remember one letter", specs: [...before, ...after] };
  }

  spec(cell, part, train) {
    const model = { cell, hidden_size: SIZES[cell], embedding_size: EMBEDDING, dropout: 0 };
    if (cell === "lstm") model.forget_bias = Number(this.bias.value);
    return {
      name: fill(words.vanishing.names[part], { cell: cell.toUpperCase() }),
      model,
      train: {
        ...{ batch_size: 16, tbptt_steps: Number(this.steps.value), warmup_steps: 20, precision: "fp32", seed: 1 },
        ...{ validate_every_steps: train.max_steps, checkpoint_every_steps: train.max_steps, ...train },
      },
      metadata: { cell, part },
    };
  }

  async take(jobs) {
    const done = jobs.filter((job) => job.state === "succeeded");
    for (const job of done) {
      if (!this.views.has(job.id)) {
        const path = `/v1/jobs/${encodeURIComponent(job.id)}/checkpoints/${job.progress.step}/inspection`;
        this.views.set(job.id, await getJson(path));
      }
    }
    this.shown = done.map((job) => ({ job, view: this.views.get(job.id), ...job.spec.metadata }));
    byId("vanishing-empty").hidden = jobs.length > 0;
    byId("vanishing-figure").hidden = !this.shown.length;
    if (!this.shown.length) return;
    this.drawing.redraw();
    byId("vanishing-legend").replaceChildren(...this.shown.map(({ cell, part }) => key(`series-${cell} ${part}`, fill(words.vanishing.names[part], { cell: cell.toUpperCase() }))));
    byId("vanishing-table").tBodies[0].replaceChildren(...this.shown.map((one) => this.row(one)));
    byId("vanishing-said").textContent = fill(words.vanishing.said, { steps: this.cut, last: this.cut - 1 });
  }

  get cut() {
    return this.shown[0].job.spec.train.tbptt_steps;
  }

  draw(width) {
    const series = this.shown.map(({ view, cell, part }) => ({
      points: norms(view).slice(0, LAGS + 1).map((norm, lag) => [lag, norm]),
      className: `series-${cell} ${part}`,
    }));
    const highest = Math.max(...series.flatMap(({ points }) => points.map(([, norm]) => norm)));
    const lowest = Math.min(...series.flatMap(({ points }) => points.map(([, norm]) => norm)).filter((norm) => norm > FLOOR));
    return plot(width, 280, {
      series,
      marks: [{ x: this.cut, words: `tbptt_steps = ${this.cut}` }],
      x: { from: 0, to: LAGS, words: words.vanishing.lag },
      y: { from: 10 ** Math.floor(Math.log10(lowest)), to: 10 ** Math.ceil(Math.log10(highest)), isLog: true, words: words.vanishing.norm },
    });
  }

  row({ job, view, cell, part }) {
    const row = document.createElement("tr");
    const found = norms(view);
    const bits = closing(view);
    row.appendChild(document.createElement("th")).textContent = fill(words.vanishing.names[part], { cell: cell.toUpperCase() });
    row.firstChild.scope = "row";
    const size = job.spec.model.hidden_size;
    const symbols = new Set(text(9)).size;
    const parameters = GATES[cell] * size * (EMBEDDING + size + 2) + symbols * (size + 1);
    for (const value of [size, parameters, power(found[1]), power(found[DISTANCE]), bits === null ? "–" : bits.toFixed(2)]) row.insertCell().textContent = value;
    for (const element of row.cells) if (element !== row.firstChild) element.className = "number";
    return row;
  }
}

const norms = (view) => view.gradient.layers[0].hidden;
function power(value) {
  if (value === undefined) return "–";
  return value >= 0.01 ? value.toFixed(2) : value.toExponential(1).replace("-", "−");
}

/** Bits of surprise at the letter that closes a line, the mean; chance is log2 of the letters. */
function closing({ symbols }) {
  const found = symbols.filter(({ symbol }, at) => LETTERS.includes(symbol) && symbols[at - 1]?.symbol === FILLER);
  return found.length ? found.reduce((sum, { surprisal }) => sum + surprisal, 0) / found.length / Math.LN2 : null;
}

function key(className, name) {
  const item = document.createElement("span");
  item.append(picture(28, 10, svg("path", { class: `series ${className}`, d: "M1 5L27 5" })), name);
  return item;
}

/** Lines that end with the letter they begin with; the same ones each time. */
function text(lines) {
  let state = 1;
  const next = () => (state = (state * 48271) % 0x7fffffff); // Park & Miller 1988
  return Array.from({ length: lines }, () => {
    const letter = LETTERS[Math.floor(next() / 1000) % LETTERS.length];
    return `${letter}${FILLER.repeat(DISTANCE)}${letter}\n`;
  }).join("");
}
