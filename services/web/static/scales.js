// From values to places and back, and which values to write beside an axis. Pure functions.

const STEPS = [1, 2, 2.5, 5, 10];

/** `spread` values onto [start, end]: {place(value), value(place), ticks}. `axis` has scale, low, high or choices. */
export function scaleOf(axis, start, end) {
  if (axis.scale === "choice") return choiceScale(axis.choices, start, end);
  const isLog = axis.scale === "log" && axis.low > 0;
  const bend = isLog ? Math.log10 : (value) => value;
  const unbend = isLog ? (value) => 10 ** value : (value) => value;
  let [low, high] = [bend(axis.low), bend(axis.high)];
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const place = (value) => start + ((bend(value) - low) / (high - low)) * (end - start);
  const value = (at) => unbend(low + ((at - start) / (end - start)) * (high - low));
  return { place, value, ticks: isLog ? logTicks(axis.low, axis.high) : linearTicks(unbend(low), unbend(high)) };
}

function choiceScale(choices, start, end) {
  const step = (end - start) / choices.length;
  const place = (value) => start + (choices.indexOf(value) + 0.5) * step;
  const value = (at) => choices[Math.min(choices.length - 1, Math.max(0, Math.floor((at - start) / step)))];
  return { place, value, ticks: choices };
}

export function linearTicks(low, high, wanted = 4) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = STEPS.map((one) => one * power).find((one) => one >= rough * 0.999);
  const ticks = [];
  for (let number = Math.ceil(low / step - 1e-9); number * step <= high + step * 1e-9; number += 1) ticks.push(number * step);
  return ticks;
}

function logTicks(low, high) {
  const decades = Math.log10(high) - Math.log10(low);
  const parts = decades > 2.5 ? [1] : decades > 1 ? [1, 3] : [1, 2, 3, 5, 7];
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high) + 1e-9; power += 1) {
    for (const part of parts) {
      const value = part * 10 ** power;
      if (value >= low * 0.999 && value <= high * 1.001) ticks.push(value);
    }
  }
  return ticks;
}

/** `0.003`, `1.2e+5`, `lstm`, at most some characters long. */
export function short(value) {
  if (typeof value !== "number") return String(value);
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(1).replace(".0e", "e");
  return String(Number(value.toPrecision(4)));
}

/** The axis that holds `values`, with a little room; null where there is none. */
export function axisAround(name, values) {
  const known = values.filter(Number.isFinite);
  if (!known.length) return null;
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const room = (high - low) * 0.04 || Math.abs(low) * 0.04 || 0.5;
  return { name, scale: "linear", low: low - room, high: high + room };
}
