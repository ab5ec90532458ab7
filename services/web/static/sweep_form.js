// The form that starts a sweep: rows of fields, each with a range or values, and what the server refuses beside its cause.

import { send, sentence } from "./api.js";
import { visible } from "./text.js";

const TASKS = {
  text: ["language_model"],
  labelled: ["classify", "generate"],
  tagged: ["tag"],
  pairs: ["translate"],
  series: ["forecast"],
  sequences: ["regress"],
};
const NUMBERS = ["max_trials", "max_worker_seconds", "max_parallel", "replicates", "min_steps", "factor"];

const byId = (id) => document.getElementById(id);
/** Not crypto.randomUUID, which a page that came by plain HTTP from another machine does not have. */
const freshKey = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(16)).join("-");

/** One field of a JobSpec: searched (a range or values) or fixed to one value. */
class FieldRow {
  constructor(list, isSearched, path, onChange) {
    this.isSearched = isSearched;
    this.element = byId("field-row").content.firstElementChild.cloneNode(true);
    this.select = this.element.querySelector(".field");
    this.values = this.element.querySelector(".values");
    this.select.value = path;
    this.select.addEventListener("change", () => (this.fill(), onChange()));
    this.element.querySelector(".remove").addEventListener("click", () => (this.element.remove(), onChange()));
    this.element.addEventListener("input", onChange);
    this.element.row = this;
    list.append(this.element);
    this.fill();
  }

  get path() {
    return this.select.value;
  }

  get about() {
    return this.select.selectedOptions[0].dataset;
  }

  fill() {
    this.element.dataset.param = this.isSearched ? `parameters.${this.path}` : `spec.${this.path}`;
    const { kind, low, high, choices, log } = this.about;
    const bounds = low === "" && high === "" ? "" : ` (${low === "" ? "" : `from ${low}`}${high === "" ? "" : ` to ${high}`})`;
    this.element.querySelector(".about").textContent = this.about.about + bounds;
    if (!this.isSearched) this.values.replaceChildren(this.field("value", "value", this.about.default, choices));
    else if (kind === "choice") this.values.replaceChildren(this.field("values", "values", choices));
    else this.values.replaceChildren(this.how(log === "yes"), ...this.ofHow(log === "yes" ? "log" : "range"));
  }

  /** Which way a number is searched. */
  how(isLog) {
    const how = document.createElement("select");
    how.className = "how";
    how.setAttribute("aria-label", `How ${this.path} is searched`);
    how.append(new Option("range", "range"), new Option("log range", "log"), new Option("values", "values"));
    how.value = isLog ? "log" : "range";
    how.addEventListener("change", () => this.values.replaceChildren(how, ...this.ofHow(how.value)));
    return how;
  }

  ofHow(how) {
    if (how === "values") return [this.field("values", "a, b, c", "")];
    const fields = [this.field("min", "from", ""), this.field("max", "to", "")];
    return how === "log" ? fields : [...fields, this.field("step", "step", "")];
  }

  field(name, words, value, choices = "") {
    const field = document.createElement(choices ? "select" : "input");
    if (choices) field.append(...choices.split(",").map((choice) => new Option(choice, choice)));
    else field.placeholder = words;
    field.className = name;
    field.value = value;
    field.setAttribute("aria-label", `${this.path} ${words}`);
    return field;
  }

  text(name) {
    return this.values.querySelector(`.${name}`)?.value.trim() ?? "";
  }

  /** What is asked for of it: {min, max, log, step}, {values}, or one value. */
  asked() {
    if (!this.isSearched) return scalar(this.text("value"));
    if (this.values.querySelector(".values")) return { values: this.text("values").split(",").map((one) => scalar(one.trim())) };
    const found = { min: Number(this.text("min") || NaN), max: Number(this.text("max") || NaN) };
    if (this.values.querySelector(".how").value === "log") found.log = true;
    if (this.text("step")) found.step = Number(this.text("step"));
    return found;
  }
}

