"""The lecture's parts that need no server: sizes, data, the walk by hand, the report from results."""

import math
import re

import numpy as np
import pytest
import torch
from PIL import Image
from unroll.lecture.adding import sequences
from unroll.lecture.experiments import beyond, equal_sizes, num_parameters
from unroll.lecture.figures import draw
from unroll.lecture.hello import WORD, walk
from unroll.lecture.report import write_report
from unroll.lecture.results import (
    CELLS,
    QUICK,
    Comparison,
    Curve,
    Hello,
    LagGradient,
    Results,
    Row,
    Text,
)

ALPHABET = sorted(set(WORD))


@pytest.mark.parametrize(("cell", "kind"), [("rnn", torch.nn.RNN), ("lstm", torch.nn.LSTM), ("gru", torch.nn.GRU)])
def test_parameters_are_counted_as_torch_has_them(cell, kind):
    layers = [kind(5, 7), torch.nn.Linear(7, 3)]
    counted = sum(p.numel() for layer in layers for p in layer.parameters())
    assert num_parameters(cell, 7, inputs=5, outputs=3) == counted


@pytest.mark.parametrize(("lstm", "inputs", "outputs"), [(32, 2, 1), (128, 32, 103)])
def test_equal_sizes_are_within_two_percent_of_the_lstm(lstm, inputs, outputs):
    sizes = equal_sizes(lstm, inputs=inputs, outputs=outputs)
    budget = num_parameters("lstm", lstm, inputs=inputs, outputs=outputs)
    assert sizes["lstm"] == lstm
    for cell in CELLS:
        assert abs(num_parameters(cell, sizes[cell], inputs=inputs, outputs=outputs) / budget - 1) < 0.02


def test_adding_problem_marks_one_number_in_each_half_and_asks_for_their_sum():
    inputs, target = sequences(50, 11, seed=3)
    numbers, marks = inputs[:, :, 0], inputs[:, :, 1]
    assert (marks[:, :5].sum(axis=1) == 1).all()
    assert (marks[:, 5:].sum(axis=1) == 1).all()
    np.testing.assert_allclose(target, (numbers * marks).sum(axis=1), rtol=1e-6)


def test_walk_takes_the_steps_that_torch_takes():
    torch.manual_seed(5)
    embedding, recurrent, output = torch.nn.Embedding(4, 5), torch.nn.RNN(5, 3), torch.nn.Linear(3, 4)
    weights = {f"recurrent.{name}": tensor.detach().numpy() for name, tensor in recurrent.named_parameters()}
    weights |= {f"output.{name}": tensor.detach().numpy() for name, tensor in output.named_parameters()}
    weights["embedding.weight"] = embedding.weight.detach().numpy()
    steps = walk(weights, ALPHABET)["steps"]
    ids = torch.tensor([ALPHABET.index(symbol) for symbol in WORD[:-1]])
    with torch.no_grad():
        states, _ = recurrent(embedding(ids))
        outputs = output(states)
    assert [(step.symbol, step.target) for step in steps] == [("h", "e"), ("e", "l"), ("l", "l"), ("l", "o")]
    np.testing.assert_allclose([step.h for step in steps], states, atol=1e-6)
    np.testing.assert_allclose([step.y for step in steps], outputs, atol=1e-6)
    np.testing.assert_allclose([step.p for step in steps], outputs.softmax(dim=1), atol=1e-6)


def test_gradient_reaches_to_the_first_lag_with_less_than_the_share():
    gradient = LagGradient(label="RNN", cell="rnn", state="hidden", norms=[2.0, 1.0, 0.1, 0.01])
    assert gradient.reach(0.04) == 3
    assert gradient.reach(0.1) == 2
    assert gradient.reach(0.001) is None


