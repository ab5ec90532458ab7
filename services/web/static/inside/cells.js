// LSTM against GRU against RNN on the same data: runs chosen, seeds grouped, spread shown. Asks /v1 for what it draws.

import { getJson } from "../api.js";
import { bitsOf } from "../symbol_detail.js";
import { decimals, visible } from "../text.js";
import { Plot } from "./plot.js";
import { extent, short } from "./scale.js";
import { View } from "./view.js";

const MOST_RUNS = 15;
const ENOUGH_SEEDS = 5;
const HISTORY_POINTS = 200;
const JOBS_ASKED = 100;

export class CellsView extends View {
  constructor(id) {
    super(id);
    this.curves = new Plot(this.section.querySelector(".cells-curves"), "Validation loss by step");
    this.gradients = new Plot(this.section.querySelector(".cells-gradients"), "Gradient norm against lag, relative to lag 0");
    this.choices = this.section.querySelector(".runs-chosen");
    this.known = new Map(); // job id -> what was read of it
    this.choices.addEventListener("change", () => this.draw());
  }

  /** Offers the runs on the data set of `job`; those that were trained alike are chosen at once. */
  async start(job) {
    const { data } = await getJson(`/v1/jobs?limit=${JOBS_ASKED}`);
    const peers = data.filter((one) => one.spec?.dataset === job.spec.dataset && one.spec.task === job.spec.task && one.best);
    if (!this.has(peers.length > 1 ? null : "There is no other run on this data set yet. Submit one with another cell: unroll submit DATASET --cell gru")) return;
    const alike = peers.filter((one) => budget(one) === budget(job)).slice(0, MOST_RUNS);
    this.jobs = new Map(peers.map((one) => [one.id, one]));
    this.choices.replaceChildren(...peers.map((one) => choice(one, alike.includes(one))));
    await this.draw();
  }

  async draw() {
    const boxes = [...this.choices.querySelectorAll("input")];
    const chosen = boxes.filter((box) => box.checked);
    for (const box of boxes) box.disabled = !box.checked && chosen.length >= MOST_RUNS;
    const runs = await Promise.all(chosen.map((box) => this.read(this.jobs.get(box.value))));
    const groups = Object.entries(Object.groupBy(runs, (run) => run.network)).map(([name, members], style) => ({ name, style, members }));
    this.draw_curves(groups);
    this.draw_gradients(groups);
    this.note.textContent = honest(groups);
    this.tabulate(() => ({
      heads: ["Network", "Seeds", "Best bits, mean", "Spread (standard deviation)", "Lowest", "Highest"],
      rows: groups.map(({ name, members }) => scores(name, members)),
    }));
  }

  /** The validations of a run, and how its gradient reaches back at its newest checkpoint. */
  async read(job) {
    const known = this.known.get(job.id);
    if (known?.step === job.progress.step) return known;
    const path = `/v1/jobs/${encodeURIComponent(job.id)}`;
    const [history, checkpoints] = await Promise.all([getJson(`${path}/metrics?points=${HISTORY_POINTS}`), getJson(`${path}/checkpoints`)]);
    const newest = checkpoints.data.reduce((best, one) => Math.max(best, one.step), -1);
    // A network that cannot be looked into has curves all the same.
    const inside = newest < 0 ? null : await getJson(`${path}/checkpoints/${newest}/inspection`).catch(() => null);
    const read = {
      network: networkOf(job),
      step: job.progress.step,
      best: bitsOf(job.best.validation_loss),
      losses: new Map(history.data.filter((row) => row.validation_loss != null).map((row) => [row.step, bitsOf(row.validation_loss)])),
      gradient: inside?.gradient?.layers.at(-1).hidden ?? [],
    };
    this.known.set(job.id, read);
    return read;
  }

  draw_curves(groups) {
    this.curves.show({
      x: { words: "step", short: "step" },
      y: { words: "validation loss in bits" },
      lines: groups.map((group) => line(group, [...new Set(group.members.flatMap(({ losses }) => [...losses.keys()]))].sort((a, b) => a - b), ({ losses }, step) => losses.get(step))),
    });
  }

  draw_gradients(groups) {
    const lags = (members) => Array.from({ length: Math.max(0, ...members.map(({ gradient }) => gradient.length)) }, (_, lag) => lag);
    this.gradients.show({
      x: { words: "lag: steps back", short: "lag" },
      y: { words: "gradient norm, of that at lag 0", isLog: true },
      lines: groups.map((group) => line(group, lags(group.members), ({ gradient }, lag) => (gradient[0] > 0 ? gradient[lag] / gradient[0] : undefined))),
    });
  }
}

/** Mean over the members of a group where all have a value, and a band from the lowest to the highest. */
function line({ name, style, members }, xs, valueAt) {
  const rows = xs.flatMap((x) => {
    const values = members.map((member) => valueAt(member, x));
    return values.every((value) => value !== undefined) ? [[x, mean(values), ...extent(values)]] : [];
  });
  return {
    name: `${name}, ${members.length} ${members.length === 1 ? "seed" : "seeds"}`,
    style,
    points: rows.map(([x, middle]) => [x, middle]),
    band: members.length > 1 ? rows.filter(([, , low]) => low > 0).map(([x, , low, high]) => [x, low, high]) : undefined,
  };
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function scores(name, members) {
  const bests = members.map(({ best }) => best);
  const middle = mean(bests);
  const spread = bests.length > 1 ? Math.sqrt(bests.reduce((sum, best) => sum + (best - middle) ** 2, 0) / (bests.length - 1)) : null;
  return [name, String(bests.length), decimals(middle, 3), short(spread), decimals(Math.min(...bests), 3), decimals(Math.max(...bests), 3)];
}

function honest(groups) {
  if (groups.length < 2) return "Choose runs of different networks to compare them.";
  const fewest = Math.min(...groups.map(({ members }) => members.length));
  const few = fewest < ENOUGH_SEEDS ? `It takes ${ENOUGH_SEEDS} seeds of each to tell a difference from chance; these have ${fewest}. ` : "";
  return `Lines are means over seeds, bands reach from the lowest to the highest. ${few}Equal sizes are not equal numbers of parameters: of one size an LSTM has four times those of an RNN, a GRU three times.`;
}

const networkOf = ({ spec: { model } }) => `${model.cell} ${model.hidden_size}x${model.num_layers}`;

/** How long and on what windows a run was trained. */
function budget({ spec: { train } }) {
  return JSON.stringify([train.batch_size, train.tbptt_steps, train.max_steps, train.max_epochs, train.max_seconds]);
}

function choice(job, isChosen) {
  const label = document.createElement("label");
  const box = document.createElement("input");
  box.type = "checkbox";
  box.value = job.id;
  box.checked = isChosen;
  const name = document.createElement("bdi");
  name.textContent = visible(job.spec.name ?? job.id);
  const quiet = document.createElement("span");
  quiet.className = "quiet";
  quiet.textContent = `${networkOf(job)}, seed ${job.spec.train.seed}, best ${decimals(bitsOf(job.best.validation_loss), 3)} bits`;
  label.append(box, name, quiet);
  return label;
}
