"""Every task on independent examples: it learns a rule that is simple, resumes exactly, and masks what is not there."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rnncore.batches import SequenceExamples, WindowExamples
from rnncore.checkpoint import restore_network
from rnncore.encoding import Encoding, Scale
from rnncore.sampling import SamplingParameters
from rnncore.spec import JobSpec
from rnncore.stepper import Stepper
from rnncore.tasks.examples import ExampleData
from rnncore.tasks.generate import generate
from rnncore.tasks.table import make_task
from rnncore.tasks.translate import beam_search, greedy
from rnncore.tokens import Tokens

Train = Callable[..., Any]
LETTERS = Tokens(tokens=tuple("abcdefg"))
RANDOM = np.random.default_rng(3)
# Lengths differ within every batch.
WORDS = [RANDOM.integers(0, 7, size=RANDOM.integers(2, 6)) for _ in range(240)]
SERIES = [RANDOM.uniform(-1, 1, size=(len(word), 1)).astype(np.float32) for word in WORDS]
UNIT = Scale(mean=(0.0,), deviation=(1.0,))


def split(inputs: Any, targets: Any, encoding: Encoding) -> ExampleData:
    return ExampleData(
        encoding, SequenceExamples(inputs[:200], targets[:200]), SequenceExamples(inputs[200:], targets[200:])
    )


def classify() -> ExampleData:
    """Whether a word holds an `a`: an end of the word alone does not tell."""
    targets = np.array([int(0 in word) for word in WORDS])
    return split(WORDS, targets, Encoding(inputs=LETTERS, outputs=Tokens(tokens=("no", "yes"))))


def classify_series() -> ExampleData:
    """The sign of a sum of numbers."""
    targets = np.array([int(numbers.sum() > 0) for numbers in SERIES])
    return split(SERIES, targets, Encoding(input_scale=UNIT, outputs=Tokens(tokens=("-", "+"))))


def tag() -> ExampleData:
    """Each symbol's tag is the symbol before it."""
    targets = [np.concatenate([[7], word[:-1]]) for word in WORDS]
    return split(WORDS, targets, Encoding(inputs=LETTERS, outputs=Tokens(tokens=(*"abcdefg", "none"))))


def regress() -> ExampleData:
    """The sum of a short sequence, times ten and beside a hundred."""
    targets = np.array([[10 * numbers.sum() + 100] for numbers in SERIES])
    scale = Scale.of(targets[:200])
    return split(SERIES, scale.normalise(targets), Encoding(input_scale=UNIT, target_scale=scale))


def forecast() -> ExampleData:
    """A sine wave: nothing like persistence forecasts it."""
    series_NC = np.stack([np.sin(np.arange(200) * 0.9), np.arange(200) % 3], axis=1).astype(np.float32)
    encoding = Encoding(
        input_scale=Scale(mean=(0.0, 0.0), deviation=(1.0, 1.0)),
        target_scale=UNIT,
        columns=("wave", "saw"),
        target="wave",
    )
    return ExampleData(
        encoding,
        WindowExamples(series_NC, steps=6, column=0, first=0, end=150),
        WindowExamples(series_NC, steps=6, column=0, first=150, end=200),
    )


def generate_words() -> ExampleData:
    """Label `up` is written abc, label `down` cba."""
    words = [np.array([0, 1, 2]) if n % 2 else np.array([2, 1, 0]) for n in range(240)]
    inputs = [np.concatenate([[7 + n % 2], word]) for n, word in enumerate(words)]
    targets = [np.concatenate([word, [7]]) for word in words]
    return split(inputs, targets, Encoding(inputs=Tokens(tokens=("down", "up")), outputs=LETTERS))


def translate() -> ExampleData:
    """A word's last symbol, twice."""
    targets = [np.array([word[-1], word[-1], 7]) for word in WORDS]
    return split(WORDS, targets, Encoding(inputs=LETTERS, outputs=LETTERS))


