// Curves by uPlot in the page's own colours. Knows columns of numbers, no job.
//
// A column holds numbers; null breaks a curve (not a number), undefined is passed over (nothing was measured there).

/* global uPlot */
import { count, decimals } from "./text.js";

const HEIGHT = { narrow: 210, wide: 260 };
const NARROW = 480;
const WIDTHS = { raw: 1, line: 1.75, points: 2, dashed: 1.25 };

/**
 * Draws into `element`. `x` and `y`: { label, format(value), isLog }. `series`: [{ label, colour, kind, format }] with kind
 * raw (faint, behind its smoothed line), line, points or dashed. `marks`: () => [{ x, label }], lines across the chart.
 */
export class Chart {
  constructor(element, { x, y, series, marks = () => [], syncKey = null, onZoom = () => {} }) {
    this.element = element;
    this.shape = { x, y, series, marks, syncKey };
    this.onZoom = onZoom;
    this.read = () => [[]];
    this.plot = null;
    this.zoom = null;
    this.frame = 0;
    this.isSeen = true;
    this.resized = new ResizeObserver(() => this.schedule());
    this.resized.observe(element);
    this.seen = new IntersectionObserver((entries) => {
      this.isSeen = entries.at(-1).isIntersecting;
      this.schedule();
    });
    this.seen.observe(element);
    this.onTheme = () => this.rebuild();
    addEventListener("themechange", this.onTheme);
  }

  /** `read` gives the columns when they are drawn, however often this is called before. */
  show(read) {
    this.read = read;
    this.schedule();
  }

  /** Other axes or series; the zoom stays unless `keepZoom` is false. */
  reshape(shape, { keepZoom = true } = {}) {
    Object.assign(this.shape, shape);
    if (!keepZoom) this.setZoom(null);
    this.rebuild();
  }

  /** [from, to] on the x axis, or null: all of it, and what comes. */
  setZoom(range) {
    this.zoom = range;
    this.onZoom(range);
    if (this.plot) this.drawNow();
  }

  rebuild() {
    this.plot?.destroy();
    this.plot = null;
    this.schedule();
  }

  remove() {
    removeEventListener("themechange", this.onTheme);
    this.resized.disconnect();
    this.seen.disconnect();
    cancelAnimationFrame(this.frame);
    this.plot?.destroy();
  }

  /** Many events, one drawing a frame; none for what nobody sees. */
  schedule() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      if (this.isSeen) this.drawNow();
    });
  }

  drawNow() {
    const width = this.element.clientWidth;
    const height = width < NARROW ? HEIGHT.narrow : HEIGHT.wide;
    const data = this.read();
    this.element.dataset.points = data[0].length;
    if (!width || !data[0].length) return;
    if (!this.plot) {
      this.element.replaceChildren();
      this.plot = new uPlot(options(this, width, height), data, this.element);
    } else {
      if (this.plot.width !== width || this.plot.height !== height) this.plot.setSize({ width, height });
      this.plot.setData(data, this.zoom === null);
    }
    if (this.zoom) this.drawZoomed();
  }

  /** `redraw` would set the scale back to what it was, so that it is for new data alone. */
  drawZoomed() {
    const [min, max] = this.zoom;
    const { x } = this.plot.scales;
    if (x.min === min && x.max === max) this.plot.redraw();
    else this.plot.setScale("x", { min, max });
  }

  /** Drawn to select a range of x, or clicked twice to leave it. */
  selected(plot) {
    const { left, width } = plot.select;
    if (width === 0) return;
    const range = [plot.posToVal(left, "x"), plot.posToVal(left + width, "x")];
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.setZoom(range);
  }
}

function options(chart, width, height) {
  const { x, y, series, marks, syncKey } = chart.shape;
  const style = getComputedStyle(chart.element);
  const colour = (name) => colourOf(chart.element, name);
  const axis = {
    stroke: colour("--quiet"),
    font: `12px ${style.fontFamily}`,
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
  };
  const format = (value) => (value == null ? "–" : x.format(value));
  const axisFormat = y.axisFormat ?? shortest;
  return {
    width,
    height,
    padding: [10, 22, 0, 0],
    cursor: {
      y: false,
      points: { size: 7 },
      drag: { x: true, y: false, setScale: false },
      bind: { dblclick: () => () => (chart.setZoom(null), null) },
      ...(syncKey && { sync: { key: syncKey, setSeries: false } }),
    },
    scales: {
      x: { time: false, distr: x.isLog ? 3 : 1 },
      y: { distr: y.isLog ? 3 : 1, ...(y.isLog && { range: logRange }) },
    },
    axes: [
      { ...axis, size: 28, values: (_plot, splits) => splits.map((split) => (split == null ? "" : x.format(split))) },
      { ...axis, size: 58, values: (_plot, splits) => splits.map((split) => (split == null ? "" : axisFormat(split))) },
    ],
    series: [
      { label: x.label, value: (_plot, value) => format(value) },
      ...series.map((one) => drawn(one, colour, y.format)),
    ],
    hooks: {
      setSelect: [(plot) => chart.selected(plot)],
      draw: [(plot) => drawMarks(plot, marks(), colour("--quiet"), axis.font)],
    },
  };
}

function drawn({ label, colour: name, kind, format: own }, colour, format) {
  const stroke = colour(name);
  return {
    label,
    stroke,
    alpha: kind === "raw" ? 0.32 : 1,
    width: WIDTHS[kind],
    dash: kind === "dashed" ? [5, 4] : undefined,
    points: kind === "points" ? { show: true, size: 6, fill: stroke } : { show: false },
    value: (_plot, value) => (value == null ? "–" : (own ?? format)(value)),
  };
}

/** A log scale over what is there, with room for one value alone. */
function logRange(_plot, min, max) {
  if (!(min > 0) || !(max > 0)) return [0.1, 1];
  return min === max ? [min / 2, max * 2] : [min / 1.1, max * 1.1];
}

function drawMarks(plot, marks, colour, font) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.fillStyle = colour;
  ctx.font = font.replace("12px", `${11 * devicePixelRatio}px`);
  ctx.textAlign = "left";
  ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
  const ends = [-Infinity, -Infinity, -Infinity]; // of the labels in three lines, for near ones not to cover each other
  for (const { x, label } of marks) {
    const at = plot.valToPos(x, "x", true);
    if (!(at >= bbox.left && at <= bbox.left + bbox.width)) continue;
    ctx.beginPath();
    ctx.moveTo(at, bbox.top);
    ctx.lineTo(at, bbox.top + bbox.height);
    ctx.stroke();
    const beside = 4 * devicePixelRatio;
    const { width } = ctx.measureText(label);
    const left = at + beside + width <= bbox.left + bbox.width ? at + beside : at - beside - width;
    const line = ends.findIndex((end) => end < left);
    if (line < 0) continue;
    ends[line] = left + width + beside;
    ctx.fillText(label, left, bbox.top + (11 + 13 * line) * devicePixelRatio);
  }
  ctx.restore();
}

/** A number on an axis: `0.004`, `1.5`, `2e-7`, `1,200`. */
export function shortest(value) {
  const size = Math.abs(value);
  const rounded = Number(value.toPrecision(4));
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return rounded.toExponential().replace("e+", "e");
  return size >= 1000 ? count(rounded) : String(rounded);
}

/** A value of a curve: three decimals, or as many digits where it is small. */
export function precise(value) {
  const size = Math.abs(value);
  return size !== 0 && size < 0.01 ? value.toPrecision(3) : decimals(value, 3);
}

/** What a colour of the theme is by now, as a canvas takes it. */
export function colourOf(element, name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  element.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}
