// Uploads a file: dropped or picked, with how much of it is sent, and what the server says of its rows. Knows no kind's rules.

import { visible } from "./text.js";

const ABOUT = {
  text: "UTF-8 text, or any bytes; documents are separated by a form feed.",
  labelled: "CSV or JSONL with text or series, and label.",
  tagged: "JSONL with inputs and tags of equal length.",
  pairs: "Tab-separated CSV or JSONL with source and target.",
  series: "CSV with a header; one row a time step, one column to be forecast.",
  sequences: "JSONL with inputs and target, or NumPy .npz.",
};
const KIND_OF_ENDING = { csv: "labelled", tsv: "pairs", jsonl: "labelled", npz: "sequences" };

const byId = (id) => document.getElementById(id);

class Upload {
  constructor(form) {
    this.form = form;
    this.file = null;
    this.request = null;
    const { file, kind } = form.elements;
    file.addEventListener("change", () => this.take(file.files[0]));
    kind.addEventListener("change", () => this.showKind());
    this.dropOn(byId("drop"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.request) this.request.abort();
      else if (this.file) this.send();
    });
    this.showKind();
  }

  dropOn(target) {
    for (const type of ["dragenter", "dragover"]) {
      target.addEventListener(type, (event) => {
        event.preventDefault();
        target.classList.add("is-over");
      });
    }
    target.addEventListener("dragleave", () => target.classList.remove("is-over"));
    target.addEventListener("drop", (event) => {
      event.preventDefault();
      target.classList.remove("is-over");
      this.take(event.dataTransfer.files[0]);
    });
    for (const type of ["dragover", "drop"]) addEventListener(type, (event) => event.preventDefault()); // beside it: no navigation
  }

  take(file) {
    if (!file) return;
    this.file = file;
    byId("drop-words").textContent = visible(file.name);
    byId("drop-about").textContent = `${(file.size / 1e6).toFixed(2)} MB`;
    this.form.elements.name.placeholder = file.name.slice(0, 100);
    const kind = KIND_OF_ENDING[file.name.split(".").pop().toLowerCase()];
    if (kind) this.form.elements.kind.value = kind;
    this.showKind();
    byId("upload-go").disabled = false;
    byId("upload-error").hidden = true;
  }

  showKind() {
    const { kind } = this.form.elements;
    byId("kind-about").textContent = ABOUT[kind.value] ?? "";
    for (const label of this.form.querySelectorAll("[data-for]")) label.hidden = label.dataset.for !== kind.value;
  }

  address() {
    const { kind, name, vocabulary, target } = this.form.elements;
    const asked = new URLSearchParams({ kind: kind.value, name: (name.value.trim() || this.file.name).slice(0, 200) });
    if (kind.value === "text") asked.set("vocabulary", vocabulary.value);
    if (kind.value === "series" && target.value.trim()) asked.set("target", target.value.trim());
    return `/v1/datasets?${asked}`;
  }

  /** XMLHttpRequest, because fetch does not tell how much is sent. */
  send() {
    const request = new XMLHttpRequest();
    this.request = request;
    request.open("POST", this.address());
    request.setRequestHeader("content-type", "application/octet-stream");
    request.setRequestHeader("x-csrf-token", document.querySelector('meta[name="csrf-token"]').content);
    request.upload.addEventListener("progress", (event) => this.progress(event.loaded, event.total));
    request.addEventListener("load", () => this.answered(request));
    request.addEventListener("error", () => this.refuse("the server could not be reached, or refused the file before its end"));
    request.addEventListener("abort", () => this.refuse("stopped; nothing was kept"));
    byId("upload-error").hidden = true;
    this.busy(true);
    this.progress(0, this.file.size);
    request.send(this.file);
  }

  progress(sent, total) {
    const [bar, words] = byId("upload-progress").children;
    bar.value = total ? sent / total : 1;
    words.textContent = sent < total ? `${Math.floor((100 * sent) / total)} % sent` : "sent; being checked";
  }

  answered(request) {
    const answer = parsed(request.responseText);
    if (request.status === 200 && answer?.id) return location.assign(`/datasets/${encodeURIComponent(answer.id)}`);
    this.refuse(answer?.error?.message ?? `the server answered ${request.status}`);
  }

  refuse(words) {
    this.busy(false);
    byId("upload-error").textContent = visible(words);
    byId("upload-error").hidden = false;
  }

  busy(isBusy) {
    if (!isBusy) this.request = null;
    byId("upload-progress").hidden = !isBusy;
    byId("upload-go").textContent = isBusy ? "Stop" : "Upload";
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

new Upload(byId("upload"));
