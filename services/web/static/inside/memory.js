// How long units remember by themselves: a histogram over one layer. Knows an Inspection.

import { Plot } from "./plot.js";
import { short } from "./scale.js";
import { View } from "./view.js";

const BINS_A_DOUBLING = 2;
const LONGEST = 10_000; // what is longer, or never ends, stands in the last bar

export class MemoryView extends View {
  constructor(id) {
    super(id);
    this.plot = new Plot(this.body, "Units by memory length");
  }

  show({ layers }, { layer, tbptt_steps }) {
    const { memory } = layers[layer];
    if (!this.has(memory.length ? null : "No memory lengths were recorded.")) return;
    const steps = memory.map((length) => length ?? Infinity);
    this.plot.show({
      x: { words: "steps until 1/e is left", short: "steps", isLog: true, range: [0.1, LONGEST] },
      y: { words: "units", range: [0, Math.max(...barsOf(steps).map(({ y }) => y))] },
      bars: barsOf(steps),
      rules: tbptt_steps ? [{ x: tbptt_steps, words: `window of training (${tbptt_steps})` }] : [],
    });
    const sorted = steps.toSorted((one, other) => one - other);
    const middle = sorted[Math.floor(sorted.length / 2)];
    const longest = sorted.at(-1);
    this.note.textContent = `Layer ${layer}: half of its ${steps.length} units remember ${lasting(middle)} or longer, the longest ${lasting(longest)}.`;
    this.tabulate(() => ({
      heads: ["Unit", "Steps"],
      rows: steps
        .map((length, unit) => [unit, length])
        .sort((one, other) => other[1] - one[1])
        .map(([unit, length]) => [String(unit), length === Infinity ? "for ever" : short(length)]),
    }));
  }
}

const lasting = (steps) => (steps === Infinity ? "for ever" : `${short(steps)} ${steps === 1 ? "step" : "steps"}`);

/** Bars of equal width on a log axis from 0.1 to LONGEST. */
export function barsOf(steps) {
  const number = Math.ceil(Math.log2(LONGEST / 0.1) * BINS_A_DOUBLING);
  const edge = (i) => 0.1 * (LONGEST / 0.1) ** (i / number);
  const bars = Array.from({ length: number }, (_, i) => ({ from: edge(i), to: edge(i + 1), y: 0 }));
  for (const length of steps) {
    const place = Math.floor((Math.log(length / 0.1) / Math.log(LONGEST / 0.1)) * number);
    bars[Math.max(0, Math.min(number - 1, place))].y += 1;
  }
  return bars.map((bar, i) => ({ ...bar, words: i === number - 1 ? `${short(bar.from)} steps or more:` : `${short(bar.from)} to ${short(bar.to)} steps:` }));
}
