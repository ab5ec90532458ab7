// Buttons that copy the text of another element: `data-copy` names it. Knows no page.

import { byId } from "./dom.js";
import { toast } from "./toasts.js";

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = byId(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(source.textContent);
    toast("Copied.");
  } catch {
    getSelection().selectAllChildren(source); // no clipboard on plain HTTP: one key press away
    toast("Selected: copy it with the keyboard.");
  }
});
