// The overview of a run, live: numbers, curve, latest sample. Knows the shapes of /v1's events and of a JobRecord.

import { getJson } from "./api.js";
import { Chart, precise } from "./chart.js";
import { CompletionForm } from "./completion.js";
import { byId, setText, tableRow, written } from "./dom.js";
import { always, History, smoothed, validated } from "./history.js";
import { X_AXES } from "./loss_axes.js";
import { run } from "./run.js";
import { count, decimals, percent, span } from "./text.js";

const HISTORY_POINTS = 2000;
const TABLE_ROWS = 100;
const SMOOTHING = 0.6;
const SCORES = ["train_loss", "validation_loss", "bits_per_character"];

class Overview {
  constructor() {
    this.history = new History();
    this.score = byId("facts").dataset.score;
    this.chart = new Chart(byId("curve"), {
      x: X_AXES.step,
      y: { label: "nats per character", format: precise },
      series: [
        { label: "Training, each", colour: "--muted-line", kind: "raw" },
        { label: "Training", colour: "--muted-line", kind: "line" },
        { label: "Validation", colour: "--accent", kind: "points" },
      ],
      marks: () => this.history.starts("step"),
    });
    this.best = null;
    this.sampledAt = [-1, -1];
    run.on("record", (job) => this.showRecord(job));
    run.on("metrics", (row) => this.metrics(row));
    run.on("checkpoint", (data) => this.checkpoint(data));
  }

  /** The past first, down-sampled, so that the curve stands at once; then every event. */
  async start() {
    const [past, samples] = await Promise.all(
      [`metrics?points=${HISTORY_POINTS}`, "samples"].map((what) =>
        getJson(`${run.path}/${what}`).catch(() => ({ data: [] })),
      ),
    ); // events bring it too
    for (const row of past.data) this.history.add(row);
    if (samples.data.length) this.checkpoint(samples.data.at(-1));
    this.draw();
    this.tabulate();
    await run.follow();
  }

  showRecord(job) {
    this.best = job.best?.[this.score] ?? this.best;
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
    const score = row[this.score];
    if (score != null) {
      setText("fact-score", decimals(score, 3));
      if (this.best === null || score < this.best) this.best = score;
      setText("fact-best", decimals(this.best, 3));
      this.tabulate();
    }
    this.draw();
  }

  draw() {
    this.chart.show(() => {
      const training = this.history.column(always("train_loss"));
      return [
        this.history.axis("step"),
        training,
        smoothed(training, SMOOTHING),
        this.history.column(validated("validation_loss")),
      ];
    });
  }

  tabulate() {
    const rows = this.history.validations(TABLE_ROWS).map((point) => {
      const scores = SCORES.map((name) => ({ text: decimals(point[name], 3), isNumber: true }));
      return tableRow([{ text: count(point.step), isNumber: true }, ...scores]);
    });
    byId("validations").replaceChildren(...rows);
  }

  checkpoint(data) {
    const [epoch, step] = this.sampledAt;
    if (!data.samples?.length || data.epoch < epoch || (data.epoch === epoch && data.step < step)) return;
    this.sampledAt = [data.epoch, data.step];
    setText("sample-note", `step ${count(data.step)}, ${decimals(data.bits_per_character, 3)} bits/char`);
    byId("samples").replaceChildren(...data.samples.map(written));
  }
}

if (byId("try")) new CompletionForm(byId("try"));
await new Overview().start();
