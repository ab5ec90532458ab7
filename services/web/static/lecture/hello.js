// Chapter 2: three units learn h-e-l-l-o on this service; its weights, step by step, and what it writes.

import { ApiError, getJson, send } from "../api.js";
import { visible } from "../text.js";
import { product, rnnCell, softmax, sum } from "./cells.js";
import { Experiment, isEnded } from "./laboratory.js";
import { plot } from "./plot.js";
import { row } from "./rows.js";
import { tensors } from "./safetensors.js";
import { Drawing } from "./svg.js";
import { fill, tellError, words } from "./words.js";

const WORD = "hello";
const ALPHABET = [...new Set(WORD)].sort();
const STEPS = 400;
const CHECKPOINTS = 10;
const MOST_WRITTEN = 60;
const SPEC = {
  name: "h-e-l-l-o",
  model: { cell: "rnn", hidden_size: 3, embedding_size: 4, dropout: 0 },
  train: {
    ...{ batch_size: 1, tbptt_steps: WORD.length, max_steps: STEPS, learning_rate: 0.05, warmup_steps: 20 },
    ...{ weight_decay: 0, precision: "fp32", seed: 1, keep_checkpoints: CHECKPOINTS },
    ...{ validate_every_steps: STEPS / CHECKPOINTS, checkpoint_every_steps: STEPS / CHECKPOINTS },
  },
};

const byId = (id) => document.getElementById(id);

export class Hello {
  constructor({ onTrained }) {
    this.onTrained = onTrained;
    this.experiment = new Experiment("hello", {
      order: () => ({ text: WORD.repeat(60), title: "hello", specs: [SPEC] }),
      onJobs: ([job]) => this.take(job),
    });
    this.job = null;
    this.wasEnded = false;
    this.rows = [];
    this.checkpoints = []; // { step, model }, rising
    this.networks = new Map(); // model -> its weights
    this.network = null;
    this.differences = new Map(); // model -> how far the service's answer is from the one here
    this.at = 0;
    this.loss = new Drawing(byId("hello-loss"), (width) => this.curve(width));
    this.slider = byId("hello-checkpoint");
    this.isAtNewest = true;
    this.slider.addEventListener("input", () => {
      this.isAtNewest = Number(this.slider.value) === this.checkpoints.length - 1;
      this.experiment.guarded(() => this.choose(), { isShowing: true });
    });
    byId("hello-letters").append(...[...WORD].slice(0, -1).map((letter, at) => this.letter(letter, at)));
    this.writer = new Writer();
  }

  async start() {
    await this.experiment.find();
  }

  /** What has become of the job: its losses, and checkpoints that are new. */
  async take(job) {
    if (!job) return;
    if (this.job?.id !== job.id) Object.assign(this, { checkpoints: [], network: null, isAtNewest: true, wasEnded: false });
    this.job = job;
    if (this.wasEnded) return;
    const path = `/v1/jobs/${encodeURIComponent(job.id)}`;
    const [history, listed] = await Promise.all([getJson(`${path}/metrics?points=300`), getJson(`${path}/checkpoints`)]);
    this.rows = history.data;
    this.checkpoints = listed.data.map(({ step, model }) => ({ step, model })).sort((a, b) => a.step - b.step);
    byId("hello-figure").hidden = !this.rows.length && !this.checkpoints.length;
    this.loss.redraw();
    if (this.checkpoints.length) {
      this.slider.max = this.checkpoints.length - 1;
      if (this.isAtNewest) this.slider.value = this.slider.max;
      await this.choose();
    }
    this.wasEnded = isEnded(job);
    if (this.wasEnded && this.checkpoints.length) this.onTrained(job);
  }

  async choose() {
    const { model, step } = this.checkpoints[Number(this.slider.value)];
    this.slider.nextElementSibling.textContent = fill(words.hello.after, { step });
    if (!this.networks.has(model)) this.networks.set(model, await weightsOf(model));
    if (this.checkpoints[Number(this.slider.value)].model !== model) return; // the slider has gone on meanwhile
    this.network = this.networks.get(model);
    this.writer.use(model);
    this.show();
    await this.compare(model);
  }

