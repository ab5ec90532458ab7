// The playground: one prompt and one set of settings, up to four models beside one another. The address names them.

import { getJson, sentence } from "./api.js";
import { legend } from "./symbols.js";
import { Column } from "./playground/column.js";
import { WrittenHistory } from "./playground/history.js";
import { visible } from "./text.js";
import { toast } from "./toasts.js";

const MOST_COLUMNS = 4;
const MODELS_ASKED = 100;
const NUMBERS = ["max_tokens", "temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty"];

const byId = (id) => document.getElementById(id);

class Playground {
  constructor() {
    this.form = byId("write");
    this.columns = [];
    this.history = new WrittenHistory(byId("written"), { onUse: (entry) => this.use(entry) });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.isRunning) this.stop();
      else this.write();
    });
    // Enter begins a line; with Ctrl or Command it writes.
    this.form.prompt.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.form.requestSubmit();
    });
    byId("add-model").addEventListener("click", () => this.add("").model.focus());
    byId("heat-legend").append(legend("0", "8 bits or more"));
  }

  async start() {
    const named = new URLSearchParams(location.search).getAll("model").slice(0, MOST_COLUMNS);
    const models = await this.offer();
    for (const model of named.length ? named : models.slice(0, 1)) this.add(model);
    if (!this.columns.length) byId("no-model").hidden = false;
    byId("go").disabled = false;
  }

  /** The models that there are, as proposals for every field. */
  async offer() {
    try {
      const { data } = await getJson(`/v1/models?limit=${MODELS_ASKED}`);
      byId("models").replaceChildren(...data.map(({ id, alias_of, step }) => option(id, alias_of ? `stands for ${alias_of}` : `best, step ${step}`)));
      return data.map(({ id }) => id);
    } catch (error) {
      toast(sentence(error), { isAlarm: true });
      return [];
    }
  }

  add(model) {
    const column = new Column(byId("column"), model, {
      settings: () => this.settings(),
      onChange: () => this.changed(),
      onRemove: (one) => this.remove(one),
      onWritten: (entry) => this.history.add({ ...entry, settings: this.settings() }),
    });
    this.columns.push(column);
    byId("columns").append(column.element);
    byId("no-model").hidden = true;
    column.name();
    return column;
  }

  remove(column) {
    column.stop();
    column.element.remove();
    this.columns = this.columns.filter((one) => one !== column);
    this.changed();
  }

  get isRunning() {
    return this.columns.some((column) => column.isRunning);
  }

  changed() {
    byId("go").textContent = this.isRunning ? "Stop" : "Write";
    byId("add-model").hidden = this.columns.length >= MOST_COLUMNS;
    for (const { element } of this.columns) element.querySelector(".remove").hidden = this.columns.length < 2;
    // Models that answer instead of writing on have a form of their own.
    this.form.hidden = this.columns.length > 0 && this.columns.every(({ task }) => task !== null && task !== "language_model");
    const address = new URL(location.href);
    address.searchParams.delete("model");
    for (const { model } of this.columns) if (model.value.trim()) address.searchParams.append("model", model.value.trim());
    history.replaceState(null, "", address);
  }

  /** What is asked of every model besides its name and the prompt; what is left as it is need not be sent. */
  settings() {
    const fields = new FormData(this.form);
    const numbers = NUMBERS.map((name) => [name, fields.get(name)]).filter(([, value]) => value !== "");
    const asked = Object.fromEntries(numbers.map(([name, value]) => [name, Number(value)]));
    for (const [name, neutral] of [["top_p", 1], ["presence_penalty", 0], ["frequency_penalty", 0]]) if (asked[name] === neutral) delete asked[name];
    const stop = fields.get("stop").replaceAll("\\n", "\n");
    return stop === "" ? asked : { ...asked, stop };
  }

  write() {
    const prompt = this.form.prompt.value.replaceAll("\r\n", "\n");
    for (const column of this.columns) if (column.task === "language_model") column.write(prompt);
  }

  stop() {
    for (const column of this.columns) column.stop();
  }

  use({ prompt, settings, model }) {
    this.form.reset();
    this.form.prompt.value = prompt;
    for (const [name, value] of Object.entries(settings)) this.form.elements[name].value = String(value).replaceAll("\n", "\\n");
    if (!this.columns.some((column) => column.model.value === model) && this.columns[0]) {
      this.columns[0].model.value = model;
      this.columns[0].name();
    }
    this.form.prompt.focus();
  }
}

function option(value, words) {
  const made = document.createElement("option");
  made.value = value;
  made.label = visible(words);
  return made;
}

await new Playground().start();
