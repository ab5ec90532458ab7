// The text coloured by what one unit held, or by one of its gates, and the units to choose from. Knows an Inspection.

import { spoken, legend, SymbolText } from "../symbols.js";
import { Plot } from "./plot.js";
import { short } from "./scale.js";
import { View } from "./view.js";

const HELD = { lstm: "cell c", gru: "state h", rnn: "state h" };
const GATES = { i: "input gate i", f: "forget gate f", o: "output gate o", r: "reset gate r", z: "update gate z" };

export class UnitsView extends View {
  /** `onPick({layer, unit})` when another unit is chosen. */
  constructor(id, { onPick }) {
    super(id);
    this.onPick = onPick;
    this.list = this.section.querySelector(".units");
    this.channels = this.section.querySelector(".channels");
    this.channel = ""; // what the unit held; else the letter of a gate
    this.symbols = this.section.querySelector(".symbols");
    this.reading = this.section.querySelector(".unit-reading");
    this.text = new SymbolText(this.symbols, { onLook: (place) => this.look(place) });
    this.plot = new Plot(this.section.querySelector(".unit-values"), "What the unit did at each step");
    this.list.addEventListener("change", (event) => {
      const [layer, unit] = event.target.value.split(":").map(Number);
      this.onPick({ layer, unit });
    });
    this.channels.addEventListener("change", (event) => {
      this.channel = event.target.value;
      this.draw();
    });
  }

  /** `chosen` is the unit that the address names; null: the first of those ranked. */
  show({ units, symbols }, { chosen, cell }) {
    if (!this.has(units.length ? null : "No unit was recorded.")) return;
    this.unit = units.find((one) => chosen && one.layer === chosen.layer && one.unit === chosen.unit) ?? units[0];
    this.names = symbols.map(({ symbol }) => symbol);
    this.called = { "": HELD[cell], ...Object.fromEntries(Object.keys(this.unit.gates).map((gate) => [gate, GATES[gate]])) };
    if (!(this.channel in this.called)) this.channel = "";
    const choose = (places, made) => {
      const had = places.contains(document.activeElement);
      places.replaceChildren(...places.querySelectorAll("legend"), ...made);
      if (had) places.querySelector(":checked")?.focus();
    };
    choose(this.list, units.map((one) => unitChoice(one, one === this.unit)));
    choose(this.channels, Object.entries(this.called).map(([channel, words]) => choice("channel", channel, channel === this.channel, words)));
    this.symbols.hidden = !symbols.length;
    this.draw();
  }

  get values() {
    return this.channel === "" ? this.unit.values : this.unit.gates[this.channel];
  }

  draw() {
    const { unit, values, channel } = this;
    const most = channel ? 1 : Math.max(...values.map(Math.abs), 1e-9);
    const scale = channel ? legend("0 shut", "1 open") : legend(`−${short(most)}`, `+${short(most)}`, true);
    this.note.replaceChildren(nameOf(unit), following(unit), " ", scale);
    this.text.show(this.names.map((name, place) => ({ name, heat: values[place] / most, words: this.heard(place) })));
    this.plot.show({
      x: { words: "place in the text", short: "place", range: [0, Math.max(1, values.length - 1)] },
      y: { words: this.called[channel], range: channel ? [0, 1] : undefined },
      lines: [{ name: this.called[channel], style: 0, points: values.map((value, step) => [step, value]) }],
    });
    const gates = Object.entries(unit.gates);
    this.tabulate(() => ({
      heads: ["Place", "Symbol", this.called[""], ...gates.map(([gate]) => gate)],
      rows: unit.values.map((value, step) => [
        String(step),
        this.names[step] === undefined ? "–" : spoken(this.names[step]),
        short(value),
        ...gates.map(([, numbers]) => short(numbers[step])),
      ]),
    }));
    this.look(this.text.looked ?? 0);
  }

  heard(place) {
    return `${spoken(this.names[place])}, ${short(this.values[place])}`;
  }

  look(place) {
    if (!this.names.length) return;
    const all = [["", this.unit.values], ...Object.entries(this.unit.gates)];
    const numbers = all.map(([channel, values]) => `${this.called[channel]} ${short(values[place])}`);
    this.reading.textContent = [spoken(this.names[place]), ...numbers].join(" · ");
  }
}

const nameOf = ({ layer, unit }) => `layer ${layer}, unit ${unit}`;

const following = ({ feature, correlation }) => (feature ? ` follows “${feature}” (correlation ${correlation.toFixed(2)})` : "");

function unitChoice(one, isChosen) {
  const follows = document.createElement("span");
  follows.className = "quiet";
  follows.textContent = one.feature ? `${one.feature} ${one.correlation.toFixed(2)}` : "";
  const label = choice("unit", `${one.layer}:${one.unit}`, isChosen, nameOf(one));
  label.append(follows);
  return label;
}

function choice(name, value, isChosen, words) {
  const label = document.createElement("label");
  label.className = name;
  const button = document.createElement("input");
  button.type = "radio";
  button.name = name;
  button.value = value;
  button.checked = isChosen;
  const text = document.createElement("span");
  text.textContent = words;
  label.append(button, text);
  return label;
}
