// The loss curve: uPlot in the page's own colours. Knows rows of numbers, no job.

/* global uPlot */
import { decimals, count } from "./text.js";

const HEIGHT = { narrow: 210, wide: 260 };
const NARROW = 480;

/** Draws columns into `element`. New data leave a zoom as it is, double click leaves it. */
export class LossChart {
  constructor(element) {
    this.element = element;
    this.read = () => [[], [], []];
    this.plot = null;
    this.isZoomed = false;
    this.frame = 0;
    element.firstElementChild.textContent = "Drawn from the first report of the trainer on.";
    new ResizeObserver(() => this.schedule()).observe(element);
    addEventListener("themechange", () => {
      this.plot?.destroy();
      this.plot = null;
      this.schedule();
    });
  }

  /** `read` gives the columns when they are drawn, however often this is called before. */
  show(read) {
    this.read = read;
    this.schedule();
  }

  /** Many events, one drawing a frame. */
  schedule() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  draw() {
    const width = this.element.clientWidth;
    const height = width < NARROW ? HEIGHT.narrow : HEIGHT.wide;
    const data = this.read();
    if (!width || !data[0].length) return;
    if (!this.plot) {
      this.element.replaceChildren();
      this.plot = new uPlot(options(this.element, width, height), data, this.element);
      this.watchZoom();
    } else {
      if (this.plot.width !== width || this.plot.height !== height) this.plot.setSize({ width, height });
      this.plot.setData(data, !this.isZoomed);
      if (this.isZoomed) this.plot.redraw();
    }
    this.element.dataset.points = data[0].length;
  }

  watchZoom() {
    this.isZoomed = false;
    this.plot.hooks.setSelect = [(plot) => (this.isZoomed ||= plot.select.width > 0)];
    this.plot.over.addEventListener("dblclick", () => (this.isZoomed = false));
  }
}

function options(element, width, height) {
  const style = getComputedStyle(element);
  const colour = (name) => colourOf(element, name);
  const axis = {
    stroke: colour("--quiet"),
    font: `12px ${style.fontFamily}`,
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
  };
  const value = (_plot, loss) => decimals(loss, 3);
  return {
    width,
    height,
    padding: [8, 8, 0, 0],
    cursor: { y: false, points: { size: 7 } },
    scales: { x: { time: false } },
    axes: [
      { ...axis, size: 28, values: (_plot, steps) => steps.map((step) => (Number.isInteger(step) ? count(step) : "")) },
      { ...axis, size: 44 },
    ],
    series: [
      { label: "Step", value: (_plot, step) => count(step) },
      { label: "Training", stroke: colour("--muted-line"), width: 1.25, points: { show: false }, value },
      {
        label: "Validation",
        stroke: colour("--accent"),
        width: 2,
        spanGaps: true,
        points: { show: true, size: 6, fill: colour("--accent") },
        value,
      },
    ],
  };
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