def test_mean_leaves_out_what_diverged():
    assert row("GRU", "gru", [1.0, None, 4.0]).mean == 2.5
    assert math.isnan(row("GRU", "gru", [None]).mean)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ({0.01: 0.2, 0.03: 0.3, 0.1: 0.4}, [0.0033]),
        ({0.01: 0.4, 0.03: 0.3, 0.1: 0.2}, [0.33]),
        ({0.01: 0.4, 0.03: 0.2, 0.1: None}, []),
        ({0.01: None, 0.03: None}, [0.0033]),
        ({0.01: 0.4}, []),
    ],
    ids=["lowest", "highest", "between", "diverged", "single"],
)
def test_search_goes_on_outwards_while_the_best_rate_has_no_neighbour(scores, expected):
    assert beyond(scores) == expected


def test_best_rate_at_the_edge_of_the_search_is_told():
    found = comparison()
    assert [found.is_at_edge(one) for one in found.rows] == [True, False, True]


def test_report_holds_every_number_and_its_own_pictures(tmp_path):
    results = whole()
    page = write_report(results, tmp_path).read_text()
    assert Results.model_validate_json((tmp_path / "results.json").read_text()) == results
    for name in draw(results):
        with Image.open(tmp_path / f"{name}.png") as image:
            low, high = image.convert("L").getextrema()
            assert (low < 60, high) == (True, 255)
    assert page.count("data:image/svg+xml;base64,") == len(draw(results))
    assert not re.search(r'(src|href)="(?!data:)', page)
    for shown in ("0.3750 ± 0.0354", "0.3500 0.4000", "diverged", "4,641", "<strong>With 2 seeds", "more than 3"):
        assert shown in page, shown


def test_title_of_a_text_cannot_write_into_the_page(tmp_path):
    results = whole().model_copy(update={"text": Text(name="<script>x</script>", characters=1, vocabulary=1)})
    assert "<script>" not in write_report(results, tmp_path).read_text()


def row(label, cell, values, rate=0.01, window=None):
    return Row(
        label=label,
        cell=cell,
        hidden_size=32,
        parameters=4641,
        learning_rate=rate,
        tbptt_steps=window,
        values=values,
        seconds=1.0,
        jobs=["job-1"],
    )


def comparison():
    gradients = [
        LagGradient(label=cell.upper(), cell=cell, state="hidden", norms=[1.0, 0.5, 0.2, 0.1]) for cell in CELLS
    ]
    return Comparison(
        score="rmse",
        searched={cell: {"0.001": 0.5, "0.01": 0.4, "0.1": None} for cell in CELLS},
        rows=[
            row("RNN", "rnn", [0.35, 0.4], 0.001),
            row("LSTM", "lstm", [0.1, 0.2]),
            row("GRU", "gru", [0.1, None], 0.1),
        ],
        gru_with_lstm_rate=row("GRU", "gru", [0.1, 0.3]),
        truncated=[row("tbptt_steps 8", "lstm", [0.2, 0.25], window=8)],
        curves=[Curve(label=cell.upper(), cell=cell, steps=[[1, 2]], values=[[0.4, 0.3]]) for cell in CELLS],
        before=gradients,
        after=gradients,
        after_truncated=[gradients[1].model_copy(update={"label": "tbptt_steps 8"})],
    )


def whole():
    weights = np.random.default_rng(0).normal
    walked = walk(
        {
            "embedding.weight": weights(size=(4, 4)),
            "recurrent.weight_ih_l0": weights(size=(3, 4)),
            "recurrent.weight_hh_l0": weights(size=(3, 3)),
            "recurrent.bias_ih_l0": weights(size=3),
            "recurrent.bias_hh_l0": weights(size=3),
            "output.weight": weights(size=(4, 3)),
            "output.bias": weights(size=4),
        },
        ALPHABET,
    )
    language = comparison()
    language = language.model_copy(
        update={"rows": [one.model_copy(update={"tbptt_steps": 64}) for one in language.rows]}
    )
    return Results(
        server="http://127.0.0.1:8000",
        created_at=0.0,
        jobs=40,
        seconds=61.0,
        plan=QUICK,
        text=Text(name="a text", characters=1000, vocabulary=40),
        hello=Hello(alphabet=ALPHABET, **walked, written="hello", largest_difference=1e-5, job="job-1"),
        adding=comparison(),
        language=language,
    )
