// The log of a run, as it grows: its newest lines are asked for whenever something happens. Search hides, never forgets.

import { byId, element } from "./dom.js";
import { oneAtATime } from "./one_at_a_time.js";
import { run } from "./run.js";
import { count } from "./text.js";

const AT_MOST_EVERY_MILLISECONDS = 2000;
const MOST_LINES = 20_000;

class Log {
  constructor() {
    this.pane = byId("log");
    this.form = byId("log-view");
    this.lines = 0;
    this.refresh = oneAtATime(() => this.ask(), AT_MOST_EVERY_MILLISECONDS);
    this.form.addEventListener("submit", (event) => event.preventDefault());
    this.form.addEventListener("input", () => this.search());
  }

  async ask() {
    const response = await fetch(`${run.path}/logs?after=${this.lines}`).catch(() => null);
    if (!response?.ok) return; // the next event asks again
    const text = await response.text();
    if (text) this.add(text.replace(/\n$/, "").split("\n"));
    else if (!this.lines) this.pane.dataset.empty = "No lines yet.";
  }

  add(lines) {
    this.lines += lines.length;
    this.pane.append(...lines.map((line) => this.line(line)));
    while (this.pane.childElementCount > MOST_LINES) this.pane.firstElementChild.remove();
    this.search();
  }

  line(line) {
    const level = / (warning|error) /.exec(line.slice(0, 40))?.[1];
    const row = element("span", { className: level ? `line ${level}` : "line", text: line });
    row.append("\n");
    return row;
  }

  search() {
    const wanted = this.form.elements.q.value.toLowerCase();
    let found = 0;
    for (const row of this.pane.children) {
      row.hidden = wanted !== "" && !row.textContent.toLowerCase().includes(wanted);
      found += !row.hidden;
    }
    byId("log-count").textContent = wanted ? `${count(found)} of ${count(this.lines)} lines` : `${count(this.lines)} lines`;
    if (this.form.elements.tail.checked) this.pane.scrollTop = this.pane.scrollHeight;
  }
}

const log = new Log();
await log.ask();
for (const type of ["metrics", "checkpoint", "message", "state"]) run.on(type, () => log.refresh());
await run.follow();
