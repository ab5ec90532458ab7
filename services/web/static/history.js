// The rows of a run's history, keyed (epoch, step): a resumed run supersedes its predecessors from its first step on.
// Knows no chart. An epoch is a claim of the job; a pass is one reading of the data.

const MOST_POINTS = 20_000;
const AXES = {
  step: (row) => row.step,
  characters: (row) => row.characters,
  passes: (row) => row.passes,
  wall: (row, first) => (row.at === undefined ? row.training_seconds : row.at - first.at),
};

export class History {
  constructor(most = MOST_POINTS) {
    this.most = most;
    this.points = []; // by rising step; epochs never fall
    this.firsts = new Map(); // epoch -> its first step
  }

  /** Takes rows in any order, the same one twice included. */
  add(row) {
    const first = Math.min(this.firsts.get(row.epoch) ?? Infinity, row.step);
    this.firsts.set(row.epoch, first);
    for (const [epoch, step] of this.firsts) if (epoch > row.epoch && row.step >= step) return;
    if (first === row.step) this.points = this.points.filter((p) => p.epoch >= row.epoch || p.step < first);
    let at = this.points.length;
    while (at > 0 && this.points[at - 1].step > row.step) at -= 1;
    const isKnown = at > 0 && this.points[at - 1].step === row.step;
    if (isKnown) this.points[at - 1] = row;
    else this.points.splice(at, 0, row);
    if (this.points.length > this.most) this.thin();
  }

  /** Halves the older half: of each four rows the lowest and the highest loss stay, and every validation. */
  thin() {
    const half = Math.floor(this.points.length / 2);
    const kept = [];
    for (let at = 0; at < half; at += 4) {
      const four = this.points.slice(at, Math.min(at + 4, half));
      const sorted = [...four].sort((a, b) => a.train_loss - b.train_loss);
      const extremes = [sorted[0], sorted.at(-1)];
      kept.push(...four.filter((row) => extremes.includes(row) || row.validation_loss != null));
    }
    this.points = [...kept, ...this.points.slice(half)];
  }

  get isEmpty() {
    return this.points.length === 0;
  }

  /** Where the rows stand on an axis: step, characters, passes or wall (seconds since the first row). */
  axis(name) {
    const of = AXES[name];
    return this.points.map((row) => of(row, this.points[0]));
  }

  /** Whether the rows know where they stand on the axis. */
  has(name) {
    return !this.isEmpty && this.points.every((row) => AXES[name](row, this.points[0]) !== undefined);
  }

  /** Values as a chart takes them. `of(row)`: undefined where nothing was measured, null where it was not a number. */
  column(of) {
    return this.points.map(of);
  }

  /** Where each start but the first begins, on the axis. */
  starts(name) {
    const of = AXES[name];
    const found = [];
    for (let at = 1; at < this.points.length; at += 1) {
      if (this.points[at].epoch !== this.points[at - 1].epoch) found.push(of(this.points[at], this.points[0]));
    }
    return found.map((x, at) => ({ x, label: `attempt ${at + 2}` }));
  }

  /** The names of all that validations measure besides the loss. */
  metricNames() {
    const names = new Set(this.points.flatMap((row) => Object.keys(row.metrics ?? {})));
    return [...names].filter((name) => name !== "bits_per_character").sort();
  }

  /** The newest `limit` rows that were validated, newest first. */
  validations(limit) {
    const rows = this.points.filter((point) => typeof point.validation_loss === "number");
    return rows.slice(-limit).reverse();
  }
}

/** What was measured at every row. */
export const always = (name) => (row) => row[name] ?? null;

/** What was measured where the run was validated alone. */
export const validated = (name) => (row) => row[name] ?? (row.validation_loss === null ? undefined : null);

/** One metric of the validations. */
export const metric = (name) => (row) => row.metrics?.[name] ?? (row.validation_loss === null ? undefined : null);

/** The exponential mean of `weight` (0: none), without the pull of its start; it goes on behind a break. */
export function smoothed(values, weight) {
  let mean = 0;
  let share = 1;
  return values.map((value) => {
    if (value === null || value === undefined) return value;
    mean = weight * mean + (1 - weight) * value;
    share *= weight;
    return mean / (1 - share);
  });
}

/** A log axis has no place for what is not above zero. */
export const positive = (values) => values.map((value) => (value > 0 || value == null ? value : null));
