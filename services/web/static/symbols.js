// A text as symbols of a model, each coloured and each a stop of the keyboard. Knows neither where values come from
// nor what they mean: a symbol has a `name` as the model calls it, a `heat` from -1 to 1 or null, and `words` on it.

import { visible } from "./text.js";

const BYTE = /^bytes:\\x([0-9a-f]{2})$/;
const SPOKEN = { " ": "space", "\n": "line end", "\t": "tab" };

/** How a symbol is called in a sentence. */
export const spoken = (name) => SPOKEN[name] ?? visible(name);

/** Whether these are names of bytes, of which several may spell one character. */
export const areBytes = (names) => names.some((name) => BYTE.test(name));

/** The text of symbols; null where bytes spell none. */
export function textOf(names) {
  if (!areBytes(names)) return names.join("");
  const bytes = names.map((name) => (BYTE.test(name) ? parseInt(name.slice(-2), 16) : name.charCodeAt(0)));
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(new Uint8Array(bytes));
  } catch {
    return null;
  }
}

/** Spells symbols one by one: a character of several bytes stands at its last one, a dot at those before. */
export class Spelling {
  constructor() {
    this.decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    this.isOpen = false;
  }

  of(name) {
    const byte = BYTE.exec(name);
    if (byte || this.isOpen) {
      const code = byte ? parseInt(byte[1], 16) : name.charCodeAt(0);
      const piece = this.decoder.decode(new Uint8Array([code]), { stream: true });
      this.isOpen = piece === "";
      return piece === "" ? "·" : this.drawn(piece);
    }
    return this.drawn(name);
  }

  drawn(text) {
    return visible(text).replaceAll("\n", "↵\n").replaceAll("\t", "⇥\t");
  }
}

/** Draws symbols into `element`. `onLook(place, isFocused)` is called for what is pointed at or focused,
 * `onPick(place)` on Enter or click. */
export class SymbolText {
  constructor(element, { onLook, onPick = () => {} }) {
    this.element = element;
    this.onLook = onLook;
    this.onPick = onPick;
    this.clear();
    element.setAttribute("role", "listbox");
    element.setAttribute("aria-orientation", "horizontal");
    element.addEventListener("keydown", (event) => this.key(event));
    element.addEventListener("focusin", (event) => this.look(this.placeOf(event.target), true));
    element.addEventListener("pointerover", (event) => this.look(this.placeOf(event.target)));
    element.addEventListener("click", (event) => {
      const place = this.placeOf(event.target);
      if (place === null) return;
      this.stop(place);
      this.onPick(place);
    });
  }

  clear() {
    this.spans = [];
    this.spelling = new Spelling();
    this.at = 0;
    this.looked = null;
    this.element.replaceChildren();
  }

  /** The symbols anew; the place that was looked at stays where it was. */
  show(symbols) {
    const { at } = this;
    const had = this.element.contains(document.activeElement);
    this.clear();
    this.append(symbols);
    if (!this.spans.length) return;
    this.stop(Math.min(at, this.spans.length - 1), had);
  }

  append(symbols) {
    const fresh = symbols.map(({ name, heat, words, isOther }) => {
      const span = document.createElement("span");
      span.setAttribute("role", "option");
      span.setAttribute("aria-selected", "false");
      span.setAttribute("aria-label", words);
      span.tabIndex = -1;
      span.textContent = this.spelling.of(name);
      if ([...name].length > 1 && !BYTE.test(name)) span.className = "token";
      if (isOther) span.classList.add("other");
      paint(span, heat);
      return span;
    });
    const first = this.spans.length === 0;
    this.spans.push(...fresh);
    this.element.append(...fresh);
    if (first && fresh.length) this.stop(0);
  }

  placeOf(target) {
    const place = this.spans.indexOf(target);
    return place < 0 ? null : place;
  }

  look(place, isFocused = false) {
    if (place === null || (place === this.looked && !isFocused)) return;
    this.spans[this.looked]?.setAttribute("aria-selected", "false");
    this.spans[place].setAttribute("aria-selected", "true");
    this.looked = place;
    this.onLook(place, isFocused);
  }

  /** The one symbol that Tab reaches. */
  stop(place, isFocused = false) {
    if (this.spans[this.at]) this.spans[this.at].tabIndex = -1;
    this.at = place;
    this.spans[place].tabIndex = 0;
    if (isFocused) this.spans[place].focus();
  }

  key(event) {
    const last = this.spans.length - 1;
    const to = {
      ArrowRight: this.at + 1,
      ArrowLeft: this.at - 1,
      ArrowDown: this.beside(1),
      ArrowUp: this.beside(-1),
      Home: 0,
      End: last,
    }[event.key];
    if (event.key === "Enter") this.onPick(this.at);
    else if (to === undefined) return;
    else this.stop(Math.max(0, Math.min(last, to)), true);
    event.preventDefault();
  }

  /** The symbol nearest to this one on the next line, or the line before. */
  beside(direction) {
    const here = this.spans[this.at].getBoundingClientRect();
    let best = this.at;
    let distance = Infinity;
    for (let place = this.at + direction; this.spans[place]; place += direction) {
      const box = this.spans[place].getClientRects()[0];
      if (!box || Math.abs(box.top - here.top) < here.height / 2) continue;
      if (Math.abs(box.top - here.top) > here.height * 2.5) break;
      if (Math.abs(box.left - here.left) < distance) [best, distance] = [place, Math.abs(box.left - here.left)];
    }
    return best;
  }
}

/** Colours an element: none for null, the accent for what is positive, its opposite for what is negative. */
export function paint(element, heat) {
  if (heat === null) return;
  element.style.setProperty("--heat", String(Math.min(1, Math.abs(heat)).toFixed(3)));
  element.classList.add("heated");
  element.classList.toggle("minus", heat < 0);
}

/** A strip of colours between two words. */
export function legend(from, to, isTwoSided = false) {
  const strip = document.createElement("span");
  strip.className = "legend-strip";
  for (let i = 0; i <= 8; i += 1) {
    const cell = document.createElement("i");
    paint(cell, isTwoSided ? i / 4 - 1 : i / 8);
    strip.append(cell);
  }
  const whole = document.createElement("span");
  whole.className = "legend quiet";
  whole.append(from, strip, to);
  return whole;
}
