"""The adding problem (Hochreiter & Schmidhuber 1997): numbers, two of them marked, and the sum of those two."""

import io

import numpy as np


def adding_problem(num_rows: int, steps: int, seed: int) -> bytes:
    """Rows of `steps` pairs (a number in [0, 1), its mark), one mark in each half, as a file of kind `sequences`."""
    inputs, target = sequences(num_rows, steps, seed)
    file = io.BytesIO()
    np.savez_compressed(file, inputs=inputs, target=target)
    return file.getvalue()


def sequences(num_rows: int, steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """inputs_NT2 and target_N, float32."""
    random = np.random.default_rng(seed)
    inputs = np.zeros((num_rows, steps, 2), dtype=np.float32)
    inputs[:, :, 0] = random.uniform(size=(num_rows, steps))
    rows = np.arange(num_rows)
    first, second = random.integers(0, steps // 2, num_rows), random.integers(steps // 2, steps, num_rows)
    inputs[rows, first, 1] = inputs[rows, second, 1] = 1
    return inputs, inputs[rows, first, 0] + inputs[rows, second, 0]
