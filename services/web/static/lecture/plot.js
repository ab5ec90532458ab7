// A small line plot in SVG, linear or logarithmic, in the colours of the page's style. Knows numbers, no lecture.

import { picture, svg } from "./svg.js";

const LEFT = 46;
const RIGHT = 12;
const TOP = 14;
const BOTTOM = 34;
const TICKS = 5;

/**
 * `series`: [{ points: [[x, y]], className }]; `marks`: vertical lines [{ x, words }]. `x` and `y`: { from, to, words },
 * y also { isLog }. On a log axis what is not above `y.from` breaks the line.
 */
export function plot(width, height, { series, marks = [], x, y }) {
  const inner = { width: width - LEFT - RIGHT, height: height - TOP - BOTTOM };
  const scale = (value, { from, to, isLog }) =>
    isLog ? Math.log(value / from) / Math.log(to / from) : (value - from) / (to - from || 1);
  const atX = (value) => LEFT + scale(value, x) * inner.width;
  const atY = (value) => TOP + (1 - scale(value, y)) * inner.height;
  const ticksX = even(x, Math.max(2, Math.min(8, Math.floor(inner.width / 70))));
  const ticksY = y.isLog ? decades(y) : even(y, TICKS);
  return picture(
    width,
    height,
    ...ticksY.flatMap((tick) => [
      svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: atY(tick), y2: atY(tick) }),
      svg("text", { class: "tick end", x: LEFT - 6, y: atY(tick) + 4 }, ...(y.isLog ? power(tick) : [short(tick)])),
    ]),
    ...ticksX.map((tick) => svg("text", { class: "tick middle", x: atX(tick), y: height - BOTTOM + 16 }, short(tick))),
    svg("text", { class: "tick middle", x: LEFT + inner.width / 2, y: height - 3 }, x.words),
    svg("text", { class: "tick", x: LEFT, y: 10 }, y.words),
    ...marks.flatMap((mark) => markLine(atX(mark.x), mark.words, width, height)),
    ...series.map(({ points, className }) => svg("path", { class: `series ${className}`, d: path(points, atX, atY, y) })),
  );
}

function markLine(at, words, width, height) {
  const isRight = at > width * 0.6;
  return [
    svg("line", { class: "mark", x1: at, x2: at, y1: TOP, y2: height - BOTTOM }),
    svg("text", { class: `tick strong ${isRight ? "end" : ""}`, x: at + (isRight ? -6 : 6), y: TOP + 12 }, words),
  ];
}

function path(points, atX, atY, { from, isLog }) {
  let pen = "M";
  return points
    .map(([px, py]) => {
      if (py === null || !Number.isFinite(py) || (isLog && py < from)) {
        pen = "M";
        return "";
      }
      const piece = `${pen}${atX(px).toFixed(1)} ${atY(py).toFixed(1)}`;
      pen = "L";
      return piece;
    })
    .join("");
}

/** Round numbers from `from` to `to`, about `number` of them. */
function even({ from, to }, number) {
  const rough = (to - from) / number || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const first = Math.ceil(from / step - 1e-9);
  return Array.from({ length: Math.floor(to / step + 1e-9) - first + 1 }, (_, at) => (first + at) * step);
}

/** Powers of ten, thinned to six or so. */
function decades({ from, to }) {
  const [low, high] = [Math.ceil(Math.log10(from) - 1e-9), Math.floor(Math.log10(to) + 1e-9)];
  const step = Math.max(1, Math.ceil((high - low) / 6));
  const ticks = [];
  for (let exponent = high; exponent >= low; exponent -= step) ticks.push(10 ** exponent);
  return ticks;
}

const short = (value) => String(Number(value.toPrecision(6)));
const power = (value) => ["10", svg("tspan", { dy: -5, "font-size": 9 }, String(Math.round(Math.log10(value))).replace("-", "−"))];
