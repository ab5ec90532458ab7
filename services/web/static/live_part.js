// Keeps parts of a page current while the tab is seen: asks the server for them anew. Knows no part's content.

import { morph } from "./morph.js";

const EVERY_MILLISECONDS = 2000;
const PATIENCE = 5; // a part that takes long is asked for less often

/** `path` answers elements that the page has under the same ids. Tells `live` to the document after each change. */
export class LivePart {
  constructor(path, isOver = () => false) {
    this.path = path;
    this.isOver = isOver;
    this.timer = 0;
    this.took = 0;
    document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(this.timer) : this.refresh()));
    document.addEventListener("changed", () => this.refresh());
  }

  wait() {
    clearTimeout(this.timer);
    if (document.hidden || this.isOver()) return;
    this.timer = setTimeout(() => this.refresh(), Math.max(EVERY_MILLISECONDS, PATIENCE * this.took));
  }

  async refresh() {
    clearTimeout(this.timer);
    const began = performance.now();
    try {
      const response = await fetch(this.path + this.query());
      if (response.status === 401) return location.reload();
      if (response.ok) this.replace(await response.text());
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // TypeError: the network; the next try may do
    }
    this.took = performance.now() - began;
    this.wait();
  }

  /** What the address says of the page holds for its parts. */
  query() {
    return this.path.includes("?") ? "" : location.search;
  }

  /** The server escaped it; parsing runs nothing. */
  replace(html) {
    const next = new DOMParser().parseFromString(html, "text/html");
    for (const part of next.querySelectorAll("body > [id]")) {
      const shown = document.getElementById(part.id);
      if (shown) morph(shown, part);
    }
    document.dispatchEvent(new Event("live"));
  }
}
