// The points of a loss curve, keyed (epoch, step): a resumed run supersedes its predecessors from its first step on.

export class History {
  constructor() {
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
  }

  /** [steps, training losses, validation losses], null where there is none. */
  columns() {
    const read = (name) => this.points.map((point) => point[name] ?? null);
    return [read("step"), read("train_loss"), read("validation_loss")];
  }

  /** The newest `limit` rows that were validated, newest first. */
  validations(limit) {
    const rows = this.points.filter((point) => typeof point.validation_loss === "number");
    return rows.slice(-limit).reverse();
  }
}
