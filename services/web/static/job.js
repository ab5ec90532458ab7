// One job's panel, live: state, numbers, curve, latest sample. Knows the shapes of /v1's events and of a JobRecord.

import { getJson } from "./api.js";
import { LossChart } from "./chart.js";
import { JobEvents } from "./events.js";
import { History } from "./history.js";
import { count, decimals, percent, span, visible } from "./text.js";

const HISTORY_POINTS = 2000;
const TABLE_ROWS = 100;
const SCORES = ["train_loss", "validation_loss", "bits_per_character"];
const LIVE_WORDS = { live: "live", waiting: "connection lost, trying again", ended: "ended" };

const byId = (id) => document.getElementById(id);
const setText = (id, text) => {
  if (byId(id).textContent !== text) byId(id).textContent = text;
};

export class JobPanel {
  constructor(id, onChange) {
    this.path = `/v1/jobs/${encodeURIComponent(id)}`;
    this.onChange = onChange;
    this.history = new History();
    this.chart = new LossChart(byId("curve"));
    this.best = null;
    this.sampledAt = [-1, -1];
    this.events = new JobEvents(id, {
      onEvent: (event) => this[event.type]?.(event.data, event),
      onStatus: (status) => setText("live", LIVE_WORDS[status]),
    });
  }

  /** The past first, down-sampled, so that the curve stands at once; then every event. */
  async start() {
    const past = getJson(`${this.path}/metrics?points=${HISTORY_POINTS}`).catch(() => ({ data: [] })); // events bring it too
    await this.refresh();
    for (const row of (await past).data) this.history.add(row);
    this.draw();
    this.tabulate();
    this.events.follow();
  }

  async refresh() {
    const job = await getJson(this.path).catch(() => null); // the next event asks again
    if (job) this.showRecord(job);
  }

  showRecord(job) {
    this.showState(job.state);
    this.best = job.best?.bits_per_character ?? this.best;
    setText("fact-best", decimals(this.best, 3));
    const error = job.error ? [job.error.message, job.error.hint].filter(Boolean).join(" ") : "";
    byId("job-error").hidden = !error;
    setText("job-error", visible(error));
  }

  showState(state) {
    const icon = byId("job-state").querySelector("svg");
    icon.setAttribute("class", `icon state-${state}`);
    icon.firstElementChild.setAttribute("href", `#i-${state}`);
    const word = byId("job-state").querySelector("span");
    if (word.textContent !== state) word.textContent = state;
    if (state !== "running") setText("fact-eta", span(null));
  }

  /** The record says what the state is by now: events also tell of the past. */
  state() {
    this.onChange();
    this.refresh();
  }

  metrics(row) {
    this.history.add(row);
    setText("fact-ratio", percent(row.ratio));
    byId("job-progress").value = row.ratio;
    setText("fact-eta", span(row.eta_seconds));
    setText("fact-loss", decimals(row.train_loss, 3));
    setText("fact-speed", count(row.characters_per_second));
    setText("fact-step", count(row.step));
    setText("fact-characters", count(row.characters));
    if (row.bits_per_character != null) {
      setText("fact-bits", decimals(row.bits_per_character, 3));
      if (this.best === null || row.bits_per_character < this.best) this.best = row.bits_per_character;
      setText("fact-best", decimals(this.best, 3));
      this.tabulate();
    }
    this.draw();
  }

  draw() {
    this.chart.show(() => this.history.columns());
  }

  tabulate() {
    const rows = this.history.validations(TABLE_ROWS).map((point) => {
      const row = document.createElement("tr");
      row.insertCell().textContent = count(point.step);
      for (const name of SCORES) row.insertCell().textContent = decimals(point[name], 3);
      for (const cell of row.cells) cell.className = "number";
      return row;
    });
    byId("validations").replaceChildren(...rows);
  }

  checkpoint(data) {
    const [epoch, step] = this.sampledAt;
    if (!data.samples?.length || data.epoch < epoch || (data.epoch === epoch && data.step < step)) return;
    this.sampledAt = [data.epoch, data.step];
    setText("sample-note", `step ${count(data.step)}, ${decimals(data.bits_per_character, 3)} bits/char`);
    byId("samples").replaceChildren(...data.samples.map(sample));
  }
}

function sample({ prompt, text }) {
  const block = document.createElement("pre");
  block.className = "sample";
  block.dir = "auto";
  block.tabIndex = 0;
  const asked = document.createElement("span");
  asked.className = "prompt";
  asked.textContent = visible(prompt);
  block.append(asked, visible(text));
  return block;
}
