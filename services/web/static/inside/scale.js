// Numbers to places on an axis, and the numbers worth writing beside it. Knows no drawing.

import { count } from "../text.js";

const RAISED = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
const MOST_TICKS = 6;

/** Lowest and highest of the values that can be drawn; null where there are none. */
export function extent(values, isLog = false) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (!Number.isFinite(value) || (isLog && value <= 0)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return low <= high ? [low, high] : null;
}

/** A function from values to 0..1, with `ticks` of [value, words]; `place` of what cannot be drawn is null.
 * It reaches from one round number to another, or, where `isTight`, no further than the values. */
export function scale([low, high], { isLog = false, isTight = false } = {}) {
  if (isLog) return logScale(low, high);
  const step = niceStep((high - low || Math.abs(high) || 1) / MOST_TICKS);
  const [first, last] = [Math.floor(low / step + 1e-9) * step, Math.ceil(high / step - 1e-9) * step];
  const isExact = isTight && high > low;
  const [from, to] = isExact ? [low, high] : [first, Math.max(last, first + step)];
  const ticks = [];
  for (let i = 0; first + i * step <= to + step * 1e-9; i += 1) if (first + i * step >= from - step * 1e-9) ticks.push(first + i * step);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return {
    place: (value) => (Number.isFinite(value) ? (value - from) / (to - from) : null),
    ticks: ticks.map((value) => [value, (Math.abs(value) < step / 2 ? 0 : value).toFixed(digits)]),
  };
}

function logScale(low, high) {
  const from = Math.floor(Math.log10(low) + 1e-9);
  const to = Math.max(Math.ceil(Math.log10(high) - 1e-9), from + 1);
  const every = Math.ceil((to - from) / MOST_TICKS);
  const ticks = [];
  for (let power = from; power <= to; power += every) ticks.push([10 ** power, power >= 0 && power < 5 ? String(10 ** power) : `10${raised(power)}`]);
  return {
    place: (value) => (Number.isFinite(value) && value > 0 ? (Math.log10(value) - from) / (to - from) : null),
    ticks,
  };
}

function niceStep(rough) {
  const unit = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].find((times) => times * unit >= rough * (1 - 1e-9)) * unit;
}

const raised = (power) => [...String(power)].map((sign) => RAISED[sign]).join("");

/** Three digits, however large or small. */
export function short(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) {
    const power = Math.floor(Math.log10(size));
    return `${(value / 10 ** power).toFixed(1)} × 10${raised(power)}`;
  }
  const rounded = Number(value.toPrecision(3));
  return size >= 1000 ? count(rounded) : String(rounded);
}