DATA: dict[str, tuple[str, Callable[[], ExampleData]]] = {
    "classify": ("classify", classify),
    "classify_series": ("classify", classify_series),
    "tag": ("tag", tag),
    "regress": ("regress", regress),
    "forecast": ("forecast", forecast),
    "generate": ("generate", generate_words),
    "translate": ("translate", translate),
}


def make_spec(name: str, *, model: dict[str, Any] | None = None, **train: Any) -> JobSpec:
    fields = {"batch_size": 16, "max_steps": 120, "learning_rate": 0.02, "warmup_steps": 5, "precision": "fp32"}
    if name == "forecast":
        fields["tbptt_steps"] = 6
    sizes = {"cell": "lstm", "hidden_size": 24, "embedding_size": 9, "dropout": 0.0}
    return JobSpec.model_validate(
        {"dataset": "ds-" + "0" * 32, "task": DATA[name][0], "model": sizes | (model or {}), "train": fields | train}
    )


@pytest.mark.parametrize(
    ("name", "metric", "passes"),
    [
        ("classify", "accuracy", lambda value: value > 0.95),
        ("classify_series", "accuracy", lambda value: value > 0.85),
        ("tag", "accuracy", lambda value: value > 0.98),
        ("regress", "rmse", lambda value: value < 1.0),  # of values that deviate by about 11
        ("forecast", "rmse", lambda value: value < 0.1),
        ("generate", "bits_per_character", lambda value: value < 0.05),
        ("translate", "sequence_error_rate", lambda value: value < 0.1),
    ],
)
def test_task_learns_a_simple_rule(train: Train, name: str, metric: str, passes: Callable[[float], bool]) -> None:
    last = train(make_spec(name), DATA[name][1]()).points[-1]
    assert passes(last.metrics[metric]), last


@pytest.mark.parametrize("name", DATA)
def test_resumed_run_equals_the_uninterrupted_one_bit_for_bit(train: Train, name: str) -> None:
    """An epoch of 200 sequences ends with step 6, one of 144 windows with step 4."""
    model = {"dropout": 0.2, "num_layers": 2}
    spec = make_spec(name, model=model, batch_size=36, max_steps=9, checkpoint_every_steps=1)
    whole = train(spec, DATA[name][1]())
    for step in (1, 4, 6):
        resumed = train(spec, DATA[name][1](), resume=whole.snapshot(step))
        assert resumed.snapshot(9).manifest.files == whole.snapshot(9).manifest.files


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("name", ["classify", "tag", "regress", "translate"])
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_loss_of_a_batch_is_that_of_its_rows_each_alone(
    train: Train, cell: str, name: str, bidirectional: bool
) -> None:
    spec = make_spec(name, model={"cell": cell, "bidirectional": bidirectional, "num_layers": 2}, max_steps=1)
    data = DATA[name][1]()
    task = make_task(spec, data)
    network = restore_network(train(spec, data).snapshot(1))
    numbers = np.array([4, 17, 2, 60, 61])
    together = task.loss(network, data.training.batch(numbers), None)
    alone = [task.loss(network, data.training.batch(numbers[i : i + 1]), None) for i in range(5)]
    total = sum(loss.mean.item() * loss.num_targets for loss in alone)
    assert together.num_targets == sum(loss.num_targets for loss in alone)
    assert together.mean.item() * together.num_targets == pytest.approx(total, rel=1e-5)


def test_gradient_of_a_truncated_sequence_reaches_back_so_far_and_no_further(train: Train) -> None:
    data = regress()
    spec = make_spec("regress", tbptt_steps=3, max_steps=1)
    network = restore_network(train(spec, data).snapshot(1))
    inputs = torch.randn(5, 8, 1, requires_grad=True)
    lengths_B = torch.full((5,), 8)
    (whole,) = torch.autograd.grad(network.last(inputs, lengths_B).sum(), inputs)
    (cut,) = torch.autograd.grad(network.last(inputs, lengths_B, tbptt_steps=3).sum(), inputs)
    torch.testing.assert_close(cut[:, 5:], whole[:, 5:], rtol=0, atol=1e-7)
    assert cut[:, :5].abs().max() == 0
    assert whole[:, :5].abs().min() > 0
    values = network.last(inputs, lengths_B, tbptt_steps=3)
    torch.testing.assert_close(values, network.last(inputs, lengths_B), rtol=0, atol=1e-6)


