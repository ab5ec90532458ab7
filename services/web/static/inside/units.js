// The text coloured by what one unit held, and the units to choose from. Knows an Inspection.

import { spoken, legend, SymbolText } from "../symbols.js";
import { Plot } from "./plot.js";
import { short } from "./scale.js";
import { View } from "./view.js";

const GATE_STYLES = ["1", "2", "3"];

export class UnitsView extends View {
  /** `onPick({layer, unit})` when another unit is chosen. */
  constructor(id, { onPick }) {
    super(id);
    this.onPick = onPick;
    this.list = this.section.querySelector(".units");
    this.symbols = this.section.querySelector(".symbols");
    this.reading = this.section.querySelector(".unit-reading");
    this.text = new SymbolText(this.symbols, { onLook: (place) => this.look(place) });
    this.plot = new Plot(this.section.querySelector(".unit-plot"), "What the unit held at each step");
    this.list.addEventListener("change", (event) => {
      const [layer, unit] = event.target.value.split(":").map(Number);
      this.onPick({ layer, unit });
    });
  }

  /** `chosen` is the unit that the address names; null: the first of those ranked. */
  show({ units, symbols }, { chosen, cell }) {
    if (!this.has(units.length ? null : "No unit was recorded.")) return;
    const unit = units.find((one) => chosen && one.layer === chosen.layer && one.unit === chosen.unit) ?? units[0];
    this.unit = unit;
    this.names = symbols.map(({ symbol }) => symbol);
    this.listUnits(units, unit);
    const most = Math.max(...unit.values.map(Math.abs), 1e-9);
    const held = cell === "lstm" ? "cell" : "state";
    this.note.replaceChildren(nameOf(unit), following(unit), " ", legend(`−${short(most)}`, `+${short(most)}`, true));
    this.symbols.hidden = !symbols.length;
    this.text.show(this.names.map((name, place) => ({ name, heat: unit.values[place] / most, words: this.heard(place) })));
    const line = (name, style, values) => ({ name, style, points: values.map((value, step) => [step, value]) });
    const gates = Object.entries(unit.gates);
    this.plot.show({
      x: { words: "place in the text", short: "place", range: [0, Math.max(1, unit.values.length - 1)] },
      y: { words: "value" },
      lines: [...gates.map(([gate, values], i) => line(`gate ${gate}`, GATE_STYLES[i], values)), line(held, 0, unit.values)],
    });
    this.tabulate(() => ({
      heads: ["Place", "Symbol", held, ...gates.map(([gate]) => gate)],
      rows: unit.values.map((value, step) => [
        String(step),
        this.names[step] === undefined ? "–" : spoken(this.names[step]),
        short(value),
        ...gates.map(([, values]) => short(values[step])),
      ]),
    }));
    this.look(this.text.looked ?? 0);
  }

  heard(place) {
    return `${spoken(this.names[place])}, ${short(this.unit.values[place])}`;
  }

  look(place) {
    if (!this.names.length) return;
    const gates = Object.entries(this.unit.gates).map(([gate, values]) => `${gate} ${short(values[place])}`);
    this.reading.textContent = [this.heard(place), ...gates].join(" · ");
  }

  listUnits(units, chosen) {
    const had = this.list.contains(document.activeElement);
    this.list.replaceChildren(...units.map((one) => choice(one, one === chosen)));
    if (had) this.list.querySelector(":checked")?.focus();
  }
}

const nameOf = ({ layer, unit }) => `layer ${layer}, unit ${unit}`;

const following = ({ feature, correlation }) => (feature ? ` follows “${feature}” (correlation ${correlation.toFixed(2)})` : "");

function choice(one, isChosen) {
  const label = document.createElement("label");
  label.className = "unit";
  const button = document.createElement("input");
  button.type = "radio";
  button.name = "unit";
  button.value = `${one.layer}:${one.unit}`;
  button.checked = isChosen;
  const name = document.createElement("span");
  name.textContent = nameOf(one);
  const follows = document.createElement("span");
  follows.className = "quiet";
  follows.textContent = one.feature ? `${one.feature} ${one.correlation.toFixed(2)}` : "";
  label.append(button, name, follows);
  return label;
}
