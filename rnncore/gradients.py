"""How far back an answer reaches: the norm of its gradient against the lag.

Shapes: B rows, T steps, C channels, H hidden, K outputs.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rnncore.inspection import Gradient, LayerGradient, short
from rnncore.spec import Task
from rnncore.unrolled import Held, Reader, steps_from, zero_state

_POSITIONS = 16


def gradient(network: Reader, task: Task, inputs_1T: Tensor, lags: int) -> Gradient | None:
    """Of what the task answers, at several positions; None where nothing lies before the answer."""
    steps = inputs_1T.shape[1]
    if task == "language_model":
        last, name = steps - 2, "surprisal of the next symbol"
    else:
        last = steps - 1
        name = "sum of the values" if task in ("regress", "forecast") else "log-probability of the likeliest answer"
    lags = min(lags, last)
    if lags < 1:
        return None
    first = last if task in ("classify", "regress", "forecast") else lags
    positions = sorted({round(at) for at in np.linspace(first, last, _POSITIONS)})

    def answer(outputs_BK: Tensor, at_B: Tensor) -> Tensor:
        if task == "language_model":
            return cross_entropy(outputs_BK, inputs_1T[0, at_B + 1], reduction="none")
        if task in ("regress", "forecast"):
            return outputs_BK.sum(dim=1)
        return outputs_BK.log_softmax(dim=1).amax(dim=1)

    return Gradient(
        answer=name, positions=positions, layers=gradient_by_lag(network, inputs_1T, positions, lags, answer)
    )


def gradient_by_lag(
    network: Reader,
    inputs_1T: Tensor,
    positions: list[int],
    lags: int,
    answer: Callable[[Tensor, Tensor], Tensor],
) -> list[LayerGradient]:
    """Norms of the gradient of `answer` at each position t with respect to the states of t, t-1, ..., t-lags.

    `answer` takes outputs_BK of every position and their numbers_B and returns one number each. The states are those of
    the unrolled network: a fused layer's hidden output has no such gradient.
    """
    before = [position - lags for position in positions]
    held = _states_before(network, inputs_1T, before)
    for state in held:  # frozen weights or not, all that follows has a gradient
        state.h.requires_grad_()
    rows = torch.stack([inputs_1T[0, begin : begin + lags + 1] for begin in before])
    with torch.enable_grad():
        latest_first = [step.held for step in steps_from(network, held, rows)][::-1]
        total = answer(network.output(latest_first[0][-1].h), torch.tensor(positions)).sum()
        hidden = [[step[layer].h for step in latest_first] for layer in range(len(held))]
        cells = [[c for step in latest_first if (c := step[layer].c) is not None] for layer in range(len(held))]
        states = [state for layer in (*hidden, *cells) for state in layer]
        found = iter(torch.autograd.grad(total, states, allow_unused=True))
    norms = [[_norm(next(found)) for _ in layer] for layer in (*hidden, *cells)]
    return [
        LayerGradient(hidden=of_hidden, cell=of_cells or None)
        for of_hidden, of_cells in zip(norms[: len(held)], norms[len(held) :], strict=True)
    ]


@torch.no_grad()
def _states_before(network: Reader, inputs_1T: Tensor, begins: list[int]) -> list[Held]:
    """The states before each of these steps, side by side."""
    found = [step.before for step in steps_from(network, zero_state(network), inputs_1T[:, : max(begins) + 1])]
    rows = [found[begin] for begin in begins]
    beside: list[Held] = []
    for layer, state in enumerate(rows[0]):
        h = torch.cat([row[layer].h for row in rows])
        c = None if state.c is None else torch.cat([c for row in rows if (c := row[layer].c) is not None])
        beside.append(Held(h, c))
    return beside


def _norm(gradient_BH: Tensor | None) -> float:
    """Mean over rows; None is a state that the answer does not depend on."""
    return 0.0 if gradient_BH is None else short(gradient_BH.norm(dim=1).mean().item())
