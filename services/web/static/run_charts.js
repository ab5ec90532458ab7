// Every series of a run as a chart, live, with the numbers behind it. The address keeps how they are drawn.

import { getJson } from "./api.js";
import { Chart, precise } from "./chart.js";
import { ChartView } from "./chart_view.js";
import { byId, tableRow } from "./dom.js";
import { always, History, metric, positive, smoothed, validated } from "./history.js";
import { run } from "./run.js";
import { count } from "./text.js";

const HISTORY_POINTS = 10_000;
const TABLE_ROWS = 200;
const LOWER_IS_BETTER = Math.min;
const HIGHER_IS_BETTER = Math.max;
const BITS = Math.LN2;

// `of`: what of a row is drawn; `isSmoothed`: a faint raw line and its mean; `best`: what of all values is the best one.
const CHARTS = [
  {
    title: "Loss",
    unit: "nats per symbol",
    best: LOWER_IS_BETTER,
    series: [
      { label: "Training", colour: "--muted-line", of: always("train_loss"), isSmoothed: true },
      { label: "Validation", colour: "--accent", of: validated("validation_loss"), kind: "points" },
    ],
  },
  {
    title: "Bits per character",
    unit: "bits",
    best: LOWER_IS_BETTER,
    needs: "bits_per_character",
    series: [
      { label: "Training", colour: "--muted-line", of: (row) => (row.train_loss == null ? null : row.train_loss / BITS), isSmoothed: true },
      { label: "Validation", colour: "--accent", of: validated("bits_per_character"), kind: "points" },
    ],
  },
  { title: "Gradient norm", unit: "before clipping", series: [{ label: "Norm", colour: "--accent", of: always("gradient_norm"), isSmoothed: true }] },
  { title: "Learning rate", unit: "", series: [{ label: "Rate", colour: "--accent", of: always("learning_rate") }] },
  { title: "Characters per second", unit: "", format: count, series: [{ label: "Speed", colour: "--accent", of: always("characters_per_second"), isSmoothed: true }] },
];
const GROWING = /accuracy|exact|f1|share|bleu/;

const ofMetric = (name) => ({
  title: name.replaceAll("_", " "),
  unit: "of the validation part",
  best: GROWING.test(name) ? HIGHER_IS_BETTER : LOWER_IS_BETTER,
  series: [{ label: "Validation", colour: "--accent", of: metric(name), kind: "points" }],
});

class Panel {
  constructor(about, board) {
    this.about = about;
    this.board = board;
    const panel = byId("chart-panel").content.cloneNode(true).firstElementChild;
    this.section = panel;
    panel.querySelector("h2").textContent = about.title;
    panel.querySelector("h2").id = `chart-${about.title.toLowerCase().replaceAll(" ", "-")}`;
    panel.setAttribute("aria-labelledby", panel.querySelector("h2").id);
    panel.querySelector(".unit").textContent = about.unit;
    panel.querySelector(".curve").setAttribute("aria-label", `${about.title}, drawn. The numbers are in the table below.`);
    panel.querySelector(".scroll").setAttribute("aria-label", `${about.title} in numbers`);
    this.details = panel.querySelector("details");
    this.details.addEventListener("toggle", () => this.tabulate());
    byId("charts").append(panel);
    this.chart = new Chart(panel.querySelector(".curve"), { ...this.shape(), syncKey: "run", onZoom: (range) => board.zoomed(this, range) });
  }

  shape() {
    const format = this.about.format ?? precise;
    const lines = this.about.series.flatMap(({ label, colour, kind, isSmoothed }) =>
      isSmoothed ? [{ label: `${label}, each`, colour, kind: "raw" }, { label, colour, kind: "line" }] : [{ label, colour, kind: kind ?? "line" }],
    );
    const marks = () => this.board.history.starts(this.board.view.x);
    return { x: this.board.view.xAxis(), y: { label: this.about.unit, format, isLog: this.board.view.logy }, series: lines, marks };
  }

