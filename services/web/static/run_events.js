// Everything that happened to a run, the newest first, as it happens.

import { byId, element } from "./dom.js";
import { run } from "./run.js";
import { count, decimals } from "./text.js";

const MOST_ROWS = 1000;
const WORDS = {
  state: ({ state, reason, attempt }) => `${state}${reason ? `: ${reason.replaceAll("_", " ")}` : ""}${attempt ? ` (attempt ${attempt})` : ""}`,
  metrics: ({ step, train_loss, validation_loss }) =>
    `step ${count(step)}, loss ${decimals(train_loss, 3)}${validation_loss == null ? "" : `, validation ${decimals(validation_loss, 3)}`}`,
  checkpoint: ({ step, model }) => `step ${count(step)}: ${model ?? ""}`,
  message: ({ level, text }) => `${level}: ${text}`,
  reset: () => "events before this were trimmed",
};

const rows = byId("events");
const wantsMetrics = byId("event-view").elements.metrics;

function show(type, data, event) {
  if (rows.firstElementChild && !("type" in rows.firstElementChild.dataset)) rows.replaceChildren();
  const row = document.createElement("tr");
  row.dataset.type = type;
  row.hidden = type === "metrics" && !wantsMetrics.checked;
  const when = element("time", { text: new Date(event.created_at * 1000).toISOString().slice(0, 19).replace("T", " ") });
  when.dateTime = new Date(event.created_at * 1000).toISOString();
  row.insertCell().append(when);
  row.insertCell().textContent = type;
  row.insertCell().append(element("bdi", { text: WORDS[type](data) }));
  row.setAttribute("role", "row"); // laid out as a card where it is narrow, it is a row all the same
  for (const cell of row.cells) cell.setAttribute("role", "cell");
  rows.prepend(row);
  while (rows.childElementCount > MOST_ROWS) rows.lastElementChild.remove();
}

wantsMetrics.addEventListener("change", () => {
  for (const row of rows.children) row.hidden = row.dataset.type === "metrics" && !wantsMetrics.checked;
});
for (const type of Object.keys(WORDS)) run.on(type, (data, event) => show(type, data, event));
await run.follow();
