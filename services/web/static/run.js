// The run that a page is about: its record, its events, and the head that every tab shows. Knows no tab.

import { getJson, send, sentence } from "./api.js";
import { byId, putPart, setText } from "./dom.js";
import { JobEvents } from "./events.js";
import { toast } from "./toasts.js";

export { setText } from "./dom.js";

const LIVE_WORDS = { live: "live", waiting: "connection lost, trying again", ended: "ended" };
const DONE_WORDS = { cancel: "Cancelled.", pause: "It pauses after its present step.", resume: "Resumed." };

class Run {
  constructor(id) {
    this.id = id;
    this.path = `/v1/jobs/${encodeURIComponent(id)}`;
    this.handlers = { state: [() => this.refresh()], reset: [() => this.refresh()] };
    this.events = new JobEvents(id, {
      onEvent: (event) => this.tell(event.type, event.data, event),
      onStatus: (status) => {
        setText("live", LIVE_WORDS[status]);
        this.tell("status", status);
        if (status === "waiting") this.showPart("head"); // a session that is over shows itself
      },
    });
    byId("run").addEventListener("click", (event) => {
      const button = event.target.closest("[data-action]");
      if (button) this.act(button);
    });
  }

  /** `type` is that of an event (its data are handed over), `record` for the JobRecord, `status` for the stream's. */
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

  /** The record says what the state is by now: events also tell of the past. The next event asks again. */
  async refresh() {
    const [job] = await Promise.all([getJson(this.path).catch(() => null), this.showPart("head")]);
    if (job) this.tell("record", job);
  }

  /** Brings a piece of the page that the server writes up to date. */
  async showPart(name) {
    const response = await fetch(`/parts${this.path.slice(3)}/${name}`).catch(() => null);
    if (response?.status === 401) location.reload();
    else if (response?.ok) putPart(await response.text(), name === "head" ? "run-head" : name);
  }

  async act(button) {
    const { action, confirm: question } = button.dataset;
    if (question && !confirm(question)) return;
    button.disabled = true;
    try {
      if (action === "delete") {
        await send("DELETE", this.path);
        location.assign("/");
        return;
      }
      const job = await send("POST", `${this.path}/${action}`);
      if (action === "retry") location.assign(`/jobs/${encodeURIComponent(job.id)}`);
      else toast(DONE_WORDS[action]);
    } catch (error) {
      toast(sentence(error), { isAlarm: true });
    }
    button.disabled = false;
    await this.refresh();
  }
}

/** The run of this page. A tab adds its handlers, then calls `run.follow()`. */
export const run = new Run(byId("run").dataset.job);
