// The inside of a run: one slider over its checkpoints moves every view; the address keeps what is looked at.

import { sentence } from "./api.js";
import { CellsView } from "./inside/cells.js";
import { CopyingView } from "./inside/copying.js";
import { GatesView } from "./inside/gates.js";
import { GradientView } from "./inside/gradient.js";
import { MemoryView } from "./inside/memory.js";
import { Source } from "./inside/source.js";
import { SurprisalView } from "./inside/surprisal.js";
import { UnitsView } from "./inside/units.js";
import { WindowLossView } from "./inside/window_loss.js";
import { run, setText } from "./run.js";
import { count, decimals, visible } from "./text.js";

const PLAY_MILLISECONDS = 700;
const MOST_COMPARED = 60; // checkpoints whose samples are drawn at once

const byId = (id) => document.getElementById(id);

class Inside {
  constructor() {
    this.source = new Source(run);
    this.checkpoints = [];
    this.number = -1;
    this.text = null; // a text of one's own
    this.asked = 0;
    const address = new URLSearchParams(location.search);
    const numberIn = (name) => (/^\d{1,9}$/.test(address.get(name) ?? "") ? Number(address.get(name)) : null);
    this.wanted = numberIn("step");
    this.layer = numberIn("layer") ?? 0;
    this.unit = numberIn("unit");
    this.surprisal = new SurprisalView("surprisal");
    this.units = new UnitsView("units", { onPick: (unit) => this.pick(unit) });
    this.gradient = new GradientView("gradient");
    this.gates = new GatesView("gates");
    this.memory = new MemoryView("memory");
    this.windowLoss = new WindowLossView("window-loss");
    this.copying = new CopyingView("copying");
    this.cells = new CellsView("cells");
    this.listen();
  }

  listen() {
    byId("step").addEventListener("input", () => this.move(Number(byId("step").value)));
    byId("step-back").addEventListener("click", () => this.move(this.number - 1));
    byId("step-on").addEventListener("click", () => this.move(this.number + 1));
    byId("play").addEventListener("click", () => (this.isPlaying ? this.pause() : this.play()));
    byId("layer").addEventListener("change", () => this.pickLayer(Number(byId("layer").value)));
    byId("own").addEventListener("submit", (event) => this.look(event));
    byId("own-clear").addEventListener("click", () => this.lookAtStored());
    byId("any-unit").addEventListener("submit", (event) => {
      event.preventDefault();
      const fields = new FormData(event.target);
      this.pick({ layer: Number(fields.get("layer")), unit: Number(fields.get("unit")) });
    });
    run.on("record", (job) => this.know(job));
    run.on("checkpoint", () => this.list());
  }

  async start() {
    await run.follow();
    await this.list();
  }

  know(job) {
    if (!job.spec || this.source.job) return;
    this.source.job = job;
    const { num_layers, hidden_size } = job.spec.model;
    this.layer = Math.min(this.layer, num_layers - 1);
    byId("layer").replaceChildren(...Array.from({ length: num_layers }, (_, i) => new Option(`Layer ${i}`, i, i === this.layer, i === this.layer)));
    byId("layer").parentElement.hidden = num_layers < 2;
    byId("any-layer").max = num_layers - 1;
    byId("any-layer-number").max = hidden_size - 1;
    byId("own").hidden = job.spec.task !== "language_model";
    this.cells.start(job).catch((error) => this.cells.has(`The other runs are not to be had: ${sentence(error)}`));
  }

  /** The checkpoints that are kept by now. Whoever looks at the newest goes on to the newest. */
  async list() {
    if (!this.source.job) return;
    const wasLast = this.number === this.checkpoints.length - 1;
    const shown = this.checkpoints[this.number]?.step ?? this.wanted;
    try {
      this.checkpoints = await this.source.checkpoints();
    } catch (error) {
      this.refuse(error);
      return;
    }
    byId("no-checkpoint").hidden = this.checkpoints.length > 0;
    byId("looking").hidden = this.checkpoints.length === 0;
    if (!this.checkpoints.length) return;
    const last = this.checkpoints.length - 1;
    const found = this.checkpoints.findIndex(({ step }) => step === shown);
    byId("step").max = last;
    await this.move(found < 0 || (wasLast && this.number >= 0) ? last : found, { isQuiet: true });
    this.compare();
  }

