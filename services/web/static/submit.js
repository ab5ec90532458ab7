// Sends the submit page: a file becomes a data set, the fields that were filled in a job. /v1 judges, the page points.

import { send, sentence, upload } from "./api.js";
import { byId } from "./dom.js";
import { count, visible } from "./text.js";

const form = byId("submit");

const READ = {
  choice: (text) => (text === "true" ? true : text === "false" ? false : text),
  number: Number,
  text: (text) => text,
  lines: (text) => text.split("\n").filter((line) => line !== ""),
  pairs: (text) =>
    Object.fromEntries(
      text
        .split("\n")
        .filter((line) => line.trim() !== "")
        .map((line) => [line.split("=")[0].trim(), line.slice(line.indexOf("=") + 1).trim()]),
    ),
};

/** A JobSpec of what was filled in, and nothing else. */
function spec() {
  const asked = {};
  for (const control of form.querySelectorAll("[data-field] [data-kind]")) {
    if (control.value === "") continue;
    const [part, inner] = control.name.split(".");
    const value = READ[control.dataset.kind](control.value.replaceAll("\r\n", "\n"));
    if (inner) (asked[part] ??= {})[inner] = value;
    else asked[part] = value;
  }
  return asked;
}

function clear() {
  byId("refused").hidden = true;
  for (const control of form.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
  for (const words of form.querySelectorAll(".refusal")) words.hidden = true;
}

/** Says what was refused beside the field it names: `model.hidden_size`, `metadata.key`, `train.sample_prompts[0]`. */
function refuse(words, param) {
  const names = [param, param?.split("[")[0], param?.split(".")[0]].filter(Boolean);
  const field = names.map((name) => form.querySelector(`[data-field="${CSS.escape(name)}"]`)).find(Boolean);
  const place = field?.querySelector(".refusal") ?? byId("refused");
  place.textContent = visible(words);
  place.hidden = false;
  const control = field?.querySelector("[data-kind]");
  if (!control) return;
  control.setAttribute("aria-invalid", "true");
  const fold = field.closest("details");
  if (fold) fold.open = true;
  control.focus();
}

async function submit(event) {
  event.preventDefault();
  clear();
  const button = byId("send");
  button.disabled = true;
  try {
    const job = await send("POST", "/v1/jobs", spec());
    location.assign(`/jobs/${encodeURIComponent(job.id)}`);
  } catch (error) {
    refuse(sentence(error), error.param);
    button.disabled = false;
  }
}

/** Data sets that the task cannot learn from are not offered. */
function offer() {
  const kind = byId("f-task").selectedOptions[0].dataset.datasetKind;
  for (const id of ["f-dataset", "f-validation_dataset"]) {
    for (const option of byId(id).options) {
      option.hidden = option.disabled = "datasetKind" in option.dataset && option.dataset.datasetKind !== kind;
    }
    if (byId(id).selectedOptions[0]?.disabled) byId(id).value = "";
  }
  form.querySelector(".for-text").hidden = kind !== "text";
  form.querySelector(".for-series").hidden = kind !== "series";
  return kind;
}

async function store() {
  const [file] = byId("file").files;
  if (!file) return;
  clear();
  const about = { kind: offer(), name: file.name.slice(0, 200) };
  if (about.kind === "text" && byId("vocabulary").value) about.vocabulary = byId("vocabulary").value;
  if (about.kind === "series" && byId("target").value) about.target = byId("target").value;
  byId("upload-note").textContent = `Uploading ${count(file.size)} bytes…`;
  try {
    const dataset = await upload(`/v1/datasets?${new URLSearchParams(about)}`, file);
    byId("upload-note").textContent = "Stored.";
    choose(dataset);
  } catch (error) {
    byId("upload-note").textContent = "";
    refuse(sentence(error), "dataset");
  }
}

/** Equal bytes are one data set: it may be in the list already. */
function choose(dataset) {
  const select = byId("f-dataset");
  if (![...select.options].some((option) => option.value === dataset.id)) {
    const option = new Option(visible(`${dataset.name ?? dataset.id} (${dataset.kind}, just uploaded)`), dataset.id);
    option.dataset.datasetKind = dataset.kind;
    select.add(option);
  }
  select.value = dataset.id;
}

form.addEventListener("submit", submit);
byId("f-task").addEventListener("change", offer);
byId("file").addEventListener("change", store);
offer();
