// Keeps parts of a page current while the tab is seen: the server pushes each as it changes. Knows no part's content.

import { Pushed } from "./events.js";
import { morph } from "./morph.js";

/** `path` answers elements that the page has under the same ids. Tells `live` to the document after each change. */
export class LivePart {
  constructor(path, isOver = () => false) {
    this.path = path;
    this.isOver = isOver;
    this.source = new Pushed(() => this.path + this.query(), {
      types: ["part"],
      onEvent: (frame) => this.show(JSON.parse(frame.data)),
      onStatus: (status) => status === "waiting" && this.refresh(), // a session that is over shows itself
    });
    document.addEventListener("changed", () => this.refresh());
  }

  follow() {
    if (this.isOver()) this.source.end();
    else this.source.follow();
  }

  /** Asks at once, where the reader has done something and waits to see it. */
  async refresh() {
    try {
      const response = await fetch(this.path + this.query());
      if (response.status === 401) return location.reload();
      if (response.ok) this.show(await response.text());
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // TypeError: the network; the stream comes back by itself
    }
  }

  /** What the address says of the page holds for its parts. */
  query() {
    return this.path.includes("?") ? "" : location.search;
  }

  show(html) {
    this.replace(html);
    if (this.isOver() && !this.source.ended) this.source.end();
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
