// Keeps the run list current: asks the server for it anew while the tab is seen. Knows no row's content.

const EVERY_MILLISECONDS = 3000;

class RunList {
  constructor() {
    this.timer = 0;
    document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(this.timer) : this.refresh()));
  }

  wait() {
    clearTimeout(this.timer);
    if (!document.hidden) this.timer = setTimeout(() => this.refresh(), EVERY_MILLISECONDS);
  }

  async refresh() {
    clearTimeout(this.timer);
    try {
      const response = await fetch("/parts/runs");
      if (response.status === 401) return location.reload();
      if (response.ok) this.replace(await response.text());
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // TypeError: the network; the next try may do
    }
    this.wait();
  }

  /** The server escaped it; parsing runs nothing. Focus, selection and scroll stay where nothing changed. */
  replace(html) {
    const next = new DOMParser().parseFromString(html, "text/html").getElementById("runs");
    const shown = document.getElementById("runs");
    if (!next || next.isEqualNode(shown)) return;
    const focused = shown.contains(document.activeElement) ? document.activeElement.id : "";
    shown.replaceWith(document.adoptNode(next));
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }
}

new RunList().wait();
