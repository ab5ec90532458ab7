// How far back the gradient reaches, one layer at a time. Knows an Inspection.

import { Plot } from "./plot.js";
import { short } from "./scale.js";
import { View } from "./view.js";

export class GradientView extends View {
  constructor(id) {
    super(id);
    this.plot = new Plot(this.body, "Gradient norm against lag");
  }

  show({ gradient }, { layer, tbptt_steps }) {
    if (!this.has(gradient ? null : "The text is too short to look back in.")) return;
    const lines = gradient.layers.flatMap(({ hidden, cell }, i) => linesOf(hidden, cell, i, i === layer));
    const lags = gradient.layers[0].hidden.length - 1;
    const isBeyond = tbptt_steps && tbptt_steps <= lags;
    this.plot.show({
      x: { words: "lag: characters or steps back", short: "lag", range: [0, lags] },
      y: { words: "gradient norm", isLog: true },
      lines: lines.toSorted((one, other) => Number(other.isQuiet) - Number(one.isQuiet)),
      rules: isBeyond ? [{ x: tbptt_steps, words: `training stops here (${tbptt_steps})` }] : [],
    });
    const kept = gradient.layers[layer].cell ?? gradient.layers[layer].hidden; // what carries from step to step
    const share = kept[0] > 0 ? kept[lags] / kept[0] : null;
    this.note.textContent = `Of the ${gradient.answer}, mean over ${gradient.positions.length} places. At lag ${lags} it is ${short(share)} of what it is at lag 0.`;
    this.tabulate(() => ({ heads: ["Lag", ...lines.map(({ name }) => name)], rows: rowsOf(lines, lags) }));
  }
}

function linesOf(hidden, cell, layer, isChosen) {
  const points = (norms) => norms.map((norm, lag) => [lag, norm]);
  const made = [{ name: `layer ${layer} h`, style: isChosen ? 0 : "quiet", isQuiet: !isChosen, points: points(hidden) }];
  if (cell) made.push({ name: `layer ${layer} c`, style: isChosen ? 1 : "quiet", isQuiet: !isChosen, points: points(cell) });
  return made;
}

const rowsOf = (lines, lags) =>
  Array.from({ length: lags + 1 }, (_, lag) => [String(lag), ...lines.map(({ points }) => short(points[lag]?.[1]))]);
