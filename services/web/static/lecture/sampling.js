// Chapter 6: the distribution that a network of this service gives, and what temperature, top-k and top-p make of it.

import { getJson, send } from "../api.js";
import { visible } from "../text.js";
import { drawnFrom } from "./distribution.js";
import { row } from "./rows.js";
import { fill, tellError, words } from "./words.js";

const MOST_SYMBOLS = 20; // that /v1 tells of
const MOST_MODELS = 100;
const FIRST_PROMPT = "hel";

const byId = (id) => document.getElementById(id);

export class Sampling {
  constructor() {
    this.model = byId("sampling-model");
    this.prompt = byId("sampling-prompt");
    this.sliders = ["temperature", "k", "p"].map((name) => byId(`sampling-${name}`));
    for (const slider of this.sliders) slider.addEventListener("input", () => this.show());
    byId("sampling-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
    this.model.addEventListener("change", () => {
      this.prompt.value = this.firstPrompt();
      this.ask();
    });
    byId("sampling-draw").addEventListener("click", () => this.draw());
    this.found = null; // { model, prompt, symbols, logProbabilities }
  }

  /** The visitor's language models, newest first; h-e-l-l-o before all others. */
  async refresh() {
    await this.guarded(async () => {
      const listed = await getJson(`/v1/jobs?state=succeeded&limit=${MOST_MODELS}`);
      const models = listed.data.filter((job) => job.spec?.task === "language_model");
      models.sort((a, b) => isHello(b) - isHello(a));
      const chosen = this.model.value;
      this.model.replaceChildren(...models.map((job) => option(job)));
      if (models.some((job) => job.id === chosen)) this.model.value = chosen;
      byId("sampling-form").hidden = !models.length;
      byId("sampling-empty").hidden = models.length > 0;
      if (!models.length || this.found) return;
      this.prompt.value = this.firstPrompt();
      await this.askFor(this.model.value, this.prompt.value);
    });
  }

  /** Only of one model it is known which letters it has read: others begin as their text does. */
  firstPrompt() {
    return this.model.selectedOptions[0].dataset.prompt ?? "";
  }

  ask() {
    return this.guarded(() => this.askFor(this.model.value, this.prompt.value));
  }

  /** Its own distribution behind the prompt: log-probabilities are told before temperature and truncation. */
  async askFor(model, prompt) {
    const answer = await send("POST", "/v1/completions", { model, prompt, max_tokens: 1, temperature: 0, logprobs: MOST_SYMBOLS });
    const top = Object.entries(answer.choices[0].logprobs.top_logprobs[0]);
    top.sort(([, a], [, b]) => b - a);
    this.found = { model, prompt, symbols: top.map(([symbol]) => symbol), logProbabilities: top.map(([, value]) => value) };
    this.sliders[1].max = this.found.symbols.length;
    this.sliders[1].value = this.found.symbols.length;
    byId("sampling-written").textContent = visible(prompt);
    this.show();
  }

  options() {
    const [temperature, topK, topP] = this.sliders.map((slider) => Number(slider.value));
    return { temperature, topK: topK < this.found.symbols.length ? topK : null, topP };
  }

  show() {
    if (!this.found) return;
    const { temperature, topK, topP } = this.options();
    const shown = [temperature, topK ?? words.sampling.all, topP];
    this.sliders.forEach((slider, at) => (slider.nextElementSibling.textContent = shown[at]));
    byId("sampling-figure").hidden = false;
    const { symbols, logProbabilities } = this.found;
    const drawn = drawnFrom(logProbabilities, this.options());
    byId("sampling-bars").replaceChildren(
      ...symbols.map((symbol, at) => row([nameOf(symbol), percent(Math.exp(logProbabilities[at])), percent(drawn[at])], drawn[at], drawn[at] > 0)),
    );
    const bits = drawn.reduce((sum, p) => (p > 0 ? sum - p * Math.log2(p) : sum), 0);
    const told = logProbabilities.reduce((sum, value) => sum + Math.exp(value), 0);
    const sentence = told > 0.9995 ? words.sampling.said : words.sampling.said_of_most;
    byId("sampling-said").textContent = fill(sentence, {
      number: drawn.filter((p) => p > 0).length,
      bits: bits.toFixed(2),
      shown: symbols.length,
      share: percent(told),
    });
  }

  /** One more symbol of the service's own drawing, with the same settings; the bars move on to the next place. */
  draw() {
    return this.guarded(async () => {
      const { temperature, topK, topP } = this.options();
      const { model, prompt } = this.found;
      const answer = await send("POST", "/v1/completions", { model, prompt, max_tokens: 1, temperature, top_k: topK, top_p: topP });
      const values = this.sliders.map((slider) => slider.value);
      await this.askFor(model, prompt + answer.choices[0].text);
      this.sliders.forEach((slider, at) => (slider.value = values[at]));
      this.show();
    });
  }

  async guarded(act) {
    try {
      await act();
      tellError(byId("sampling-error"), null);
    } catch (error) {
      tellError(byId("sampling-error"), error);
    }
  }
}

function option(job) {
  const made = new Option(visible(job.spec.name ?? job.id), job.id);
  if (isHello(job)) made.dataset.prompt = FIRST_PROMPT;
  return made;
}

const isHello = (job) => Number(job.spec.metadata.lecture === "hello");
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const NAMES = { " ": "␣", "\n": "⏎", "\t": "⇥" };
const nameOf = (symbol) => NAMES[symbol] ?? visible(symbol);
