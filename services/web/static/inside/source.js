// Where Inspections come from: stored with a checkpoint, or asked for anew. Each is asked for once. Knows no view.

import { getJson, send } from "../api.js";
import { areBytes, textOf } from "../symbols.js";

const MOST_UNITS = 24;
const MOST_ALTERNATIVES = 5;
const LONGEST_WINDOW = 1024;
const FEWEST_SYMBOLS = 2;

export class Source {
  constructor(run) {
    this.run = run;
    this.job = null;
    this.cache = new Map();
  }

  async checkpoints() {
    const { data } = await getJson(`${this.run.path}/checkpoints`);
    return data.toSorted((one, other) => one.step - other.step);
  }

  /** What was seen when the checkpoint was made. */
  stored({ step, parameters_sha256 }) {
    return this.once(`stored ${parameters_sha256}`, () => getJson(`${this.run.path}/checkpoints/${step}/inspection`));
  }

  /** Any input, seen by the checkpoint now; with `unit` that unit alone is shown. */
  async inspect({ step, parameters_sha256 }, input, unit = null) {
    const request = {
      model: `${this.run.id}:step-${step}`,
      input,
      top: MOST_ALTERNATIVES,
      num_units: MOST_UNITS,
      units: unit ? [unit] : [],
      window: Math.min(this.job.spec.train.tbptt_steps ?? 64, LONGEST_WINDOW),
    };
    return this.once(`${parameters_sha256} ${JSON.stringify(request)}`, () => send("POST", "/v1/inspect", request));
  }

  /** `seen` with `unit` among its units, which is asked for where it is not; the text must be one that can be sent. */
  async withUnit(checkpoint, seen, unit) {
    if (!unit || seen.units.some((one) => one.layer === unit.layer && one.unit === unit.unit)) return seen;
    const input = inputOf(seen);
    if (input === null) return seen;
    const { units } = await this.inspect(checkpoint, input, unit);
    return { ...seen, units: [...units, ...seen.units] };
  }

  once(key, ask) {
    if (!this.cache.has(key)) {
      const answer = ask();
      this.cache.set(key, answer);
      answer.catch(() => this.cache.delete(key));
    }
    return this.cache.get(key);
  }
}

/** What to send to have the same input looked at again; null where the symbols shown do not tell. */
function inputOf({ task, symbols }) {
  const names = symbols.map(({ symbol }) => symbol);
  if (names.length < FEWEST_SYMBOLS || !["language_model", "classify", "tag"].includes(task)) return null;
  if (names.includes("\ufffd")) return null; // a symbol that the model did not know
  return areBytes(names) || task === "language_model" ? textOf(names) : names;
}
