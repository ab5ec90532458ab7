// The run list, live: rows change in place when the server says that something happened; picked rows are acted on.
// Knows no row's content: the server writes it.

import { send, sentence } from "./api.js";
import { Pushed } from "./events.js";
import { oneAtATime } from "./one_at_a_time.js";
import { toast } from "./toasts.js";

const AT_MOST_EVERY_MILLISECONDS = 1000;
const AGES_MILLISECONDS = 30_000;

const list = () => document.getElementById("runs");
const rows = (within) => [...within.querySelectorAll("tr[data-job]")];
const picked = () => rows(list()).filter((row) => row.querySelector(".pick input").checked);

class RunList {
  constructor() {
    this.refresh = oneAtATime(() => this.ask(), AT_MOST_EVERY_MILLISECONDS);
    this.source = new Pushed(() => this.changesUrl(), {
      types: ["changed"],
      onEvent: () => this.refresh(),
      onStatus: () => this.refresh(), // what happened before the stream stood; and a session that is over shows itself
    });
    setInterval(() => document.hidden || this.refresh(), AGES_MILLISECONDS);
  }

  follow() {
    this.source.follow();
  }

  /** Rows that have ended change no more. */
  changesUrl() {
    const going = rows(list()).filter((row) => !("ended" in row.dataset));
    return `/parts/runs/changes?jobs=${going.map((row) => encodeURIComponent(row.dataset.job)).join(",")}`;
  }

  async ask() {
    try {
      const response = await fetch(`/parts/runs${location.search}`);
      if (response.status === 401) return location.reload();
      if (response.ok) this.show(await response.text());
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // TypeError: the network; the next try may do
    }
  }

  /** The server escaped it; parsing runs nothing. */
  show(html) {
    const next = new DOMParser().parseFromString(html, "text/html").getElementById("runs");
    if (!next) return;
    const [shown, present] = [list().querySelector("tbody"), next.querySelector("tbody")];
    if (!shown || !present) return this.replace(next);
    const isNew = this.merge(shown, present);
    swap(list().querySelector("#found"), next.querySelector("#found"));
    if (isNew) this.source.reopen();
    showPicked();
  }

  replace(next) {
    if (next.isEqualNode(list())) return;
    list().replaceWith(document.adoptNode(next));
    this.source.reopen();
    wire();
  }

  /** Rows that stay keep their place, their checkbox and the focus; only cells that differ are put in. */
  merge(shown, present) {
    const known = new Map(rows(shown).map((row) => [row.dataset.job, row]));
    let before = null;
    let isNew = false;
    for (const row of rows(present)) {
      const old = known.get(row.dataset.job);
      known.delete(row.dataset.job);
      if (old) update(old, row);
      else if (before) before.after(row);
      else shown.prepend(row);
      isNew ||= !old;
      before = old ?? row;
    }
    for (const gone of known.values()) gone.remove();
    return isNew;
  }
}

function update(old, row) {
  if ("ended" in row.dataset) old.dataset.ended = "";
  [...row.cells].forEach((cell, at) => {
    if (!cell.classList.contains("pick")) swap(old.cells[at], cell);
  });
}

/** Puts `cell` in the place of `old` where it differs; the focus stays on the same link. */
function swap(old, cell) {
  if (!old || !cell || old.isEqualNode(cell)) return;
  const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
  old.replaceWith(cell);
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

function showPicked() {
  const number = picked().length;
  const cancel = document.getElementById("cancel-selected");
  const compare = document.getElementById("compare-selected");
  if (cancel) cancel.disabled = number === 0;
  if (compare) compare.disabled = number < 2 || number > 10;
  const all = document.getElementById("pick-all");
  if (all) all.checked = number > 0 && number === rows(list()).length;
}

async function cancelPicked() {
  const jobs = picked().map((row) => row.dataset.job);
  const words = jobs.length === 1 ? "this run" : `these ${jobs.length} runs`;
  if (!confirm(`Cancel ${words}? A run that was cancelled can be retried from its last checkpoint.`)) return;
  const refused = [];
  for (const job of jobs) {
    await send("POST", `/v1/jobs/${encodeURIComponent(job)}/cancel`).catch((error) => refused.push(sentence(error)));
  }
  for (const row of picked()) row.querySelector(".pick input").checked = false;
  if (refused.length) toast(refused[0], { isAlarm: true });
  else toast(`Cancelled ${jobs.length}.`);
  runs.refresh();
}

function compare(event) {
  event.preventDefault();
  location.assign(`/compare?jobs=${picked().map((row) => row.dataset.job).join(",")}`);
}

function wire() {
  list().addEventListener("change", (event) => {
    if (event.target.id === "pick-all") {
      for (const row of rows(list())) row.querySelector(".pick input").checked = event.target.checked;
    }
    showPicked();
  });
  list().addEventListener("submit", compare);
  document.getElementById("cancel-selected")?.addEventListener("click", cancelPicked);
  showPicked();
}

/** An address without what was left empty. */
function find(event) {
  const fields = [...new FormData(event.target)].filter(([, value]) => value !== "");
  event.preventDefault();
  location.assign(`/?${new URLSearchParams(fields)}`);
}

document.getElementById("filter")?.addEventListener("submit", find);
document.querySelector("#filter select")?.addEventListener("change", (event) => event.target.form.requestSubmit());
const runs = new RunList();
wire();
runs.follow();
