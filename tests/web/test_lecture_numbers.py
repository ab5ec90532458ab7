"""What the lecture computes in the browser is what rnncore computes."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from fake_v1 import FakeV1
from playwright.sync_api import Browser, Page
from safetensors.torch import save

from rnncore.cells import CellWeights, gru_cell, gru_gates, lstm_cell, lstm_gates, rnn_cell
from rnncore.sampling import Choices, SamplingParameters

pytestmark = pytest.mark.system

INPUTS, HIDDEN, STEPS = 3, 5, 7
NUM_GATES = {"rnn": 1, "lstm": 4, "gru": 3}


@pytest.fixture
def compute(chromium: Browser, fake: FakeV1) -> Iterator[Callable[..., Any]]:
    """`compute(module, expression, argument)`: the module's names are in `m`, the argument in `a`."""
    page: Page = chromium.new_page()
    page.goto(fake.url + "/login")  # a page of the origin: it lends the modules a place to run

    def run(module: str, expression: str, argument: Any) -> Any:
        script = f"async (a) => {{ const m = await import('/static/lecture/{module}'); return {expression}; }}"
        return page.evaluate(script, argument)

    yield run
    page.close()


def weights(cell: str) -> CellWeights:
    generator = torch.Generator().manual_seed(11)
    rows = NUM_GATES[cell] * HIDDEN
    shapes = ((rows, INPUTS), (rows, HIDDEN), (rows,), (rows,))
    return CellWeights(*(torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes))


def inputs() -> torch.Tensor:
    return torch.randn(STEPS, INPUTS, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def told(cell: str) -> dict[str, Any]:
    w = weights(cell)
    named = {"wIh": w.w_ih.tolist(), "wHh": w.w_hh.tolist(), "bIh": w.b_ih.tolist(), "bHh": w.b_hh.tolist()}
    return {"w": named, "xs": inputs().tolist(), "zero": [0.0] * HIDDEN}


def assert_equal(found: Any, expected: list[torch.Tensor]) -> None:
    assert found == pytest.approx(torch.cat(expected).flatten().tolist(), abs=1e-6)


def test_rnn_steps_as_rnncore_does(compute: Callable[..., Any]) -> None:
    h, expected = torch.zeros(1, HIDDEN, dtype=torch.float64), []
    for x in inputs():
        h = rnn_cell(x[None], h, weights("rnn"))
        expected.append(h)
    script = "(() => { let h = a.zero; return a.xs.flatMap((x) => (h = m.rnnCell(x, h, a.w))); })()"
    assert_equal(compute("cells.js", script, told("rnn")), expected)


def test_lstm_steps_as_rnncore_does(compute: Callable[..., Any]) -> None:
    w = weights("lstm")
    h = c = torch.zeros(1, HIDDEN, dtype=torch.float64)
    expected = []
    for x in inputs():
        gates = lstm_gates(x[None], h, w)
        h, c = lstm_cell(x[None], h, c, w)
        expected += [*gates, c, h]
    script = """(() => {
      let s = { h: a.zero, c: a.zero };
      return a.xs.flatMap((x) => { s = m.lstmCell(x, s.h, s.c, a.w); return [s.i, s.f, s.g, s.o, s.c, s.h].flat(); });
    })()"""
    assert_equal(compute("cells.js", script, told("lstm")), expected)


def test_gru_steps_as_rnncore_does(compute: Callable[..., Any]) -> None:
    w = weights("gru")
    h, expected = torch.zeros(1, HIDDEN, dtype=torch.float64), []
    for x in inputs():
        gates = gru_gates(x[None], h, w)
        h = gru_cell(x[None], h, w)
        expected += [*gates, h]
    script = """(() => {
      let h = a.zero;
      return a.xs.flatMap((x) => { const s = m.gruCell(x, h, a.w); h = s.h; return [s.r, s.z, s.n, s.h].flat(); });
    })()"""
    assert_equal(compute("cells.js", script, told("gru")), expected)


@pytest.mark.parametrize("cut", [3, 99])
def test_gradient_of_one_unit_is_that_of_autograd_and_nothing_beyond_the_cut(
    compute: Callable[..., Any], cut: int
) -> None:
    weight, drive = 1.3, [0.5, -0.2, 0.1, 0.7, -0.4, 0.3]
    states: list[torch.Tensor] = [torch.zeros(1, dtype=torch.float64)]
    for number in drive:
        states.append(torch.tanh(weight * states[-1] + number).requires_grad_())
    gradients = torch.autograd.grad(states[-1], states[1:])
    expected = [abs(gradient.item()) for gradient in gradients][::-1]
    hidden = [state.item() for state in states[1:]]
    told = {"hidden": hidden, "weight": weight, "cut": cut}
    found = compute("cells.js", "m.unitGradients(a.hidden, a.weight, a.cut)", told)
    assert found == pytest.approx([norm if lag < cut else 0 for lag, norm in enumerate(expected)], abs=1e-9)


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(1.0, None, 1.0), (0.5, None, 1.0), (2.0, 4, 1.0), (1.0, None, 0.6), (0.8, 5, 0.7), (1.0, 2, 0.01), (0.0, 3, 0.9)],
)
def test_symbol_is_drawn_from_what_the_sampler_draws_from(
    compute: Callable[..., Any], temperature: float, top_k: int | None, top_p: float
) -> None:
    logits = torch.tensor([0.3, 2.0, -1.0, 1.1, 0.0, 2.0, -3.0])  # two of them equal
    found = compute(
        "distribution.js",
        "m.drawnFrom(a.logits, a.options)",
        {
            "logits": logits.log_softmax(dim=0).tolist(),
            "options": {"temperature": temperature, "topK": top_k, "topP": top_p},
        },
    )
    choices = Choices(1, len(logits))
    choices.join(SamplingParameters(temperature=temperature, top_k=top_k, top_p=top_p, seed=3))
    draws = 4000
    counts = [0] * len(logits)
    for _ in range(draws):
        counts[int(choices.choose(logits[None]).item())] += 1
    assert [share > 0 for share in found if share == 0 or share > 0.01] == [
        count > 0 for count, share in zip(counts, found, strict=True) if share == 0 or share > 0.01
    ]
    assert [count / draws for count in counts] == pytest.approx(found, abs=0.035)
    assert sum(found) == pytest.approx(1)


def test_exported_weights_read_as_they_were_written(compute: Callable[..., Any]) -> None:
    matrix, vector = torch.arange(6.0).reshape(2, 3) / 7, torch.tensor([0.5, -1.25])
    content = save({"matrix": matrix, "vector": vector}, metadata={"format": "pt"})
    found = compute("safetensors.js", "m.tensors(new Uint8Array(a).buffer)", list(content))
    assert found == {"matrix": matrix.double().tolist(), "vector": [0.5, -1.25]}
