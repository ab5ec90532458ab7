// Short words at the edge of the page about what was done or refused. Knows no page.

import { visible } from "./text.js";

const SHOWN_MILLISECONDS = 6000;

/** Shows `words`; an alarm stays until it is clicked away. */
export function toast(words, { isAlarm = false } = {}) {
  const note = document.createElement("div");
  note.className = isAlarm ? "toast alarm" : "toast";
  const text = document.createElement("span");
  text.textContent = visible(words);
  const close = document.createElement("button");
  close.type = "button";
  close.className = "plain";
  close.textContent = "Close";
  close.addEventListener("click", () => note.remove());
  note.append(text, close);
  document.getElementById("toasts").append(note);
  if (!isAlarm) setTimeout(() => note.remove(), SHOWN_MILLISECONDS);
}