  letter(letter, at) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = letter;
    button.addEventListener("click", () => {
      this.at = at;
      this.show();
    });
    button.addEventListener("keydown", ({ key }) => {
      const next = at + ({ ArrowRight: 1, ArrowLeft: -1 }[key] ?? 0);
      if (next !== at) byId("hello-letters").children[next]?.focus();
      if (next !== at) byId("hello-letters").children[next]?.click();
    });
    return button;
  }

  show() {
    if (!this.network) return;
    const steps = walk(this.network);
    const { x, fromInput, fromState, h, p, target } = steps[this.at];
    [...byId("hello-letters").children].forEach((button, at) => button.setAttribute("aria-pressed", String(at === this.at)));
    byId("hello-input").replaceChildren(...x.map((value, at) => row([ALPHABET[at], String(value)], null, value > 0)));
    byId("hello-hidden").replaceChildren(
      ...h.map((value, unit) => row([String(unit + 1), fromInput[unit], fromState[unit], this.network.biasH[unit], value], value, false, true)),
    );
    byId("hello-output").replaceChildren(
      ...p.map((value, at) => row([ALPHABET[at] + (ALPHABET[at] === target ? " ◂" : ""), value], value, ALPHABET[at] === target)),
    );
    const likeliest = ALPHABET[p.indexOf(Math.max(...p))];
    const sentence = likeliest === target ? words.hello.right : words.hello.wrong;
    byId("hello-said").textContent = fill(sentence, { read: WORD.slice(0, this.at + 1), target, likeliest, share: (100 * p[ALPHABET.indexOf(target)]).toFixed(0) });
  }

  /** The service reads the same word with the same weights: how far what it says is from what is shown here. */
  async compare(model) {
    if (!this.differences.has(model)) this.differences.set(model, await difference(model, this.networks.get(model)));
    if (this.network !== this.networks.get(model)) return;
    const found = this.differences.get(model);
    byId("hello-check").textContent = found === null ? "" : fill(words.hello.check, { difference: found.toPrecision(1) });
  }

  curve(width) {
    const points = this.rows.map(({ step, train_loss: loss }) => [step, loss]);
    const highest = Math.max(Math.log(ALPHABET.length), ...points.map(([, loss]) => loss));
    return plot(width, 150, {
      series: [{ points, className: "series-lstm" }],
      x: { from: 0, to: STEPS, words: words.hello.steps },
      y: { from: 0, to: highest, words: words.hello.nats },
    });
  }
}

/** W_xh is the product of input weights and embedding; b_h the sum of the two biases. */
async function weightsOf(model) {
  const response = await fetch(`/v1/models/${encodeURIComponent(model)}/export?format=safetensors`);
  if (!response.ok) throw new ApiError(`${model} cannot be exported`, response.status);
  const read = tensors(await response.arrayBuffer());
  const embedding = read["embedding.weight"];
  return {
    wIh: read["recurrent.weight_ih_l0"].map((weights) => product(embedding, weights)),
    wHh: read["recurrent.weight_hh_l0"],
    bIh: read["recurrent.bias_ih_l0"],
    bHh: read["recurrent.bias_hh_l0"],
    biasH: sum(read["recurrent.bias_ih_l0"], read["recurrent.bias_hh_l0"]),
    wHy: read["output.weight"],
    biasY: read["output.bias"],
  };
}

/** The largest one of any letter at any step; null where the service does not answer, without which the walk stands. */
async function difference(model, network) {
  try {
    const seen = await send("POST", "/v1/inspect", { model, input: WORD, top: ALPHABET.length, num_units: 0 });
    const all = walk(network).flatMap(({ p }, t) =>
      seen.symbols[t + 1].top.map(({ symbol, probability }) => Math.abs(probability - p[ALPHABET.indexOf(symbol)])),
    );
    return Math.max(...all);
  } catch (error) {
    if (error instanceof ApiError) return null;
    throw error;
  }
}

/** Each step that reads a letter of the word and has a next one. */
function walk(network) {
  let h = network.biasH.map(() => 0);
  return [...WORD].slice(0, -1).map((letter, t) => {
    const x = ALPHABET.map((symbol) => (symbol === letter ? 1 : 0));
    const [fromInput, fromState] = [product(network.wIh, x), product(network.wHh, h)];
    h = rnnCell(x, h, network);
    return { x, fromInput, fromState, h, p: softmax(sum(product(network.wHy, h), network.biasY)), target: WORD[t + 1] };
  });
}

/** Writes on, one letter a click, with the service's own sampler. */
class Writer {
  constructor() {
    this.model = null;
    this.text = WORD[0];
    this.temperature = byId("hello-temperature");
    this.button = byId("hello-write");
    this.temperature.addEventListener("input", () => (this.temperature.nextElementSibling.textContent = this.temperature.value));
    this.button.addEventListener("click", () => this.write());
    byId("hello-clear").addEventListener("click", () => this.show(WORD[0]));
    this.show(WORD[0]);
  }

  use(model) {
    this.model = model;
  }

  show(text) {
    this.text = text.length > MOST_WRITTEN ? WORD[0] : text;
    byId("hello-written").textContent = visible(this.text);
  }

  async write() {
    this.button.disabled = true;
    const error = byId("hello-write-error");
    try {
      const temperature = Number(this.temperature.value);
      const asked = { model: this.model, prompt: this.text, max_tokens: 1, temperature };
      const answer = await send("POST", "/v1/completions", asked);
      this.show(this.text + answer.choices[0].text);
      tellError(error, null);
    } catch (refused) {
      tellError(error, refused);
    } finally {
      this.button.disabled = false;
    }
  }
}
