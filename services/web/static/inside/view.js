// One view of the inside: its place on the page, and what stands there where there is nothing to see. Knows no data.

import { tabulate } from "./table.js";

export class View {
  constructor(id) {
    this.section = document.getElementById(id);
    this.body = this.section.querySelector(".view-body");
    this.words = this.section.querySelector(".view-nothing");
    this.note = this.section.querySelector(".view-note");
    this.details = this.section.querySelector(":scope > details");
  }

  /** Says why there is nothing; null: there is something. Returns whether there is. */
  has(nothing) {
    this.words.hidden = nothing === null;
    this.words.textContent = nothing ?? "";
    this.body.hidden = nothing !== null;
    this.details.hidden = nothing !== null;
    if (nothing !== null) this.note.replaceChildren();
    return nothing === null;
  }

  tabulate(read) {
    tabulate(this.details, read);
  }
}
