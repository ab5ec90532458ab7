// How often each unit's gates are nearly closed and nearly open (Karpathy, Johnson & Li 2015). Knows an Inspection.

import { Plot } from "./plot.js";
import { short } from "./scale.js";
import { View } from "./view.js";

const GATES = { i: "input gate i", f: "forget gate f", o: "output gate o", r: "reset gate r", z: "update gate z" };
const SHARE = [0, 1];
const SLOPE = { name: "", style: "quiet", isQuiet: true, points: [[0, 1], [1, 0]] };

export class GatesView extends View {
  constructor(id) {
    super(id);
    this.plots = new Map();
  }

  show({ layers }, { layer, cell }) {
    const gates = Object.entries(layers[layer].gates);
    const nothing = cell === "rnn" ? "A plain RNN has no gates: all that it holds passes through tanh at each step." : "No gates were recorded.";
    if (!this.has(gates.length ? null : nothing)) return;
    if ([...this.plots.keys()].join() !== gates.map(([gate]) => gate).join()) this.build(gates);
    for (const [gate, { below, above }] of gates) {
      const points = below.map((share, unit) => [share, above[unit], `unit ${unit}`]);
      this.plots.get(gate).show({
        x: { words: "share of steps nearly shut", short: "shut", range: SHARE },
        y: { words: "share wide open", range: SHARE },
        lines: [SLOPE],
        dots: [{ name: GATES[gate], style: 0, points }],
      });
    }
    const means = gates.map(([gate, { below, above }]) => `${gate} ${percent(below)} closed, ${percent(above)} open`);
    this.note.textContent = `Layer ${layer}, mean over its units: ${means.join(" · ")}.`;
    this.tabulate(() => ({
      heads: ["Unit", ...gates.flatMap(([gate]) => [`${gate} < 0.1`, `${gate} > 0.9`])],
      rows: gates[0][1].below.map((_, unit) => [String(unit), ...gates.flatMap(([, { below, above }]) => [short(below[unit]), short(above[unit])])]),
    }));
  }

  build(gates) {
    const places = gates.map(() => document.createElement("div"));
    this.body.replaceChildren(...places);
    this.plots = new Map(gates.map(([gate], i) => [gate, new Plot(places[i], `Saturation of the ${GATES[gate]}, a dot for each unit`)]));
  }
}

const percent = (shares) => `${Math.round((100 * shares.reduce((sum, share) => sum + share, 0)) / shares.length)} %`;
