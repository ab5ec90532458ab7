// One model of the playground: its name, and what it writes or answers. Knows /v1's models, jobs and completions.

import { ApiError, choices, getJson, sentence } from "../api.js";
import { bitsOf, heard, heatOf, showDetail } from "../symbol_detail.js";
import { areBytes, SymbolText } from "../symbols.js";
import { decimals, visible } from "../text.js";
import { asCurl, asPython } from "./code.js";
import { PredictForm } from "./predict.js";
import { Writing } from "./writing.js";

const ALTERNATIVES = 5;
const HINT = "Point at a symbol, or walk to one with the arrow keys, to see what else might have come; choose another to go on with it.";

let number = 0; // of the blocks that can be copied

export class Column {
  /** `settings()` reads the form for all columns; `onChange` when another model is named or a task becomes known;
   * `onCheckpoints` gets the models that the same run has besides; `onWritten(entry)` when a text has ended. */
  constructor(template, model, { settings, onChange, onCheckpoints, onRemove, onWritten }) {
    this.element = template.content.firstElementChild.cloneNode(true);
    this.settings = settings;
    this.onChange = onChange;
    this.onCheckpoints = onCheckpoints;
    this.onWritten = onWritten;
    this.writing = null;
    this.running = null;
    this.pinned = null;
    this.task = null;
    const find = (name) => this.element.querySelector(name);
    [this.model, this.note, this.error, this.output, this.detail] = [".model", ".model-note", ".alarm", ".symbols", ".detail"].map(find);
    [this.fork, this.score, this.code, this.writes] = [".fork", ".score", ".code", ".writes"].map(find);
    this.model.value = model;
    this.text = new SymbolText(this.output, { onLook: (place, isFocused) => this.look(place, isFocused), onPick: (place) => this.pin(place) });
    this.predict = new PredictForm(find(".predicts"), { model: () => this.model.value, onCode: (path, request) => this.showCode(path, request) });
    this.model.addEventListener("change", () => this.name());
    find(".remove").addEventListener("click", () => onRemove(this));
    find(".go-on").addEventListener("click", () => this.goOn());
    for (const language of ["curl", "python"]) {
      find(`pre.${language}`).id = `${language}-${(number += 1)}`;
      find(`.copy-${language}`).dataset.copy = find(`pre.${language}`).id;
    }
    this.fork.addEventListener("click", () => this.forkAt(this.pinned ?? this.looked));
    this.code.addEventListener("toggle", () => this.showCode());
  }

  /** Finds out what the model is. */
  async name() {
    const model = this.model.value.trim();
    this.task = null;
    this.note.textContent = "";
    this.refuse(null);
    if (model) {
      try {
        const about = await getJson(`/v1/models/${encodeURIComponent(model)}`);
        const path = `/v1/jobs/${encodeURIComponent(about.job)}`;
        const [{ spec }, checkpoints] = await Promise.all([getJson(path), getJson(`${path}/checkpoints`)]);
        if (model !== this.model.value.trim()) return; // another was named meanwhile
        this.task = spec.task;
        this.note.textContent = described(about, spec);
        this.onCheckpoints(checkpoints.data.map(({ model: id, step }) => [id, [spec.name, `step ${step}`]]));
      } catch (error) {
        this.refuse(error);
      }
    }
    this.writes.hidden = this.answers;
    this.predict.show(this.task);
    this.onChange();
  }

  /** Whether the model is known to answer inputs, and not to write on. */
  get answers() {
    return this.task !== null && this.task !== "language_model";
  }

  get isRunning() {
    return this.running !== null;
  }

  /** Writes a new text behind `prompt`. */
  write(prompt) {
    this.writing = new Writing(prompt);
    return this.run();
  }

  /** Goes on behind what is there. */
  goOn() {
    if (this.writing?.goOn()) this.run();
  }

  forkAt(place, more = "") {
    if (!this.writing || place === null || place === undefined) return;
    this.stop();
    if (this.writing.fork(place, more)) this.run();
    else this.refuse(new ApiError("here a character of several bytes would be cut in two; fork at the symbol after it", 0));
  }

  stop() {
    this.running?.abort();
  }

  async run() {
    this.stop();
    const running = new AbortController();
    this.running = running;
    this.begin();
    try {
      await this.read(this.writing.request(), running);
    } catch (error) {
      if (error.name !== "AbortError") this.refuse(error);
    }
    if (this.running !== running) return; // another text was begun meanwhile
    this.running = null;
    this.output.setAttribute("aria-busy", "false");
    this.element.querySelector(".go-on").disabled = !this.writing.symbols.length;
    const { segments } = this.writing;
    if (segments.some(({ symbols }) => symbols.length)) this.onWritten({ model: this.model.value, prompt: segments[0].prompt, text: this.writing.text() ?? this.writing.written() });
    this.onChange();
  }

