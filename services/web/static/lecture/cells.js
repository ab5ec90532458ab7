// One step of each recurrent cell: the equations of rnncore/cells.py in plain numbers. Knows no document.
//
// Weights lie as PyTorch keeps them: wIh (G*H x I) and wHh (G*H x H) are lists of rows, bIh and bHh lists of G*H
// numbers; gates are stacked i f g o (LSTM) and r z n (GRU). A test holds every function against its original.

export const sigmoid = (a) => 1 / (1 + Math.exp(-a));
export const product = (matrix, vector) => matrix.map((row) => row.reduce((sum, w, at) => sum + w * vector[at], 0));
export const sum = (...vectors) => vectors[0].map((_, at) => vectors.reduce((total, vector) => total + vector[at], 0));

const times = (a, b) => a.map((value, at) => value * b[at]);
const blocks = (vector, size) => Array.from({ length: vector.length / size }, (_, at) => vector.slice(at * size, (at + 1) * size));

/** h' = tanh(W_ih x + b_ih + W_hh h + b_hh). */
export function rnnCell(x, h, { wIh, wHh, bIh, bHh }) {
  return sum(product(wIh, x), bIh, product(wHh, h), bHh).map(Math.tanh);
}

/** { i, f, g, o, c, h }: c' = f*c + i*g, h' = o*tanh(c'). */
export function lstmCell(x, h, c, { wIh, wHh, bIh, bHh }) {
  const [a, b, d, e] = blocks(sum(product(wIh, x), bIh, product(wHh, h), bHh), h.length);
  const [i, f, g, o] = [a.map(sigmoid), b.map(sigmoid), d.map(Math.tanh), e.map(sigmoid)];
  const next = sum(times(f, c), times(i, g));
  return { i, f, g, o, c: next, h: times(o, next.map(Math.tanh)) };
}

/** { r, z, n, h }: n = tanh(W x + b + r*(U h + b')), h' = (1-z)*n + z*h. */
export function gruCell(x, h, { wIh, wHh, bIh, bHh }) {
  const [xR, xZ, xN] = blocks(sum(product(wIh, x), bIh), h.length);
  const [hR, hZ, hN] = blocks(sum(product(wHh, h), bHh), h.length);
  const r = sum(xR, hR).map(sigmoid);
  const z = sum(xZ, hZ).map(sigmoid);
  const n = sum(xN, times(r, hN)).map(Math.tanh);
  return { r, z, n, h: sum(times(z.map((share) => 1 - share), n), times(z, h)) };
}

export function softmax(logits) {
  const highest = Math.max(...logits);
  const weights = logits.map((logit) => Math.exp(logit - highest));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / total);
}

/** |d h_T / d h_(T-k)| of one tanh unit for k = 0, 1, ...: the product of w*(1 - h^2) on the way; 0 from `cut` on. */
export function unitGradients(hidden, weight, cut = Infinity) {
  const norms = [];
  let gradient = 1;
  for (let lag = 0; lag < hidden.length; lag += 1) {
    norms.push(lag < cut ? Math.abs(gradient) : 0);
    const h = hidden[hidden.length - 1 - lag];
    gradient *= weight * (1 - h * h);
  }
  return norms;
}
