// What the server pushes: a stream that opens when the tab is seen and closes when it is hidden. Knows no page.

const RETRY_MILLISECONDS = 2000;

/** Server-sent events of `url()`, asked anew at each opening. `onEvent(frame)`, `onStatus("live" | "waiting" | "ended")`. */
export class Pushed {
  constructor(url, { types, onEvent, onStatus }) {
    this.url = url;
    this.types = types;
    this.onEvent = onEvent;
    this.onStatus = onStatus;
    this.source = null;
    this.ended = false;
    this.retry = 0;
    document.addEventListener("visibilitychange", () => this.follow());
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", (event) => event.persisted && this.follow());
  }

  /** Brings the connection in line with whether anybody looks. */
  follow() {
    clearTimeout(this.retry);
    if (document.hidden) this.close();
    else if (!this.source && !this.ended) this.open();
  }

  /** The address has changed. */
  reopen() {
    this.close();
    this.follow();
  }

  open() {
    const source = new EventSource(this.url());
    this.source = source;
    source.onopen = () => this.onStatus("live");
    source.onerror = () => this.failed();
    for (const type of this.types) source.addEventListener(type, (frame) => this.onEvent(frame));
  }

  end() {
    this.ended = true;
    this.close();
    this.onStatus("ended");
  }

  /** A stream that broke off is opened anew, by its present address. */
  failed() {
    this.onStatus("waiting");
    this.close();
    this.retry = setTimeout(() => this.follow(), RETRY_MILLISECONDS);
  }

  close() {
    this.source?.close();
    this.source = null;
  }
}

/** One job's events, each once: the stream goes on after the last one seen. `onEvent(event)` once it is read. */
export class JobEvents extends Pushed {
  constructor(job, { onEvent, onStatus }) {
    super(() => `/v1/jobs/${encodeURIComponent(job)}/events${this.last === null ? "" : `?after=${this.last}`}`, {
      types: ["state", "metrics", "checkpoint", "message", "reset"],
      onEvent: (frame) => this.read(frame),
      onStatus,
    });
    this.last = null;
    this.tell = onEvent;
  }

  /** The end comes without a type, which EventSource reads as `message`. */
  read(frame) {
    if (frame.data === "[DONE]") {
      this.end();
      return;
    }
    this.last = frame.lastEventId || this.last;
    this.tell(JSON.parse(frame.data));
  }
}
