// Buttons that change something at /v1: what they do stands in their attributes. Knows no page.

import { send, sentence } from "./api.js";
import { toast } from "./toasts.js";

const SURE_MILLISECONDS = 5000;

/** Gives life to every button of the page, those that come later included. */
export function listen() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-method]");
    if (!button) return;
    if (button.dataset.sure && button.dataset.asking === undefined) ask(button);
    else act(button);
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-alias]")) return;
    event.preventDefault();
    setAlias(event.target);
  });
}

/** A second click within some seconds means it. */
function ask(button) {
  const { innerText: words } = button;
  button.dataset.asking = words;
  button.textContent = button.dataset.sure;
  button.classList.add("asking");
  const back = () => calm(button);
  button.addEventListener("blur", back, { once: true });
  button.addEventListener("keydown", (event) => event.key === "Escape" && back(), { once: true });
  setTimeout(back, SURE_MILLISECONDS);
}

function calm(button) {
  if (button.dataset.asking === undefined) return;
  button.textContent = button.dataset.asking;
  delete button.dataset.asking;
  button.classList.remove("asking");
}

async function act(button) {
  const { method, path, done, next } = button.dataset;
  calm(button);
  button.disabled = true;
  try {
    await send(method, path);
    if (next) return location.assign(next);
    if (done) toast(done);
    document.dispatchEvent(new Event("changed"));
  } catch (error) {
    toast(sentence(error), { isAlarm: true });
  } finally {
    button.disabled = false;
  }
}

async function setAlias(form) {
  const name = new FormData(form).get("alias").trim();
  try {
    const model = await send("PUT", `/v1/models/${encodeURIComponent(name)}`, { model: form.dataset.alias });
    toast(`${model.id} stands for ${model.alias_of} now.`);
    document.dispatchEvent(new Event("changed"));
  } catch (error) {
    toast(sentence(error), { isAlarm: true });
  }
}
