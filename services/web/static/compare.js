// Several runs over one another: a chart for each thing that was measured, a curve for each run; and what each writes.

import { complete, getJson, sentence } from "./api.js";
import { Chart, precise } from "./chart.js";
import { ChartView } from "./chart_view.js";
import { byId, element, tableRow } from "./dom.js";
import { Pushed } from "./events.js";
import { always, History, metric, positive, smoothed, validated } from "./history.js";
import { count, visible } from "./text.js";

/* global uPlot */
const HISTORY_POINTS = 10_000;
const REFRESH_MILLISECONDS = 3000;
const TABLE_ROWS = 100;
const WRITING_AT_ONCE = 3; // a browser has six connections to a host

const CHARTS = [
  { title: "Validation loss", unit: "nats per symbol", of: validated("validation_loss"), kind: "points" },
  { title: "Training loss", unit: "nats per symbol", of: always("train_loss"), isSmoothed: true },
  { title: "Gradient norm", unit: "before clipping", of: always("gradient_norm"), isSmoothed: true },
  { title: "Characters per second", unit: "", of: always("characters_per_second"), isSmoothed: true, format: count },
];
const ofMetric = (name) => ({ title: name.replaceAll("_", " "), unit: "of the validation part", of: metric(name), kind: "points" });

class ComparedRun {
  constructor(head, number) {
    this.id = head.dataset.job;
    this.name = head.querySelector("bdi").textContent;
    this.colour = `--series-${number + 1}`;
    this.path = `/v1/jobs/${encodeURIComponent(this.id)}`;
    this.isGoing = !["succeeded", "failed", "cancelled"].includes(head.dataset.state);
    this.history = new History();
    this.last = 0;
  }

  /** Rows past the last one; all of them anew where an attempt began earlier than that. */
  async load() {
    const { data } = await getJson(`${this.path}/metrics?points=${HISTORY_POINTS}&after=${this.last}`);
    const epoch = this.history.points.at(-1)?.epoch;
    if (this.last && data.some((row) => row.epoch !== epoch)) {
      this.history = new History();
      this.last = 0;
      return this.load();
    }
    for (const row of data) this.history.add(row);
    this.last = this.history.points.at(-1)?.step ?? 0;
    return data.length > 0;
  }
}

class Panel {
  constructor(about, board) {
    this.about = about;
    this.board = board;
    this.section = byId("chart-panel").content.cloneNode(true).firstElementChild;
    const title = this.section.querySelector("h2");
    title.textContent = about.title;
    title.id = `chart-${about.title.toLowerCase().replaceAll(" ", "-")}`;
    this.section.setAttribute("aria-labelledby", title.id);
    this.section.querySelector(".unit").textContent = about.unit;
    this.section.querySelector(".curve").setAttribute("aria-label", `${about.title} of each run, drawn. The numbers are in the table below.`);
    this.section.querySelector(".scroll").setAttribute("aria-label", `${about.title} in numbers`);
    this.details = this.section.querySelector("details");
    this.details.addEventListener("toggle", () => this.tabulate());
    byId("charts").append(this.section);
    const zoomed = (range) => board.zoomed(this, range);
    this.chart = new Chart(this.section.querySelector(".curve"), { ...this.shape(), syncKey: "compare", onZoom: zoomed });
  }

  shape() {
    const { runs, view } = this.board;
    const series = runs.map(({ name, colour }) => ({ label: name, colour, kind: this.about.kind ?? "line" }));
    const y = { label: this.about.unit, format: this.about.format ?? precise, isLog: view.logy };
    return { x: view.xAxis(), y, series };
  }

  /** Joined once for all drawings until something changes. */
  draw() {
    let columns = null;
    this.chart.show(() => (columns ??= this.columns()));
    this.tabulate();
  }

  columns() {
    const { runs, view } = this.board;
    const tables = runs.map(({ history }) => {
      const raw = history.column(this.about.of);
      const values = this.about.isSmoothed ? smoothed(raw, view.smooth) : raw;
      return measuredAt(history.axis(view.x), view.logy ? positive(values) : values);
    });
    return uPlot.join(tables);
  }

