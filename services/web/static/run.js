// The run that a page is about: its record, its events, and the head that every tab shows. Knows no tab.

import { getJson } from "./api.js";
import { JobEvents } from "./events.js";
import { visible } from "./text.js";

const LIVE_WORDS = { live: "live", waiting: "connection lost, trying again", ended: "ended" };

const byId = (id) => document.getElementById(id);

/** Writes `text` where it differs, so that a reader of the screen hears changes alone. */
export function setText(id, text) {
  const element = byId(id);
  if (element && element.textContent !== text) element.textContent = text;
}

class Run {
  constructor(id) {
    this.id = id;
    this.path = `/v1/jobs/${encodeURIComponent(id)}`;
    this.handlers = { record: [(job) => this.showHead(job)], state: [() => this.refresh()] };
    this.events = new JobEvents(id, {
      onEvent: (event) => this.tell(event.type, event.data, event),
      onStatus: (status) => setText("live", LIVE_WORDS[status]),
    });
  }

  /** `type` is that of an event (its data are handed over), or `record` for the JobRecord after each change of state. */
  on(type, handler) {
    (this.handlers[type] ??= []).push(handler);
  }

  tell(type, ...told) {
    for (const handler of this.handlers[type] ?? []) handler(...told);
  }

  /** The record now, then every event, the past ones first. */
  async follow() {
    await this.refresh();
    this.events.follow();
  }

  /** The record says what the state is by now: events also tell of the past. */
  async refresh() {
    const job = await getJson(this.path).catch(() => null); // the next event asks again
    if (job) this.tell("record", job);
  }

  showHead(job) {
    const icon = byId("run-state").querySelector("svg");
    icon.setAttribute("class", `icon state-${job.state}`);
    icon.firstElementChild.setAttribute("href", `#i-${job.state}`);
    const word = byId("run-state").querySelector("span");
    if (word.textContent !== job.state) word.textContent = job.state;
    const error = job.error ? [job.error.message, job.error.hint].filter(Boolean).join(" ") : "";
    byId("run-error").hidden = !error;
    setText("run-error", visible(error));
  }
}

/** The run of this page. A tab adds its handlers, then calls `run.follow()`. */
export const run = new Run(byId("run").dataset.job);
