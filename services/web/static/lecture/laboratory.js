// Trainings that a chapter starts: ordinary jobs, queued by the visitor, found again by their metadata after a reload.

import { getJson, send, upload } from "../api.js";
import { span, visible } from "../text.js";
import { fill, mayTrain, tellError, words } from "./words.js";

const EVERY_MILLISECONDS = 700;
const ENDED = new Set(["succeeded", "failed", "cancelled"]);
const MOST_JOBS = 20;

export const isEnded = (job) => ENDED.has(job.state);

/** The latest run of one experiment: its jobs, the button that starts it, and what they say of themselves. */
export class Experiment {
  /** `order()` gives { text, title, specs }; `onJobs(jobs)` is told after each look. */
  constructor(name, { order, onJobs }) {
    this.name = name;
    this.order = order;
    this.onJobs = onJobs;
    this.jobs = [];
    this.timer = 0;
    const row = document.getElementById(`${name}-live`);
    this.trainButton = row.querySelector('[data-action="train"]');
    this.cancelButton = row.querySelector('[data-action="cancel"]');
    this.words = row.querySelector('[data-part="words"]');
    this.error = document.getElementById(`${name}-error`);
    this.list = document.getElementById(`${name}-jobs`);
    this.lines = new Map(); // job id -> its line, which stays where it is while its words change
    this.trainButton.addEventListener("click", () => this.train());
    this.cancelButton.addEventListener("click", () => this.cancel());
    document.addEventListener("visibilitychange", () => this.wait());
  }

  /** Finds the run that was started last, from whatever page. */
  async find() {
    await this.guarded(async () => {
      const listed = await getJson(`/v1/jobs?metadata%5Blecture%5D=${this.name}&limit=${MOST_JOBS}`);
      const run = listed.data[0]?.spec?.metadata.run;
      this.jobs = listed.data.filter((job) => run !== undefined && job.spec?.metadata.run === run).reverse();
    });
    await this.show();
  }

  async train() {
    const { text, title, specs } = this.order();
    this.trainButton.disabled = true;
    this.words.textContent = words.live.queueing;
    const queued = [];
    const isQueued = await this.guarded(async () => {
      const dataset = await upload(`/v1/datasets?kind=text&name=${encodeURIComponent(title)}`, new Blob([text]));
      const run = Date.now().toString(36);
      for (const spec of specs) {
        const metadata = { ...spec.metadata, lecture: this.name, run };
        queued.push(await send("POST", "/v1/jobs", { ...spec, dataset: dataset.id, metadata }));
      }
    });
    if (isQueued) this.jobs = queued;
    else await this.cancelAll(queued); // half an experiment shows nothing
    await this.show();
  }

  async cancel() {
    this.cancelButton.disabled = true;
    await this.guarded(() => this.cancelAll(this.jobs.filter((job) => !isEnded(job)), { isQuiet: false }));
    this.cancelButton.disabled = false;
    await this.look();
  }

  async cancelAll(jobs, { isQuiet = true } = {}) {
    const asked = jobs.map((job) => send("POST", `/v1/jobs/${encodeURIComponent(job.id)}/cancel`));
    if (isQuiet) await Promise.allSettled(asked);
    else await Promise.all(asked);
  }

  /** Asks how the jobs stand by now. */
  async look() {
    await this.guarded(async () => {
      const open = this.jobs.filter((job) => !isEnded(job));
      const found = await Promise.all(open.map((job) => getJson(`/v1/jobs/${encodeURIComponent(job.id)}`)));
      const now = new Map(found.map((job) => [job.id, job]));
      this.jobs = this.jobs.map((job) => now.get(job.id) ?? job);
    });
    await this.show();
  }

  async show() {
    const isBusy = this.jobs.some((job) => !isEnded(job));
    this.trainButton.disabled = isBusy || !mayTrain;
    this.cancelButton.hidden = !isBusy;
    setText(this.words, mayTrain ? summary(this.jobs) : words.live.read_only);
    this.tellJobs();
    await this.guarded(() => this.onJobs(this.jobs), { isShowing: true });
    this.wait();
  }

  tellJobs() {
    if (this.jobs.some((job) => !this.lines.has(job.id)) || this.lines.size !== this.jobs.length) {
      this.lines = new Map(this.jobs.map((job) => [job.id, new Line(job)]));
      this.list.replaceChildren(...[...this.lines.values()].map((line) => line.item));
    }
    for (const job of this.jobs) this.lines.get(job.id).show(job);
  }

  wait() {
    clearTimeout(this.timer);
    const isBusy = this.jobs.some((job) => !isEnded(job));
    if (isBusy && !document.hidden) this.timer = setTimeout(() => this.look(), EVERY_MILLISECONDS);
  }

  /** Does it and says what was refused; whether it was done. */
  async guarded(act, { isShowing = false } = {}) {
    try {
      await act();
      if (!isShowing) tellError(this.error, null);
      return true;
    } catch (error) {
      tellError(this.error, error);
      return false;
    }
  }
}

function summary(jobs) {
  if (!jobs.length) return "";
  const open = jobs.filter((job) => !isEnded(job));
  if (!open.length) return jobs.every((job) => job.state === "succeeded") ? words.live.done : words.live.not_done;
  return fill(words.live.working, { done: jobs.length - open.length, all: jobs.length });
}

/** One job: its name, state, progress, and why it waits or what failed. */
class Line {
  constructor(job) {
    this.item = document.createElement("li");
    const link = document.createElement("a");
    link.href = `/jobs/${encodeURIComponent(job.id)}`;
    link.textContent = visible(job.spec?.name ?? job.id);
    this.bar = document.createElement("progress");
    this.bar.max = 1;
    this.bar.setAttribute("aria-label", words.live.progress);
    this.state = document.createElement("span");
    this.state.className = "quiet";
    this.told = document.createElement("span");
    this.item.append(link, this.bar, this.state, this.told);
  }

  show(job) {
    this.bar.value = job.progress.ratio;
    setText(this.state, words.states[job.state]);
    this.told.className = job.error ? "alarm" : "quiet";
    setText(this.told, situation(job));
  }
}

function situation(job) {
  if (job.error) return visible([job.error.message, job.error.hint].filter(Boolean).join(" "));
  if (job.state === "queued" && job.queue) {
    const { position, reason, eta_seconds: eta } = job.queue;
    const why = words.reasons[reason] ?? reason;
    return fill(eta === null ? words.live.waits : words.live.waits_for, { position, why, eta: span(eta) });
  }
  if (job.state === "running") return fill(words.live.at_step, { step: job.progress.step });
  return "";
}

/** Only what differs, so that a reader of the screen hears changes alone. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