  /** One row a validation step, or the newest of what every step has. */
  tabulate() {
    if (!this.details.open) return;
    const { runs } = this.board;
    const bySteps = new Map();
    runs.forEach(({ history }, at) => {
      for (const row of history.points) {
        const value = this.about.of(row);
        if (value !== undefined) (bySteps.get(row.step) ?? bySteps.set(row.step, []).get(row.step))[at] = value;
      }
    });
    const format = this.about.format ?? precise;
    const steps = [...bySteps.keys()].sort((a, b) => b - a).slice(0, TABLE_ROWS);
    const heads = ["Step", ...runs.map(({ name }) => name)].map((text) => element("th", { className: "number", text }));
    for (const head of heads) head.scope = "col";
    this.section.querySelector(".numbers thead tr").replaceChildren(...heads);
    const row = (step) => runs.map((_, at) => bySteps.get(step)[at]).map((value) => (value == null ? "–" : format(value)));
    this.section.querySelector(".numbers tbody").replaceChildren(
      ...steps.map((step) => tableRow([count(step), ...row(step)].map((text) => ({ text, isNumber: true })))),
    );
  }
}

/** Rows at which nothing was measured are no points of the curve; a log axis has none at zero either. */
function measuredAt(axis, values) {
  const kept = axis.map((x, at) => at).filter((at) => values[at] !== undefined);
  return [kept.map((at) => axis[at]), kept.map((at) => values[at])];
}

class Board {
  constructor(runs) {
    this.runs = runs;
    this.panels = new Map();
    this.isZooming = false;
    this.view = new ChartView((name) => this.changed(name));
    byId("unzoom").addEventListener("click", () => this.zoomed(null, null));
    const going = runs.filter((run) => run.isGoing).map((run) => encodeURIComponent(run.id));
    this.source = new Pushed(() => `/parts/runs/changes?jobs=${going.join(",")}`, {
      types: ["changed"],
      onEvent: () => this.refresh(),
      onStatus: (status) => (byId("live").textContent = status === "live" ? "live" : "connection lost, trying again"),
    });
    this.isLive = going.length > 0;
    this.timer = 0;
  }

  async start() {
    await this.load(this.runs);
    if (this.isLive) this.source.follow();
  }

  refresh() {
    this.timer ||= setTimeout(async () => {
      await this.load(this.runs.filter((run) => run.isGoing));
      this.timer = 0;
    }, REFRESH_MILLISECONDS);
  }

  /** A run whose history cannot be had now is asked again with the next change. */
  async load(runs) {
    const changed = await Promise.all(runs.map((run) => run.load().catch(() => false)));
    if (changed.some(Boolean)) this.draw();
  }

  zoomed(from, range) {
    if (this.isZooming) return;
    this.isZooming = true;
    for (const panel of this.panels.values()) if (panel !== from) panel.chart.setZoom(range);
    this.isZooming = false;
    byId("unzoom").disabled = range === null;
  }

  changed(name) {
    if (name !== "smooth") {
      for (const panel of this.panels.values()) panel.chart.reshape(panel.shape(), { keepZoom: name !== "x" });
    }
    this.draw();
  }

  draw() {
    const names = new Set(this.runs.flatMap(({ history }) => history.metricNames()));
    for (const about of [...CHARTS, ...[...names].sort().map(ofMetric)]) {
      if (!this.panels.has(about.title)) this.panels.set(about.title, new Panel(about, this));
    }
    this.view.offer(this.runs.map(({ history }) => history));
    for (const panel of this.panels.values()) panel.draw();
  }
}

/** Every run goes on with the same words; a few at a time. */
class SamePrompt {
  constructor(form) {
    this.form = form;
    this.stop = null;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.stop) this.stop.abort();
      else this.write();
    });
  }

  async write() {
    const fields = new FormData(this.form);
    const prompt = fields.get("prompt").replaceAll("\r\n", "\n");
    const numbers = Object.fromEntries(["max_tokens", "temperature", "seed"].map((name) => [name, Number(fields.get(name))]));
    const waiting = [...byId("written").querySelectorAll("figure")];
    const button = this.form.querySelector("button");
    this.stop = new AbortController();
    button.textContent = "Stop";
    for (const figure of waiting) figure.querySelector("pre").replaceChildren();
    const next = async () => {
      for (let figure = waiting.shift(); figure && !this.stop.signal.aborted; figure = waiting.shift()) {
        await this.writeOne(figure, { model: figure.dataset.job, prompt, ...numbers });
      }
    };
    await Promise.all(Array.from({ length: WRITING_AT_ONCE }, next));
    this.stop = null;
    button.textContent = "Write";
  }

  async writeOne(figure, request) {
    const output = figure.querySelector("pre");
    output.replaceChildren(element("span", { className: "prompt", text: request.prompt }));
    try {
      for await (const piece of complete(request, this.stop.signal)) output.append(visible(piece));
    } catch (error) {
      if (error.name !== "AbortError") output.append(element("span", { className: "alarm", text: sentence(error) }));
    }
  }
}

const heads = [...byId("compared").querySelectorAll("th[data-job]")];
if (byId("same")) new SamePrompt(byId("same"));
await new Board(heads.map((head, number) => new ComparedRun(head, number))).start();
