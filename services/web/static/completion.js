// The small form that continues a prompt: what the model writes appears as it is written. Knows no job.

import { complete, sentence } from "./api.js";
import { visible } from "./text.js";

export class CompletionForm {
  constructor(form) {
    this.form = form;
    this.button = form.querySelector("#try-go");
    this.output = document.getElementById("completion");
    this.error = document.getElementById("try-error");
    this.running = null;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.running) this.running.abort();
      else this.run();
    });
    this.button.disabled = false;
  }

  request() {
    const fields = new FormData(this.form);
    const request = {
      model: fields.get("model"),
      prompt: fields.get("prompt").replaceAll("\r\n", "\n"),
      max_tokens: Number(fields.get("max_tokens")),
      temperature: Number(fields.get("temperature")),
    };
    return fields.get("seed") === "" ? request : { ...request, seed: Number(fields.get("seed")) };
  }

  async run() {
    const request = this.request();
    this.begin(request.prompt);
    try {
      for await (const piece of complete(request, this.running.signal)) this.output.append(visible(piece));
    } catch (error) {
      if (error.name !== "AbortError") this.refuse(error);
    } finally {
      this.running = null;
      this.button.textContent = "Complete";
      this.output.setAttribute("aria-busy", "false");
    }
  }

  begin(prompt) {
    this.running = new AbortController();
    this.button.textContent = "Stop";
    this.error.hidden = true;
    const asked = document.createElement("span");
    asked.className = "prompt";
    asked.textContent = visible(prompt);
    this.output.replaceChildren(asked);
    this.output.hidden = false;
    this.output.setAttribute("aria-busy", "true");
  }

  refuse(error) {
    this.error.textContent = visible(sentence(error));
    this.error.hidden = false;
    if (this.output.childNodes.length === 1) this.output.hidden = true;
  }
}
