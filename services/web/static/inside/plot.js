// A small chart in SVG: lines with bands, dots, bars and rules, read by pointer and by arrow keys. Knows no data set.
//
// What to draw is {x, y, lines, dots, bars, rules}: an axis is {words, isLog, range}; a line is
// {name, style, points: [[x, y]], band: [[x, low, high]]}, style a number that unroll's sheets give a stroke; dots are
// {name, style, points: [[x, y, words]]}; a bar is {from, to, y, words}; a rule is {x, words}.

import { extent, scale, short } from "./scale.js";

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { left: 52, right: 14, top: 12, bottom: 38 };
const HEIGHT = 230;
const LETTER_WIDTH = 6.5;
const NOTHING = [0.1, 1]; // an axis of no values, be it a log one

export class Plot {
  constructor(element, label) {
    this.element = element;
    this.svg = draw("svg", { class: "plot", tabindex: 0, role: "img", "aria-label": `${label}. Arrow keys read it; the table below has the numbers.` });
    this.readout = document.createElement("p");
    this.readout.className = "plot-readout";
    this.spoken = document.createElement("span"); // heard when the arrow keys move, not with every move of a pointer
    this.spoken.className = "off-screen";
    this.spoken.setAttribute("role", "status");
    element.replaceChildren(this.svg, this.readout, this.spoken);
    this.content = null;
    this.stops = [];
    this.at = null;
    new ResizeObserver(() => this.draw()).observe(element);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.read(null));
    this.svg.addEventListener("blur", () => this.read(null));
    this.svg.addEventListener("keydown", (event) => this.key(event));
  }

  show(content) {
    this.content = { lines: [], dots: [], bars: [], rules: [], ...content };
    this.draw();
  }

  draw() {
    const width = this.element.clientWidth;
    if (!width || !this.content) return;
    const { x, y, lines, dots, bars, rules } = this.content;
    const xs = [...lines, ...dots].flatMap((one) => one.points.map((point) => point[0]));
    const ys = [...lines, ...dots].flatMap((one) => one.points.map((point) => point[1]));
    for (const { band } of lines) if (band) ys.push(...band.flatMap(([, low, high]) => [low, high]));
    for (const bar of bars) {
      xs.push(bar.from, bar.to);
      ys.push(0, bar.y);
    }
    const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
    const across = scale(x.range ?? extent(xs, x.isLog) ?? NOTHING, { isLog: x.isLog, isTight: true });
    const up = scale(y.range ?? extent(ys, y.isLog) ?? NOTHING, { isLog: y.isLog });
    this.place = {
      x: (value) => at(across.place(value), (share) => MARGIN.left + share * inner.width),
      y: (value) => at(up.place(value), (share) => MARGIN.top + (1 - share) * inner.height),
    };
    this.inner = inner;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.cursor = draw("g", { class: "plot-cursor" });
    this.svg.replaceChildren(
      ...this.axes(across, up, x, y, width),
      ...bars.map((bar) => this.bar(bar)),
      ...rules.flatMap((rule) => this.rule(rule)),
      ...lines.filter(({ band }) => band?.length).map((line) => this.band(line)),
      ...lines.map((line) => this.line(line)),
      ...dots.flatMap((one) => this.dots(one)),
      this.cursor,
    );
    this.stops = this.stopsOf();
    this.read(null);
  }

  axes(across, up, x, y, width) {
    const parts = [];
    const bottom = MARGIN.top + this.inner.height;
    for (const [value, words] of up.ticks) {
      const height = this.place.y(value);
      parts.push(draw("line", { class: "plot-grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: height, y2: height }));
      parts.push(draw("text", { class: "plot-tick", x: MARGIN.left - 6, y: height + 4, "text-anchor": "end" }, words));
    }
    const room = Math.ceil((across.ticks.length * 44) / this.inner.width);
    for (const [value, words] of across.ticks.filter((_, i) => i % room === 0)) {
      const left = this.place.x(value);
      const isLast = left > width - MARGIN.right - 8; // or it would hang over the edge
      parts.push(draw("text", { class: "plot-tick", x: isLast ? width - 2 : left, y: bottom + 16, "text-anchor": isLast ? "end" : "middle" }, words));
    }
    const middle = MARGIN.left + this.inner.width / 2;
    parts.push(draw("text", { class: "plot-words", x: middle, y: HEIGHT - 5, "text-anchor": "middle" }, x.words));
    const turned = `translate(12 ${MARGIN.top + this.inner.height / 2}) rotate(-90)`;
    parts.push(draw("text", { class: "plot-words", transform: turned, "text-anchor": "middle" }, y.words));
    return parts;
  }

  line({ style, points }) {
    let path = "";
    let isDown = false;
    for (const [x, y] of points) {
      const [left, top] = [this.place.x(x), this.place.y(y)];
      if (left === null || top === null) isDown = false;
      else {
        path += `${isDown ? "L" : "M"}${left.toFixed(1)} ${top.toFixed(1)}`;
        isDown = true;
      }
    }
    return draw("path", { class: `plot-line series-${style}`, d: path });
  }

  band({ style, band }) {
    const corner = (x, y) => `${this.place.x(x).toFixed(1)} ${this.place.y(y).toFixed(1)}`;
    const there = band.map(([x, , high]) => corner(x, high));
    const back = band.toReversed().map(([x, low]) => corner(x, low));
    return draw("path", { class: `plot-band series-${style}`, d: `M${[...there, ...back].join("L")}Z` });
  }

  bar({ from, to, y }) {
    const [left, right, top, bottom] = [this.place.x(from), this.place.x(to), this.place.y(y), this.place.y(0)];
    return draw("rect", { class: "plot-bar", x: left + 0.5, width: Math.max(1, right - left - 1), y: top, height: bottom - top });
  }

  dots({ style, points }) {
    return points.map(([x, y]) => draw("circle", { class: `plot-dot series-${style}`, cx: this.place.x(x), cy: this.place.y(y), r: 3 }));
  }

  rule({ x, words }) {
    const left = this.place.x(x);
    const isFar = left + words.length * LETTER_WIDTH > MARGIN.left + this.inner.width;
    const text = { class: "plot-words", x: left + (isFar ? -6 : 6), y: MARGIN.top + 10, "text-anchor": isFar ? "end" : "start" };
    return [
      draw("line", { class: "plot-rule", x1: left, x2: left, y1: MARGIN.top, y2: MARGIN.top + this.inner.height }),
      draw("text", text, words),
    ];
  }

  /** Places to read at: {left, top?, words, values: [[name, style, words]]}, from left to right. */
  stopsOf() {
    const { lines, dots, bars } = this.content;
    const stops = new Map();
    for (const { name, style, points, isQuiet } of lines) {
      if (isQuiet) continue;
      for (const [x, y] of points) {
        if (!stops.has(x)) stops.set(x, { left: this.place.x(x), words: `${this.content.x.short} ${short(x)}`, values: [] });
        stops.get(x).values.push([name, style, short(y), this.place.y(y)]);
      }
    }
    const found = [...stops.values()];
    for (const { name, style, points } of dots)
      for (const [x, y, words] of points)
        found.push({ left: this.place.x(x), top: this.place.y(y), words, values: [[name, style, `${short(x)}, ${short(y)}`, this.place.y(y)]] });
    for (const { from, to, y, words } of bars)
      found.push({ left: (this.place.x(from) + this.place.x(to)) / 2, words, values: [["", 0, short(y), null]] });
    return found.filter(({ left }) => left !== null).sort((one, other) => one.left - other.left);
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    const [left, top] = [event.clientX - box.left, event.clientY - box.top];
    const distance = (stop) => Math.abs(stop.left - left) + (stop.top === undefined ? 0 : Math.abs(stop.top - top));
    this.read(this.stops.reduce((best, stop, i) => (best === null || distance(stop) < distance(this.stops[best]) ? i : best), null));
  }

  key(event) {
    const last = this.stops.length - 1;
    const from = this.at ?? (event.key === "ArrowLeft" ? last + 1 : -1);
    const to = { ArrowRight: from + 1, ArrowLeft: from - 1, Home: 0, End: last }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this.read(Math.max(0, Math.min(last, to)));
    this.spoken.textContent = this.readout.textContent;
  }

  /** Shows the numbers of one stop beside the names of the lines; null: the names alone. */
  read(number) {
    this.at = number;
    const stop = this.stops[number] ?? null;
    const told = new Map((stop?.values ?? []).map(([name, style, words]) => [name, [style, words]]));
    const named = [...this.content.lines.filter(({ isQuiet }) => !isQuiet), ...this.content.dots].map(({ name, style }) => [name, style]);
    const parts = (named.length ? named : [["", null]]).map(([name, style]) => this.entry(name, style, told.get(name)?.[1]));
    const head = document.createElement("span");
    head.textContent = stop?.words ?? "";
    this.readout.replaceChildren(...(stop ? [head] : []), ...parts);
    this.cursor.replaceChildren(...(stop ? this.mark(stop) : []));
  }

  entry(name, style, value) {
    const entry = document.createElement("span");
    entry.className = "plot-entry";
    if (style !== null && name) {
      const swatch = draw("svg", { class: "swatch", viewBox: "0 0 22 8", "aria-hidden": "true" });
      swatch.append(draw("path", { class: `plot-line series-${style}`, d: "M1 4H21" }));
      entry.append(swatch);
    }
    const number = document.createElement("b");
    number.textContent = value ?? "";
    entry.append(name, ...(value === undefined ? [] : [" ", number]));
    return entry;
  }

  mark({ left, values }) {
    const line = draw("line", { x1: left, x2: left, y1: MARGIN.top, y2: MARGIN.top + this.inner.height });
    const dots = values.filter(([, , , top]) => top !== null).map(([, style, , top]) => draw("circle", { class: `plot-dot series-${style}`, cx: left, cy: top, r: 4 }));
    return [line, ...dots];
  }
}

const at = (share, place) => (share === null ? null : place(share));

function draw(name, attributes, words = null) {
  const element = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, String(value));
  if (words !== null) element.textContent = words;
  return element;
}
