// The overview of a run, live: numbers, curve, latest sample. Knows the shapes of /v1's events and of a JobRecord.

import { getJson } from "./api.js";
import { LossChart } from "./chart.js";
import { CompletionForm } from "./completion.js";
import { History } from "./history.js";
import { run, setText } from "./run.js";
import { count, decimals, percent, span, visible } from "./text.js";

const HISTORY_POINTS = 2000;
const TABLE_ROWS = 100;
const SCORES = ["train_loss", "validation_loss", "bits_per_character"];

const byId = (id) => document.getElementById(id);

class Overview {
  constructor() {
    this.history = new History();
    this.chart = new LossChart(byId("curve"));
    this.best = null;
    this.sampledAt = [-1, -1];
    run.on("record", (job) => this.showRecord(job));
    run.on("metrics", (row) => this.metrics(row));
    run.on("checkpoint", (data) => this.checkpoint(data));
  }

  /** The past first, down-sampled, so that the curve stands at once; then every event. */
  async start() {
    const past = await getJson(`${run.path}/metrics?points=${HISTORY_POINTS}`).catch(() => ({ data: [] })); // events bring it too
    for (const row of past.data) this.history.add(row);
    this.draw();
    this.tabulate();
    await run.follow();
  }

  showRecord(job) {
    this.best = job.best?.bits_per_character ?? this.best;
    setText("fact-best", decimals(this.best, 3));
    if (job.state !== "running") setText("fact-eta", span(null));
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

new CompletionForm(byId("try"));
await new Overview().start();
