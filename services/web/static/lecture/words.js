// The words of the page's language, as the server put them into the page; what a server refused, said in them.

import { ApiError } from "../api.js";
import { visible } from "../text.js";

const root = document.getElementById("lecture");
export const words = JSON.parse(root.dataset.words);
export const mayTrain = root.dataset.mayTrain === "True";

/** `{name}` in a sentence becomes `values.name`. */
export const fill = (sentence, values) => sentence.replace(/\{(\w+)\}/g, (_, name) => values[name]);

/** What to tell people of anything that /v1 refused, in their language, then in its own words; throws what is no refusal. */
export function complaint(error) {
  if (error instanceof TypeError) return words.errors.unreachable;
  if (!(error instanceof ApiError)) throw error;
  const known = { 401: words.errors.session, 403: words.errors.forbidden, 429: words.errors.quota, 503: words.errors.busy, 507: words.errors.full };
  const ours = known[error.status] ?? words.errors.refused;
  return `${ours} (${visible(error.message)})`;
}

/** Shows `error` in `element`; null hides it. */
export function tellError(element, error) {
  element.hidden = error === null;
  element.textContent = error === null ? "" : complaint(error);
}
