// Reads the weights that /v1 exports, https://github.com/huggingface/safetensors: float32 alone. Knows no network.

/** Name -> rows of a matrix, or the numbers of a vector. */
export function tensors(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  delete header.__metadata__;
  return Object.fromEntries(Object.entries(header).map(([name, told]) => [name, read(buffer, 8 + length, told, name)]));
}

function read(buffer, begin, { dtype, shape, data_offsets: [from, to] }, name) {
  if (dtype !== "F32") throw new Error(`${name} is ${dtype}; float32 is read here`);
  const numbers = [...new Float32Array(buffer.slice(begin + from, begin + to))];
  if (shape.length === 1) return numbers;
  const [rows, columns] = shape;
  return Array.from({ length: rows }, (_, row) => numbers.slice(row * columns, (row + 1) * columns));
}