  /** Streams into the text. A state that has expired, or is another checkpoint's, is made up for by reading all anew. */
  async read(asked, running) {
    try {
      await this.stream(asked, running);
    } catch (error) {
      const isOfState = error instanceof ApiError && error.param === "state";
      if (!isOfState || typeof asked.state !== "string" || this.writing.text() === null) throw error;
      await this.stream(this.writing.wholeRequest(), running);
    }
  }

  async stream(asked, running) {
    const request = { model: this.model.value.trim(), ...this.settings(), ...asked, logprobs: ALTERNATIVES };
    for await (const choice of choices(request, running.signal)) {
      if (this.running !== running) return;
      const symbols = symbolsOf(choice.logprobs);
      const isAtEnd = this.output.scrollHeight - this.output.scrollTop - this.output.clientHeight < 4;
      this.writing.add(symbols, choice.state);
      this.text.append(symbols.map(drawn));
      if (isAtEnd) this.output.scrollTop = this.output.scrollHeight; // who has scrolled back stays there
      this.tell();
    }
  }

  begin() {
    this.pinned = null;
    this.looked = null;
    this.refuse(null);
    this.fork.hidden = true;
    this.detail.textContent = HINT;
    this.writes.hidden = false;
    this.element.querySelector(".written").hidden = false;
    this.output.setAttribute("aria-busy", "true");
    this.text.clear();
    this.text.append(this.writing.symbols.map(drawn));
    this.tell();
    this.onChange();
    if (this.code.open) this.showCode();
  }

  /** What the writing costs so far, by the model's own measure. */
  tell() {
    const known = this.writing.symbols.filter(({ bits }) => bits !== null);
    const bits = known.reduce((sum, one) => sum + one.bits, 0);
    const what = areBytes(known.map(({ name }) => name)) ? "bytes" : "characters";
    this.score.textContent = known.length ? `${known.length} ${what}, ${decimals(bits / known.length, 2)} bits each on average` : "";
  }

  look(place, isFocused) {
    if (isFocused) this.unpin();
    if (this.pinned !== null) return;
    this.looked = place;
    this.showSymbol(place);
  }

  pin(place) {
    this.unpin();
    this.showSymbol(place);
    this.pinned = place;
    this.text.spans[place].classList.add("pinned");
  }

  unpin() {
    this.text.spans[this.pinned]?.classList.remove("pinned");
    this.pinned = null;
  }

  showSymbol(place) {
    const symbol = this.writing?.symbols[place];
    this.fork.hidden = !symbol;
    if (!symbol) return;
    if (symbol.isPrompt) showDetail(this.detail, symbol, null, "given, not written");
    else showDetail(this.detail, symbol, (other) => this.forkAt(place, textOfOne(other)));
  }

  refuse(error) {
    this.error.hidden = error === null;
    this.error.textContent = error === null ? "" : visible(sentence(error));
  }

  /** The request that writes this text, as one would send it oneself. */
  codes() {
    if (this.asked) return this.asked;
    const request = { model: this.model.value.trim(), prompt: this.writing?.segments[0].prompt ?? "", ...this.settings() };
    return { path: "/v1/completions", call: "completions.create", request, show: "answer.choices[0].text" };
  }

  showCode(path, request) {
    if (path) this.asked = { path, call: "models.predict", request, show: "answer.data" };
    else if (!this.answers) this.asked = null;
    if (!this.code.open) return;
    const { path: at, call, request: body, show } = this.codes();
    this.code.querySelector("pre.curl").textContent = asCurl(at, body, location.origin);
    this.code.querySelector("pre.python").textContent = asPython(call, body, show);
  }
}

function described({ step, bits_per_character }, { name, model }) {
  const bits = bits_per_character === null ? "" : `${decimals(bits_per_character, 3)} bits per character`;
  return [visible(name ?? ""), `${model.cell} ${model.hidden_size}x${model.num_layers}`, `step ${step}`, bits].filter(Boolean).join(" · ");
}

/** The symbols of one piece of a stream. */
function symbolsOf(logprobs) {
  if (!logprobs) return [];
  return logprobs.tokens.map((name, i) => ({ name, bits: bitsOf(-logprobs.token_logprobs[i]), top: ranked(logprobs.top_logprobs?.[i]) }));
}

const ranked = (top) =>
  Object.entries(top ?? {})
    .map(([symbol, logprob]) => ({ symbol, probability: Math.exp(logprob) }))
    .sort((one, other) => other.probability - one.probability);

const drawn = ({ name, bits, top, isPrompt }) => ({ name, heat: heatOf(bits), isOther: isPrompt, words: isPrompt ? `${name}, given` : heard(name, bits, top) });

/** A byte cannot be sent by itself, an ASCII one or a character can. */
const textOfOne = (name) => (areBytes([name]) ? "" : name);
