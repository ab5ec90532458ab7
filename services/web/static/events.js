// One job's events, pushed: opens when the tab is seen, closes when it is hidden, goes on after the last event seen.

const TYPES = ["state", "metrics", "checkpoint", "message"];
const RETRY_MILLISECONDS = 2000;

/** Calls `onEvent(event)` for each event once it is read, and `onStatus("live" | "waiting" | "ended")`. */
export class JobEvents {
  constructor(job, { onEvent, onStatus }) {
    this.url = `/v1/jobs/${encodeURIComponent(job)}/events`;
    this.onEvent = onEvent;
    this.onStatus = onStatus;
    this.last = null;
    this.source = null;
    this.ended = false;
    document.addEventListener("visibilitychange", () => this.follow());
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", (event) => event.persisted && this.follow());
  }

  /** Brings the connection in line with whether anybody looks. */
  follow() {
    if (document.hidden) this.close();
    else if (!this.source && !this.ended) this.open();
  }

  open() {
    const after = this.last === null ? "" : `?after=${encodeURIComponent(this.last)}`;
    const source = new EventSource(this.url + after);
    this.source = source;
    source.onopen = () => this.onStatus("live");
    source.onerror = () => this.failed();
    for (const type of TYPES) source.addEventListener(type, (frame) => this.read(frame));
  }

  /** The end comes without a type, which EventSource reads as `message`. */
  read(frame) {
    if (frame.data === "[DONE]") {
      this.end();
      return;
    }
    this.last = frame.lastEventId || this.last;
    this.onEvent(JSON.parse(frame.data));
  }

  end() {
    this.ended = true;
    this.close();
    this.onStatus("ended");
  }

  /** A broken connection is tried again by the browser; one that was refused, by us. */
  failed() {
    this.onStatus("waiting");
    if (this.source?.readyState !== EventSource.CLOSED) return;
    this.close();
    setTimeout(() => this.follow(), RETRY_MILLISECONDS);
  }

  close() {
    this.source?.close();
    this.source = null;
  }
}