  draw() {
    this.chart.show(() => this.columns());
    this.summarise();
    this.tabulate();
  }

  columns() {
    const { history, view } = this.board;
    const clean = view.logy ? positive : (values) => values;
    const lines = this.about.series.flatMap(({ of, isSmoothed }) => {
      const raw = history.column(of);
      return isSmoothed ? [clean(raw), clean(smoothed(raw, view.smooth))] : [clean(raw)];
    });
    const x = history.axis(view.x);
    return [view.logx ? positive(x).map((value) => value ?? Number.MIN_VALUE) : x, ...lines];
  }

  /** Best as well as last, of what matters most: the last series. */
  summarise() {
    const { of } = this.about.series.at(-1);
    const measured = this.board.history.points.filter((row) => Number.isFinite(of(row)));
    const words = [];
    const format = this.about.format ?? precise;
    if (measured.length) words.push(`last ${format(of(measured.at(-1)))}`);
    if (measured.length && this.about.best) {
      const best = measured.reduce((one, other) => (this.about.best(of(one), of(other)) === of(one) ? one : other));
      words.push(`best ${format(of(best))} at step ${count(best.step)}`);
    }
    this.section.querySelector(".summary").textContent = words.join(" · ");
  }

  /** The newest rows of what the chart shows; made while somebody reads it. */
  tabulate() {
    if (!this.details.open) return;
    const format = this.about.format ?? precise;
    const rows = this.board.history.points.filter((row) => this.about.series.some(({ of }) => of(row) !== undefined));
    const heads = ["Step", ...this.about.series.map(({ label }) => label)].map((words) => {
      const head = document.createElement("th");
      head.scope = "col";
      head.className = "number";
      head.textContent = words;
      return head;
    });
    this.section.querySelector(".numbers thead tr").replaceChildren(...heads);
    const written = (value) => (value == null ? "–" : format(value));
    this.section.querySelector(".numbers tbody").replaceChildren(
      ...rows.slice(-TABLE_ROWS).reverse().map((row) =>
        tableRow([count(row.step), ...this.about.series.map(({ of }) => written(of(row)))].map((text) => ({ text, isNumber: true }))),
      ),
    );
  }
}

class Board {
  constructor() {
    this.history = new History();
    this.panels = new Map();
    this.isZooming = false;
    this.view = new ChartView((name) => this.changed(name));
    byId("unzoom").addEventListener("click", () => this.zoomed(null, null));
    run.on("metrics", (row) => {
      this.history.add(row);
      this.draw(row.validation_loss != null);
    });
  }

  async start() {
    const past = await getJson(`${run.path}/metrics?points=${HISTORY_POINTS}`).catch(() => ({ data: [] })); // events bring it too
    for (const row of past.data) this.history.add(row);
    this.draw(true);
    await run.follow();
  }

  /** All charts show the same stretch of the run. */
  zoomed(from, range) {
    if (this.isZooming) return;
    this.isZooming = true;
    for (const panel of this.panels.values()) if (panel !== from) panel.chart.setZoom(range);
    this.isZooming = false;
    byId("unzoom").disabled = range === null;
  }

  changed(name) {
    if (name === "smooth") return this.draw(false);
    const keepZoom = name === "logy" || name === "logx";
    for (const panel of this.panels.values()) panel.chart.reshape(panel.shape(), { keepZoom });
    this.draw(false);
  }

  draw(isValidated) {
    if (this.history.isEmpty) return;
    byId("no-points")?.remove();
    if (isValidated) this.addPanels();
    this.view.offer([this.history]);
    for (const panel of this.panels.values()) panel.draw();
  }

  /** A chart for whatever has been measured by now. */
  addPanels() {
    const wanted = [...CHARTS, ...this.history.metricNames().map(ofMetric)];
    for (const about of wanted) {
      if (this.panels.has(about.title)) continue;
      if (about.needs && !this.history.points.some((row) => row[about.needs] != null)) continue;
      this.panels.set(about.title, new Panel(about, this));
    }
  }
}

await new Board().start();
