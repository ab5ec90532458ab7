// What was written in this tab, the newest first; the tab forgets it when it is closed. Knows no model.

import { element, written } from "../dom.js";

const KEY = "unroll-playground";
const MOST = 40;
const LONGEST = 20_000;

export class WrittenHistory {
  /** `onUse(entry)` when somebody wants to go on from one. */
  constructor(element, { onUse }) {
    this.element = element;
    this.list = element.querySelector("ol");
    this.onUse = onUse;
    this.entries = stored();
    element.querySelector(".forget").addEventListener("click", () => this.keep([]));
    this.show();
  }

  add(entry) {
    this.keep([{ ...entry, text: entry.text.slice(0, LONGEST), at: new Date().toLocaleTimeString() }, ...this.entries].slice(0, MOST));
  }

  keep(entries) {
    this.entries = entries;
    try {
      sessionStorage.setItem(KEY, JSON.stringify(entries));
    } catch {
      // storage is full or switched off: kept for this page alone
    }
    this.show();
  }

  show() {
    this.element.hidden = !this.entries.length;
    this.element.querySelector(".number-written").textContent = String(this.entries.length);
    this.list.replaceChildren(...this.entries.map((entry) => this.item(entry)));
  }

  item(entry) {
    const item = document.createElement("li");
    const head = element("div", { className: "written-head" });
    const said = element("span", { className: "quiet", text: `${entry.at} · ${entry.model}` });
    const use = element("button", { className: "plain", text: "Use its prompt and settings" });
    use.type = "button";
    use.addEventListener("click", () => this.onUse(entry));
    head.append(said, use);
    item.append(head, written({ prompt: entry.prompt, text: entry.text.slice(entry.prompt.length) }));
    return item;
  }
}

function stored() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) ?? [];
  } catch {
    return [];
  }
}
