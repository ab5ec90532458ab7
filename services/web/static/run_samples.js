// What a run wrote at its checkpoints, the newest first; new ones come as they are written.

import { getJson } from "./api.js";
import { byId, written } from "./dom.js";
import { run } from "./run.js";
import { count, decimals } from "./text.js";

const shown = new Map(); // "epoch-step" -> row

function panel(row) {
  const section = byId("checkpoint-samples").content.cloneNode(true).firstElementChild;
  section.querySelector("h2").textContent = `Step ${count(row.step)}`;
  const bits = row.bits_per_character == null ? "" : `${decimals(row.bits_per_character, 3)} bits/char`;
  section.querySelector("span").textContent = bits;
  section.querySelector(".sample-texts").append(...row.samples.map(written));
  return section;
}

/** A resumed run supersedes what its predecessors wrote from its first step on. */
function add(rows) {
  const before = shown.size;
  for (const row of rows) {
    if (!row.samples?.length) continue;
    for (const [key, old] of shown) if (old.epoch < row.epoch && old.step >= row.step) shown.delete(key);
    shown.set(`${row.epoch}-${row.step}`, row);
  }
  if (!shown.size || (before === shown.size && !rows.length)) return;
  const newest = [...shown.values()].sort((a, b) => b.step - a.step);
  byId("samples").replaceChildren(...newest.map(panel));
}

const past = await getJson(`${run.path}/samples`).catch(() => ({ data: [] })); // events bring the newest too
add(past.data);
run.on("checkpoint", (row) => shown.has(`${row.epoch}-${row.step}`) || add([row]));
await run.follow();