def test_errors_of_numbers_are_told_in_their_own_units(train: Train) -> None:
    data = regress()
    spec = make_spec("regress", max_steps=1)
    network = restore_network(train(spec, data).snapshot(1))
    task = make_task(spec, data)
    batch = data.validation.batch(np.arange(len(data.validation)))
    scale = data.encoding.numbers_written
    predicted = scale.restore(network.last(batch.inputs, batch.lengths_B).detach().numpy())
    expected = np.sqrt(np.mean((predicted - scale.restore(batch.targets.numpy())) ** 2))
    assert task.evaluate(network).metrics["rmse"] == pytest.approx(float(expected), rel=1e-5)


def test_forecast_stands_beside_persistence(train: Train) -> None:
    data = forecast()
    wave = np.sin(np.arange(200) * 0.9)
    expected = float(np.sqrt(np.mean((wave[150:] - wave[149:-1]) ** 2)))
    point = train(make_spec("forecast", max_steps=1), data).points[-1]
    assert point.metrics["persistence_rmse"] == pytest.approx(expected, rel=1e-4)


def test_label_is_written_as_it_was_learnt(train: Train) -> None:
    run = train(make_spec("generate"), generate_words())
    network, encoding = restore_network(run.snapshot(120)), generate_words().encoding
    parameters = SamplingParameters(temperature=0, max_tokens=9)
    written = generate(Stepper(network), encoding, ["up", "down"], parameters)
    assert ["".join(symbols) for symbols in written] == ["abc", "cba"]
    assert [(sample.prompt, sample.text) for sample in run.samples[120]] == [("down", "cba"), ("up", "abc")]


def test_beam_finds_what_exhaustive_search_finds(train: Train) -> None:
    """Against every target of at most two symbols, scored one by one; a beam as wide as the vocabulary misses none."""
    data = translate()
    network = restore_network(train(make_spec("translate", max_steps=40), data).snapshot(40))
    source = ["a", "d", "c"]
    ids_S = LETTERS.encode(source, param="input")
    best = beam_search(network, Stepper(network), data.encoding, [ids_S], width=8)[0][0]
    ids_BS = torch.from_numpy(ids_S)[None]

    def score(target: list[int]) -> float:
        state = network.encode(ids_BS, torch.tensor([3]))
        logits_BTK, _ = network.decode(torch.tensor([[7, *target]]), state)
        log_p = logits_BTK[0].log_softmax(dim=1)[range(len(target) + 1), [*target, 7]]
        return log_p.sum().item() / (len(target) + 1)

    candidates = [[], *([i] for i in range(7)), *([i, j] for i in range(7) for j in range(7))]
    expected = max(map(score, candidates))
    assert best.score >= expected - 1e-5
    assert best.score == pytest.approx(score(LETTERS.encode(best.symbols, param="x").tolist()), abs=1e-5)


def test_greedy_translation_is_a_beam_of_one_while_it_ends(train: Train) -> None:
    data = translate()
    network = restore_network(train(make_spec("translate"), data).snapshot(120))
    for word in WORDS[200:210]:
        (ids,) = greedy(network, torch.from_numpy(word)[None], torch.tensor([len(word)]))
        ((best,),) = beam_search(network, Stepper(network), data.encoding, [word], width=1)
        assert best.symbols == LETTERS.decode(ids)


def test_scale_of_a_constant_channel_is_one() -> None:
    numbers_NC: NDArray[np.float64] = np.array([[1.0, 5.0], [3.0, 5.0]])
    scale = Scale.of(numbers_NC)
    assert scale == Scale(mean=(2.0, 5.0), deviation=(1.0, 1.0))
    np.testing.assert_allclose(scale.restore(scale.normalise(numbers_NC)), numbers_NC)
