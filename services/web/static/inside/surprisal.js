// The text, each symbol coloured by the bits that it cost. Knows an Inspection.

import { bitsOf, heard, heatOf, percentage, showDetail } from "../symbol_detail.js";
import { areBytes, legend, spoken, SymbolText } from "../symbols.js";
import { decimals } from "../text.js";
import { View } from "./view.js";

const MOST_BITS_WORDS = "8 bits or more";

export class SurprisalView extends View {
  constructor(id) {
    super(id);
    this.symbols = [];
    this.detail = this.section.querySelector(".detail");
    this.text = new SymbolText(this.section.querySelector(".symbols"), { onLook: (place) => this.look(place) });
  }

  show(seen) {
    this.symbols = seen.symbols.map(({ symbol, surprisal, top }) => ({ name: symbol, bits: bitsOf(surprisal), top }));
    const known = this.symbols.filter(({ bits }) => bits !== null);
    const task = `A network of the task ${seen.task} does not predict the next symbol of what it reads.`;
    if (!this.has(known.length ? null : task)) return;
    const mean = known.reduce((sum, { bits }) => sum + bits, 0) / known.length;
    const unit = areBytes(this.symbols.map(({ name }) => name)) ? "byte" : "character";
    const number = document.createElement("b");
    number.textContent = decimals(mean, 2); // of four digits that are kept of each
    this.note.replaceChildren(number, ` bits per ${unit} on average `, legend("0", MOST_BITS_WORDS));
    const looked = this.text.looked;
    this.text.show(this.symbols.map(({ name, bits, top }) => ({ name, heat: heatOf(bits), words: heard(name, bits, top) })));
    this.text.look(Math.min(looked ?? 1, this.symbols.length - 1));
    this.tabulate(() => ({
      heads: ["Place", "Symbol", "Bits", "Likeliest instead"],
      rows: this.symbols.map(({ name, bits, top }, place) => [String(place), spoken(name), decimals(bits, 2), likeliest(top)]),
    }));
  }

  look(place) {
    showDetail(this.detail, this.symbols[place]);
  }
}

const likeliest = (top) => top.map(({ symbol, probability }) => `${spoken(symbol)} ${percentage(probability)}`).join(", ");
