"""How far the layers are from their equations: largest differences of outputs, states and every gradient.

    python benchmarks/equality.py

Against the one-step cells unrolled by hand, all in float64, with a given initial state and with rows of unequal length;
and, in float32, the exported graph in ONNX Runtime against the network. Exits 1 above 1e-10 or 1e-5.
"""

import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.rnncore.test_export import IDS, made, run, zero_state
from tests.rnncore.test_export import LENGTHS as ROW_LENGTHS
from tests.rnncore.test_recurrence import LENGTHS, VARIANTS, make_layers, tensors, unrolled

MOST_FLOAT64, MOST_FLOAT32 = 1e-10, 1e-5


def main() -> None:
    """Prints the table."""
    print(f"{'cell':<18} {'layers':>6} {'direction':<14} {'outputs':>9} {'gradients':>9} {'onnx fp32':>9}")
    worst = [0.0, 0.0, 0.0]
    for (cell, reset_after), num_layers, bidirectional in product(VARIANTS, (1, 2, 3), (False, True)):
        outputs, gradients = float64(cell, reset_after, num_layers, bidirectional)
        onnx = float32(cell, reset_after, num_layers, bidirectional)
        worst = [max(pair) for pair in zip(worst, (outputs, gradients, onnx), strict=True)]
        name = f"{cell}, reset {'after' if reset_after else 'before'}" if cell == "gru" else cell
        direction = "both" if bidirectional else "forward"
        print(f"{name:<18} {num_layers:>6} {direction:<14} {outputs:>9.1e} {gradients:>9.1e} {onnx:>9.1e}")
    sys.exit(max(worst[:2]) > MOST_FLOAT64 or worst[2] > MOST_FLOAT32)


def float64(cell: str, reset_after: bool, num_layers: int, bidirectional: bool) -> tuple[float, float]:
    """Largest differences of outputs and states, and of gradients, whole rows and ragged ones."""
    layers = make_layers(cell, reset_after, num_layers, bidirectional)
    shape = (num_layers * (1 + bidirectional), 3, 5)
    h, c = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in range(2))
    state: Any = (h, c) if cell == "lstm" else h
    x_BTI = torch.randn(3, 6, 4, dtype=torch.float64, requires_grad=True)
    outputs = gradients = 0.0
    for lengths in (None, LENGTHS):
        ours = _all(layers, x_BTI, state, layers(x_BTI, state, lengths))
        reference = _all(layers, x_BTI, state, unrolled(layers, cell, reset_after, x_BTI, state, lengths))
        outputs = max(outputs, _most(ours[0], reference[0]))
        gradients = max(gradients, _most(ours[1], reference[1]))
    return outputs, gradients


def float32(cell: str, reset_after: bool, num_layers: int, bidirectional: bool) -> float:
    """Largest difference of the logits of `classify`, rows of unequal length."""
    network, _, session = made(
        "classify", cell=cell, reset_after=reset_after, num_layers=num_layers, bidirectional=bidirectional
    )
    got = run(session, ids=IDS, lengths=ROW_LENGTHS, **zero_state(session))["logits"]
    expected = network.last(torch.from_numpy(IDS), torch.from_numpy(ROW_LENGTHS)).detach().numpy()
    return float(np.abs(got - expected).max())


def _all(layers: Any, x_BTI: Tensor, state: Any, answer: Any) -> tuple[list[Tensor], list[Tensor]]:
    parts = [answer[0], *tensors(answer[1])]
    torch.manual_seed(2)
    loss = torch.stack([(part * torch.randn(part.shape, dtype=part.dtype)).sum() for part in parts]).sum()
    return parts, list(torch.autograd.grad(loss, [x_BTI, *tensors(state), *layers.parameters()]))


def _most(ours: list[Tensor], reference: list[Tensor]) -> float:
    return max((a - b).abs().max().item() for a, b in zip(ours, reference, strict=True))


if __name__ == "__main__":
    main()
