// What is known of one symbol: its bits, its probability, and what might have come in its place. Knows no request.

import { spoken } from "./symbols.js";
import { decimals } from "./text.js";

export const BITS = Math.LN2; // nats of one bit
export const MOST_BITS = 8; // the strongest colour; of 256 equally likely symbols each has as many

/** Bits of a surprisal in nats; null stays null. */
export const bitsOf = (nats) => (nats === null || nats === undefined ? null : nats / BITS);

/** How strongly a symbol is coloured for its bits. */
export const heatOf = (bits) => (bits === null ? null : bits / MOST_BITS);

export function percentage(probability) {
  if (probability >= 0.9995) return "100 %";
  return probability < 0.001 ? "< 0.1 %" : `${(probability * 100).toFixed(1)} %`;
}

/** What a reader of the screen hears of a symbol. */
export function heard(name, bits, top) {
  const cost = bits === null ? "nothing came before it" : `${decimals(bits, 2)} bits`;
  const first = top.length ? `, likeliest ${spoken(top[0].symbol)}, ${percentage(top[0].probability)}` : "";
  return `${spoken(name)}, ${cost}${first}`;
}

/** Draws into `element`. With `onChoose(symbol)` the alternatives are buttons; `words` stand where nothing was measured. */
export function showDetail(element, { name, bits, top }, onChoose = null, words = "nothing came before it") {
  const head = document.createElement("div");
  head.className = "detail-head";
  const symbol = document.createElement("span");
  symbol.className = "detail-symbol";
  symbol.textContent = spoken(name);
  const cost = document.createElement("span");
  cost.textContent =
    bits === null ? words : `${decimals(bits, 2)} bits, probability ${percentage(2 ** -bits)}`;
  head.append(symbol, cost);
  const list = document.createElement("ul");
  list.className = "alternatives";
  list.append(...top.map((one) => alternative(one, name, onChoose)));
  element.replaceChildren(head, list);
}

function alternative({ symbol, probability }, name, onChoose) {
  const item = document.createElement("li");
  const line = document.createElement(onChoose ? "button" : "div");
  line.className = symbol === name ? "alternative is-it" : "alternative";
  const word = document.createElement("b");
  word.textContent = spoken(symbol);
  const amount = document.createElement("span");
  amount.className = "amount";
  amount.style.setProperty("--share", probability.toFixed(4));
  const number = document.createElement("span");
  number.className = "number";
  number.textContent = percentage(probability);
  line.append(word, amount, number);
  if (onChoose) {
    line.type = "button";
    line.title = `Go on from here with ${spoken(symbol)}`;
    line.addEventListener("click", () => onChoose(symbol));
  }
  item.append(line);
  return item;
}
