// A text that a model writes, as segments: each goes on from a state, with a prompt, and holds the symbols that came.
// Forking cuts it anywhere. Knows no page and asks nothing itself.

import { textOf } from "../symbols.js";

export class Writing {
  constructor(prompt) {
    this.segments = [{ state: null, prompt, symbols: [], after: null }];
  }

  /** All symbols in reading order: those of prompts have no `bits`, for nobody asked what they cost. */
  get symbols() {
    return this.segments.flatMap(({ prompt, symbols }) => [...promptSymbols(prompt), ...symbols]);
  }

  get last() {
    return this.segments.at(-1);
  }

  /** What is to be asked for now: a state to go on from, or true for the beginning, and what follows it. */
  request() {
    const { state, prompt } = this.last;
    return { state: state ?? true, prompt };
  }

  /** The same without a state: the whole text is read again. Its segments are one from then on. */
  wholeRequest() {
    this.segments = [{ state: null, prompt: this.text(), symbols: [], after: null }];
    return this.request();
  }

  /** The text so far; null where bytes spell none. */
  text() {
    const texts = this.segments.map((segment) => segmentText(segment));
    return texts.includes(null) ? null : texts.join("");
  }

  /** What the model wrote itself, without the prompts that people gave. */
  written() {
    return this.segments.map(({ symbols }) => textOf(symbols.map(({ name }) => name)) ?? "").join("");
  }

  /** Adds a piece of a stream: symbols, and at its end the state behind them. */
  add(symbols, after) {
    this.last.symbols.push(...symbols);
    this.last.after = after ?? this.last.after;
  }

  /** Goes on behind the end, `more` being what people add. A text that was cut off has no state there: see `fork`. */
  goOn(more = "") {
    const { after } = this.last;
    if (after === null) return this.fork(this.symbols.length, more);
    this.segments.push({ state: after, prompt: more, symbols: [], after: null });
    return true;
  }

  /** Cuts before symbol `place` and goes on with `more` in its stead. False where that would cut a character in two. */
  fork(place, more = "") {
    let first = 0;
    for (const [number, segment] of this.segments.entries()) {
      const length = [...segment.prompt].length + segment.symbols.length;
      if (place <= first + length) {
        const prompt = segmentText(segment, place - first);
        if (prompt === null) return false;
        this.segments = [...this.segments.slice(0, number), { state: segment.state, prompt: prompt + more, symbols: [], after: null }];
        return true;
      }
      first += length;
    }
    return false;
  }
}

const promptSymbols = (prompt) => [...prompt].map((name) => ({ name, bits: null, top: [], isPrompt: true }));

/** The first `length` symbols of a segment, all by default. */
function segmentText({ prompt, symbols }, length = Infinity) {
  const given = [...prompt];
  if (length <= given.length) return given.slice(0, length).join("");
  const written = textOf(symbols.slice(0, length - given.length).map(({ name }) => name));
  return written === null ? null : prompt + written;
}
