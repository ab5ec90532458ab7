// The loss at each place of a window, from nothing and with the state carried into it. Knows an Inspection.

import { bitsOf } from "../symbol_detail.js";
import { decimals } from "../text.js";
import { Plot } from "./plot.js";
import { View } from "./view.js";

export class WindowLossView extends View {
  constructor(id) {
    super(id);
    this.plot = new Plot(this.body, "Loss by place in the window");
  }

  show({ task, window_loss }) {
    const nothing = task === "language_model" ? "The text is shorter than two windows: a longer one shows it." : `A network of the task ${task} reads each input from the beginning; nothing is carried.`;
    if (!this.has(window_loss ? null : nothing)) return;
    const { carried, fresh, windows } = window_loss;
    const line = (name, style, losses) => ({ name, style, points: losses.map((nats, place) => [place, bitsOf(nats)]) });
    this.plot.show({
      x: { words: "place in the window", short: "place", range: [0, Math.max(1, carried.length - 1)] },
      y: { words: "bits per character" },
      lines: [line("from nothing", 1, fresh), line("state carried", 0, carried)],
    });
    const mean = (losses) => bitsOf(losses.reduce((sum, loss) => sum + loss, 0) / losses.length);
    this.note.textContent = `Mean over ${windows} windows: ${decimals(mean(fresh), 3)} bits from nothing, ${decimals(mean(carried), 3)} with the state carried.`;
    this.tabulate(() => ({
      heads: ["Place", "From nothing, bits", "State carried, bits"],
      rows: carried.map((nats, place) => [String(place), decimals(bitsOf(fresh[place]), 3), decimals(bitsOf(nats), 3)]),
    }));
  }
}
