// How much of what each checkpoint wrote stands in the training text, word for word. Knows Inspections by step.

import { count, percent, visible } from "../text.js";
import { Plot } from "./plot.js";
import { View } from "./view.js";

const SHOWN_LENGTHS = [12, 8];

export class CopyingView extends View {
  constructor(id) {
    super(id);
    this.plot = new Plot(this.section.querySelector(".copying-plot"), "Share of the samples found in the training text, over the checkpoints");
    this.samples = this.section.querySelector(".copying-samples");
  }

  /** `all` is [[step, Inspection]], by rising step; `step` is the one that is looked at. */
  show(all, { step, task }) {
    const known = all.flatMap(([at, { copying }]) => (copying ? [[at, copying]] : []));
    const nothing = task === "language_model" ? "These checkpoints were made before it was measured, or wrote less than eight characters." : `It is measured of language models; this is a network of the task ${task}.`;
    if (!this.has(known.length ? null : nothing)) return;
    const [first] = known;
    const shares = (which, length) => known.map(([at, one]) => [at, one[which][one.lengths.indexOf(length)]]);
    const pair = (length, style) => [
      { name: `samples, ${length} in a row`, style, points: shares("copied", length) },
      { name: `text not trained on, ${length}`, style: `${style} thin`, points: shares("held_out", length) },
    ];
    this.plot.show({
      x: { words: "step of the checkpoint", short: "step", range: known.length > 1 ? undefined : [0, first[0]] },
      y: { words: "share found in the training text", range: [0, 1] },
      lines: SHOWN_LENGTHS.flatMap(pair),
      rules: step === null ? [] : [{ x: step, words: "this one" }],
    });
    const shown = known.find(([at]) => at === step)?.[1] ?? known.at(-1)[1];
    this.note.textContent = `Looked for in the first ${count(shown.searched)} symbols of the training text. Marked: 12 in a row or more that stand there.`;
    this.samples.replaceChildren(...shown.samples.map(marked));
    const words = (share) => (share === null ? "–" : percent(share));
    this.tabulate(() => ({
      heads: ["Step", ...first[1].lengths.map((length) => `samples ${length}`), ...first[1].lengths.map((length) => `not trained on ${length}`)],
      rows: known.map(([at, one]) => [count(at), ...one.copied.map(words), ...one.held_out.map(words)]),
    }));
  }
}

function marked({ prompt, text, passages }) {
  const block = document.createElement("pre");
  block.className = "sample";
  block.dir = "auto";
  block.tabIndex = 0;
  const asked = document.createElement("span");
  asked.className = "prompt";
  asked.textContent = visible(prompt);
  const symbols = [...text]; // places count characters, not halves of them
  let at = 0;
  block.append(asked);
  for (const [begin, end] of passages) {
    const copied = document.createElement("mark");
    copied.textContent = visible(symbols.slice(begin, end).join(""));
    block.append(visible(symbols.slice(at, begin).join("")), copied);
    at = end;
  }
  block.append(visible(symbols.slice(at).join("")));
  return block;
}
