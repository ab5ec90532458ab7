// What was written in this tab, the newest first; the tab forgets it when it is closed. Knows no model.

import { visible } from "../text.js";

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
    const head = document.createElement("div");
    head.className = "written-head";
    const said = document.createElement("span");
    said.className = "quiet";
    said.textContent = `${entry.at} · ${visible(entry.model)}`;
    const use = document.createElement("button");
    use.type = "button";
    use.className = "plain";
    use.textContent = "Use its prompt and settings";
    use.addEventListener("click", () => this.onUse(entry));
    head.append(said, use);
    const text = document.createElement("pre");
    text.className = "sample";
    text.dir = "auto";
    text.tabIndex = 0;
    const prompt = document.createElement("span");
    prompt.className = "prompt";
    prompt.textContent = visible(entry.prompt);
    text.append(prompt, visible(entry.text.slice(entry.prompt.length)));
    item.append(head, text);
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
