// From a distribution to the one that is drawn from: what rnncore/sampling.py does with a row. Knows no document.

const GREEDY_BELOW = 1e-6;

/** Probabilities after temperature, then the topK likeliest (null: all), then the nucleus of mass topP, in their order. */
export function drawnFrom(logProbabilities, { temperature = 1, topK = null, topP = 1 } = {}) {
  const highest = Math.max(...logProbabilities);
  if (temperature < GREEDY_BELOW) {
    const first = logProbabilities.indexOf(highest);
    return logProbabilities.map((_, at) => (at === first ? 1 : 0));
  }
  const weights = logProbabilities.map((value) => Math.exp((value - highest) / temperature));
  const order = weights.map((_, at) => at).sort((a, b) => weights[b] - weights[a]);
  const last = weights[order[Math.min(topK ?? order.length, order.length) - 1]]; // equals of the last one stay too
  const inPlay = order.filter((at) => weights[at] >= last);
  const mass = inPlay.reduce((total, at) => total + weights[at], 0);
  const kept = new Set();
  let before = 0;
  for (const at of inPlay) {
    if (kept.size && topP < 1 && before >= topP * mass) break;
    kept.add(at);
    before += weights[at];
  }
  return weights.map((weight, at) => (kept.has(at) ? weight / before : 0));
}
