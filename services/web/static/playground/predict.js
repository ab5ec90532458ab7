// The form for models that answer instead of writing on: classify, tag, forecast, regress, translate, generate.

import { send, sentence } from "../api.js";
import { percentage } from "../symbol_detail.js";
import { decimals, visible } from "../text.js";

const HINTS = {
  classify: ["One input a line: its text, or a JSON list of numbers", "Müller"],
  tag: ["One input a line: its text, or a JSON list of symbols", '["HH", "AH", "L", "OW"]'],
  regress: ["One input a line: a JSON list of steps", "[[0.5, 0], [0.25, 1], [0.125, 1]]"],
  forecast: ["The latest rows of the series, one a line, the numbers separated by commas", "12.8, 5.0\n10.6, 2.8"],
  translate: ["One input a line: its text, or a JSON list of symbols", "hello"],
  generate: ["One label a line", "de_DE"],
};
const SETTINGS = {
  generate: [["max_tokens", "Characters", 100, 1, 16384], ["temperature", "Temperature", 1, 0, 10], ["seed", "Seed", "", 0, 2 ** 32]],
  translate: [["beam_width", "Beam width", 4, 1, 16]],
};
const MOST_LABELS = 6;
const DIGITS = 4;

export class PredictForm {
  constructor(element, { model, onCode }) {
    this.element = element;
    this.model = model;
    this.onCode = onCode;
    [this.inputs, this.words, this.settings, this.answers, this.error] = [".inputs", ".inputs-words", ".predict-settings", ".answers", ".predict-error"].map((name) => element.querySelector(name));
    element.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
  }

  show(task) {
    this.task = task;
    this.element.hidden = !(task in HINTS);
    this.answers.replaceChildren();
    this.error.hidden = true;
    if (this.element.hidden) return;
    const [words, example] = HINTS[task];
    this.words.textContent = words;
    this.inputs.placeholder = example;
    this.settings.replaceChildren(...(SETTINGS[task] ?? []).map(setting));
  }

  async ask() {
    this.error.hidden = true;
    try {
      const request = { model: this.model().trim(), inputs: inputsOf(this.task, this.inputs.value), ...this.asked() };
      this.onCode("/v1/predict", request);
      const { data } = await send("POST", "/v1/predict", request);
      this.answers.replaceChildren(...data.map((answer, i) => card(request.inputs[i], answer)));
    } catch (error) {
      this.answers.replaceChildren();
      this.error.hidden = false;
      this.error.textContent = error instanceof SyntaxError ? error.message : visible(sentence(error));
    }
  }

  asked() {
    const fields = [...new FormData(this.element.querySelector("form"))].filter(([name, value]) => name !== "inputs" && value !== "");
    return Object.fromEntries(fields.map(([name, value]) => [name, Number(value)]));
  }
}

/** What the lines say, as /v1/predict takes it; a SyntaxError names the line that says nothing. */
export function inputsOf(task, text) {
  const lines = text.replaceAll("\r\n", "\n").split("\n").filter((line) => line.trim() !== "");
  if (task === "forecast" && !lines[0]?.trimStart().startsWith("[")) return [lines.map(row)];
  return lines.map((line, i) => (line.trimStart().startsWith("[") ? list(line, i) : line));
}

function row(line, i) {
  const numbers = line.split(",").map((number) => (number.trim() === "" ? NaN : Number(number)));
  if (numbers.some(Number.isNaN)) throw new SyntaxError(`line ${i + 1} is no row of numbers: ${line.trim().slice(0, 60)}; separate them by commas`);
  return numbers;
}

function list(line, i) {
  try {
    return JSON.parse(line);
  } catch {
    throw new SyntaxError(`line ${i + 1} begins with [ but is no JSON list: ${line.trim().slice(0, 60)}`);
  }
}

function card(input, answer) {
  const card = made("article", "answer");
  card.append(made("p", "quiet", visible(typeof input === "string" ? input : JSON.stringify(input)).slice(0, 400)));
  if (answer.tags) card.append(tagged(input, answer.tags));
  else if (answer.label !== null) card.append(made("p", "answer-head", visible(answer.label)), likelihoods(answer));
  else if (answer.values) card.append(made("p", "answer-head", answer.values.map((value) => decimals(value, DIGITS)).join(", ")));
  else card.append(...(answer.sequences ?? []).map(sequence));
  return card;
}

function likelihoods({ label, probabilities }) {
  const list = made("ul", "alternatives");
  const ranked = Object.entries(probabilities ?? {}).sort(([, one], [, other]) => other - one);
  for (const [name, probability] of ranked.slice(0, MOST_LABELS)) {
    const amount = made("span", "amount");
    amount.style.setProperty("--share", probability.toFixed(4));
    const item = made("li", name === label ? "alternative is-it" : "alternative");
    item.append(made("b", "", visible(name)), amount, made("span", "number", percentage(probability)));
    list.append(item);
  }
  if (ranked.length > MOST_LABELS) list.append(made("li", "quiet", `and ${ranked.length - MOST_LABELS} less likely`));
  return list;
}

/** Each symbol with its tag beneath. */
function tagged(input, tags) {
  const line = made("p", "tagged");
  for (const [i, symbol] of [...input].entries()) {
    const pair = made("span", "tagged-pair");
    pair.append(made("span", "", visible(String(symbol))), made("b", "", visible(tags[i] ?? "")));
    line.append(pair);
  }
  return line;
}

function sequence({ symbols, text, score }) {
  const isOfWords = symbols.some((symbol) => [...symbol].length > 1);
  const line = made("p", "sequence", visible(isOfWords ? symbols.join(" ") : text));
  if (score !== null) line.append(" ", made("span", "quiet", `log-probability ${decimals(score, 3)} a symbol`));
  return line;
}

function setting([name, words, value, min, max]) {
  const label = made("label", "", words);
  const input = document.createElement("input");
  Object.assign(input, { name, type: "number", min, max, step: name === "temperature" ? "any" : 1, value, placeholder: "any" });
  label.append(input);
  return label;
}

function made(name, className, text = "") {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}
