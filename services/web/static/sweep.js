// The page of a sweep: its drawings over the table of trials, which is what they read. Knows the table's attributes.

import { Dots } from "./dots.js";
import { ParallelCoordinates } from "./parallel.js";
import { axisAround } from "./scales.js";
import { SweepFilters } from "./sweep_filters.js";
import { decimals, NOTHING } from "./text.js";

const byId = (id) => document.getElementById(id);

class SweepPage {
  constructor(about) {
    this.about = about;
    this.rows = [];
    this.lit = null; // the number of the trial that is pointed at
    const told = { onHover: (number) => this.highlight(number), onPick: (number) => this.goTo(number) };
    this.filters = new SweepFilters(byId("filters"), about, () => this.show());
    this.parallel = new ParallelCoordinates(byId("parallel"), {
      ...told,
      onBrush: (name, ends) => this.filters.set(name, ends),
    });
    this.course = new Dots(byId("course"), told);
    this.scatter = new Dots(byId("scatter"), told);
    this.drawings = [this.parallel, this.course, this.scatter];
    this.choose("course-over", "over");
    this.choose("scatter-over", "against");
    document.addEventListener("live", () => this.read());
    byId("sweep-state").addEventListener("pointerover", (event) => this.pointed(event));
    byId("sweep-state").addEventListener("pointerleave", () => this.highlight(null));
    byId("sweep-state").addEventListener("focusin", (event) => this.pointed(event));
    new ResizeObserver(() => this.show()).observe(byId("parallel").parentElement);
  }

  /** A choice that the address keeps. */
  choose(id, parameter) {
    const choice = byId(id);
    const asked = new URLSearchParams(location.search).get(parameter);
    if ([...choice.options].some((option) => option.value === asked)) choice.value = asked;
    choice.addEventListener("change", () => {
      const url = new URL(location);
      url.searchParams.set(parameter, choice.value);
      history.replaceState(null, "", url);
      this.show();
    });
  }

  /** The trials as the table has them now, ranked. */
  read() {
    const rows = [...document.querySelectorAll("tr[data-trial]")].map((row) => JSON.parse(row.dataset.trial));
    const better = this.about.isMaximized ? (a, b) => b.score - a.score : (a, b) => a.score - b.score;
    const scored = rows.filter((row) => row.score !== null).sort(better);
    for (const row of rows) {
      row.rank = row.score === null ? 1 : scored.indexOf(row) / Math.max(1, scored.length);
      row.values = { ...choicesAsText(row.values, this.about.axes), [this.about.metric]: row.score ?? undefined };
    }
    this.rows = rows.sort((a, b) => a.number - b.number);
    this.show();
  }

  show() {
    const score = axisAround(this.about.metric, this.rows.map((row) => row.score));
    const axes = score ? [...this.about.axes, score] : this.about.axes;
    this.filters.offer(axes);
    this.parallel.draw(axes, this.rows, this.filters.brushes);
    this.showCourse(score);
    this.showScatter(score);
    const isShown = (number) => this.filters.holds(this.rows.find((row) => row.number === number));
    for (const drawing of this.drawings) drawing.filter(isShown);
    let shown = 0;
    for (const row of document.querySelectorAll("tr[data-trial]")) {
      row.hidden = !isShown(JSON.parse(row.dataset.trial).number);
      if (!row.hidden) shown += 1;
    }
    this.idle = this.filters.isActive ? `${shown} of ${this.rows.length} trials within the filters` : "";
    this.highlight(this.lit);
  }

  showCourse(score) {
    const bySeconds = byId("course-over").value === "seconds";
    const better = this.about.isMaximized ? Math.max : Math.min;
    let [seconds, best] = [0, null];
    const [points, steps] = [[], []];
    for (const row of this.rows) {
      seconds += row.seconds;
      if (row.score === null) continue;
      const x = bySeconds ? seconds : row.number;
      const isBest = best === null || better(best, row.score) !== best;
      best = best === null ? row.score : better(best, row.score);
      points.push({ number: row.number, x, y: row.score, isBest });
      steps.push([x, best]);
    }
    const name = bySeconds ? "worker-seconds, summed over trials" : "trial";
    const xAxis = axisAround(name, points.map((point) => point.x));
    this.course.draw(xAxis, score, points, steps);
  }

  showScatter(score) {
    const axis = this.about.axes.find((one) => one.name === byId("scatter-over").value);
    const scored = this.rows.filter((row) => row.score !== null);
    const points = scored.map((row) => ({ number: row.number, x: row.values[axis.name], y: row.score, isBest: row.rank === 0 }));
    this.scatter.draw(axis, score, points);
  }

  pointed(event) {
    const row = event.target.closest("tr[data-trial]");
    this.highlight(row ? JSON.parse(row.dataset.trial).number : null);
  }

  highlight(number) {
    this.lit = number;
    for (const drawing of this.drawings) drawing.highlight(number);
    document.querySelector("tr.is-lit")?.classList.remove("is-lit");
    const row = this.rows.find((one) => one.number === number);
    if (row) this.rowOf(number)?.classList.add("is-lit");
    byId("readout").textContent = row ? words(row, this.about) : this.idle;
  }

  goTo(number) {
    const row = this.rowOf(number);
    row?.scrollIntoView({ block: "nearest" });
    row?.querySelector("a")?.focus();
  }

  rowOf(number) {
    return document.getElementById(`trial-row-${number}`);
  }
}

/** A choice is compared as the axis writes it. */
function choicesAsText(values, axes) {
  const found = {};
  for (const { name, scale, choices } of axes) {
    const value = values[name];
    found[name] = scale === "choice" ? choices.find((choice) => choice === text(value)) : value;
  }
  return found;
}

const text = (value) => (typeof value === "number" && !Number.isInteger(value) ? shortest(value) : String(value));

/** As the server writes it: four digits. */
function shortest(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e4)) {
    const [digits, power] = value.toExponential(3).split("e");
    return `${Number(digits)}e${power[0]}${power.slice(1).padStart(2, "0")}`;
  }
  return String(Number(value.toPrecision(4)));
}

function words(row, about) {
  const values = about.axes.map(({ name }) => `${name} ${typeof row.values[name] === "number" ? shortest(row.values[name]) : (row.values[name] ?? NOTHING)}`);
  return [`Trial ${row.number}, ${row.state}`, `${about.metric} ${decimals(row.score, 4)}`, ...values].join(" · ");
}

const about = JSON.parse(byId("parallel")?.dataset.chart ?? "null");
if (about) new SweepPage(about).read();