/** JSON where it is some (3, 0.1, true, null); every other text is itself. */
function scalar(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

class SweepForm {
  constructor(form) {
    this.form = form;
    const { searched, fixed } = byId("sweep-defaults").dataset;
    for (const path of searched.split(",")) this.add("searched", path);
    for (const path of fixed.split(",")) this.add("fixed", path);
    byId("add-searched").addEventListener("click", () => this.add("searched", "train.batch_size").select.focus());
    byId("add-fixed").addEventListener("click", () => this.add("fixed", "model.cell").select.focus());
    this.form.elements.dataset.addEventListener("change", () => this.tasks());
    form.addEventListener("input", () => this.changed());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.start();
    });
    this.prefill();
    this.tasks();
    this.changed();
  }

  add(list, path) {
    return new FieldRow(byId(list), list === "searched", path, () => this.changed());
  }

  rows(list) {
    return [...byId(list).children].map((element) => element.row);
  }

  /** A search that is worth its time on a small text. */
  prefill() {
    const ranges = { "train.learning_rate": ["0.001", "0.03"], "model.hidden_size": ["64", "256"] };
    for (const row of this.rows("searched")) {
      const [min, max] = ranges[row.path];
      row.values.querySelector(".min").value = min;
      row.values.querySelector(".max").value = max;
    }
    const fixed = { "train.max_steps": "900", "train.validate_every_steps": "100" };
    for (const row of this.rows("fixed")) row.values.querySelector(".value").value = fixed[row.path];
  }

  tasks() {
    const { kind } = this.form.elements.dataset.selectedOptions[0].dataset;
    this.form.elements.task.replaceChildren(...TASKS[kind].map((task) => new Option(task, task)));
  }

  /** Another wish is another sweep: a new key. */
  changed() {
    this.key = freshKey();
    const { method, max_trials: most } = this.form.elements;
    byId("sweep-size").textContent = method.value === "grid" ? gridWords(this.rows("searched")) : most.value ? `${most.value} trials at most` : "";
  }

  body() {
    const { elements } = this.form;
    const [spec, body] = [{ dataset: elements.dataset.value, task: elements.task.value }, {}];
    for (const row of this.rows("fixed")) put(spec, row.path, row.asked());
    body.spec = spec;
    body.parameters = Object.fromEntries(this.rows("searched").map((row) => [row.path, row.asked()]));
    if (elements.name.value.trim()) body.name = elements.name.value.trim();
    const given = Object.fromEntries(NUMBERS.filter((name) => elements[name].value !== "").map((name) => [name, Number(elements[name].value)]));
    body.search = { method: elements.method.value };
    body.objective = { metric: elements.metric.value };
    body.budget = pick(given, ["max_trials", "max_worker_seconds"]);
    Object.assign(body, pick(given, ["max_parallel", "replicates"]));
    const halving = pick(given, ["min_steps", "factor"]);
    if (Object.keys(halving).length) body.early_stopping = halving;
    if (elements.promote_to.value.trim()) body.promote_to = elements.promote_to.value.trim();
    return body;
  }

  async start() {
    this.clear();
    byId("sweep-go").disabled = true;
    try {
      const sweep = await send("POST", "/v1/sweeps", this.body(), { "idempotency-key": this.key });
      location.assign(`/sweeps/${encodeURIComponent(sweep.id)}`);
    } catch (error) {
      this.refuse(sentence(error), error.param);
    } finally {
      byId("sweep-go").disabled = false;
    }
  }

  clear() {
    byId("sweep-error").hidden = true;
    for (const note of this.form.querySelectorAll(".refusal")) note.remove();
    for (const field of this.form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  }

  /** Beside the field that it is about; where the page has none, beneath the form. */
  refuse(words, param) {
    const place = param && nearest(this.form, param);
    if (!place) {
      byId("sweep-error").textContent = visible(words);
      byId("sweep-error").hidden = false;
      return;
    }
    const note = document.createElement("p");
    note.className = "refusal alarm";
    note.setAttribute("role", "alert");
    note.textContent = visible(words);
    place.append(note);
    const field = place.querySelector("input, select:not(.field)") ?? place.querySelector("select");
    field?.setAttribute("aria-invalid", "true");
    field?.focus();
  }
}

function nearest(form, param) {
  const parts = param.split(".");
  for (let length = parts.length; length > 0; length -= 1) {
    const wanted = parts.slice(0, length).join(".");
    const found = [...form.querySelectorAll("[data-param]")].find((element) => element.dataset.param === wanted);
    if (found) return found;
  }
  return null;
}

function put(body, path, value) {
  const [section, field] = path.split(".");
  if (field === undefined) body[section] = value;
  else (body[section] ??= {})[field] = value;
}

const pick = (from, names) => Object.fromEntries(names.filter((name) => name in from).map((name) => [name, from[name]]));

function gridWords(rows) {
  const sizes = rows.map((row) => row.asked().values?.length);
  if (sizes.some((size) => !size)) return "a grid needs values, or ranges with steps";
  return `${sizes.reduce((all, size) => all * size, 1)} points`;
}

const form = byId("sweep-form");
if (form) new SweepForm(form);