  async move(number, { isQuiet = false } = {}) {
    if (number < 0 || number >= this.checkpoints.length) return;
    this.number = number;
    const { step, bits_per_character, is_best } = this.checkpoints[number];
    const words = `step ${count(step)}`;
    byId("step").value = number;
    byId("step").setAttribute("aria-valuetext", words);
    setText("step-words", words);
    const bits = bits_per_character === null ? "" : ` · ${decimals(bits_per_character, 3)} bits per character in validation`;
    setText("step-note", `${number + 1} of ${this.checkpoints.length}${bits}${is_best ? " · the best" : ""}`);
    byId("write-with").href = `/playground?model=${encodeURIComponent(`${run.id}:step-${step}`)}`;
    byId("step-back").disabled = number === 0;
    byId("step-on").disabled = number === this.checkpoints.length - 1;
    if (!isQuiet || this.unit !== null) this.keep();
    await this.show();
  }

  /** The address says where one looks, so that it can be sent to somebody. */
  keep() {
    const address = new URL(location.href);
    address.searchParams.set("step", this.checkpoints[this.number].step);
    if (byId("layer").length > 1) address.searchParams.set("layer", this.layer);
    if (this.unit !== null) {
      address.searchParams.set("layer", this.layer);
      address.searchParams.set("unit", this.unit);
    }
    history.replaceState(null, "", address);
  }

  async show() {
    const asked = (this.asked += 1);
    const checkpoint = this.checkpoints[this.number];
    const chosen = this.unit === null ? null : { layer: this.layer, unit: this.unit };
    byId("views").setAttribute("aria-busy", "true");
    try {
      const whole = await (this.text === null ? this.source.stored(checkpoint) : this.source.inspect(checkpoint, this.text));
      const seen = await this.source.withUnit(checkpoint, whole, chosen);
      if (asked !== this.asked) return; // the slider has moved on since
      byId("refused").hidden = true;
      byId("views").hidden = false;
      this.draw(seen, chosen);
    } catch (error) {
      if (asked === this.asked) this.refuse(error);
    } finally {
      if (asked === this.asked) byId("views").setAttribute("aria-busy", "false");
    }
  }

  draw(seen, chosen) {
    const { model, train, task } = this.source.job.spec;
    const context = {
      task,
      cell: model.cell,
      layer: this.layer,
      chosen,
      tbptt_steps: seen.tbptt_steps ?? train.tbptt_steps,
      step: this.checkpoints[this.number].step,
    };
    for (const view of [this.surprisal, this.units, this.gradient, this.gates, this.memory, this.windowLoss]) view.show(seen, context);
    if (this.all) this.copying.show(this.all, context);
    byId("views").dataset.step = context.step;
    this.context = context;
  }

  /** What each checkpoint wrote is drawn over all of them. */
  async compare() {
    const all = await Promise.all(
      this.checkpoints.slice(-MOST_COMPARED).map((one) => this.source.stored(one).then((seen) => [one.step, seen], () => null)),
    );
    this.all = all.filter((one) => one !== null);
    if (this.context) this.copying.show(this.all, this.context);
  }

  refuse(error) {
    byId("refused").hidden = false;
    setText("refused", visible(sentence(error)));
    this.pause();
  }

  pick({ layer, unit }) {
    this.unit = unit;
    this.layer = layer;
    byId("layer").value = layer;
    this.keep();
    return this.show();
  }

  pickLayer(layer) {
    this.layer = layer;
    this.unit = null;
    const address = new URL(location.href);
    address.searchParams.delete("unit");
    history.replaceState(null, "", address);
    this.keep();
    return this.show();
  }

  look(event) {
    event.preventDefault();
    this.text = byId("own-text").value;
    byId("own-clear").hidden = false;
    setText("source-words", "your text");
    return this.show();
  }

  lookAtStored() {
    this.text = null;
    byId("own-clear").hidden = true;
    setText("source-words", "the beginning of the validation part");
    return this.show();
  }

  /** Step by step to the newest, from the oldest if it is there already. */
  play() {
    this.isPlaying = true;
    setText("play", "Stop");
    if (this.number === this.checkpoints.length - 1) this.move(0);
    const next = async () => {
      if (this.number >= this.checkpoints.length - 1) return this.pause();
      await this.move(this.number + 1);
      if (this.isPlaying) this.timer = setTimeout(next, PLAY_MILLISECONDS);
    };
    this.timer = setTimeout(next, PLAY_MILLISECONDS);
  }

  pause() {
    clearTimeout(this.timer);
    this.isPlaying = false;
    setText("play", "Play");
  }
}

await new Inside().start();
