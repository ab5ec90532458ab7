"""Exported graphs in ONNX Runtime against the networks they came from. B 3, T 6, V 11, C 2."""

import json
from itertools import product
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from rnncore.encoding import Encoding, Scale
from rnncore.export import to_onnx
from rnncore.manifest import Manifest, Progress
from rnncore.spec import ModelSpec, Task
from rnncore.tasks.table import make_network
from rnncore.tokens import Tokens
from rnncore.vocabulary import Vocabulary

VARIANTS = [("rnn", True), ("lstm", True), ("gru", True), ("gru", False)]
LETTERS = Tokens(tokens=tuple("abcdefghijk"))
LABELS = Tokens(tokens=("no", "yes"))
SCALE = Scale(mean=(5.0, -3.0), deviation=(2.0, 0.5))
ONE = Scale(mean=(100.0,), deviation=(10.0,))
LENGTHS = np.array([4, 6, 1])
IDS = np.random.default_rng(0).integers(0, 11, (3, 6))
NUMBERS = np.random.default_rng(1).normal(size=(3, 6, 2)).astype(np.float32) * 2 + 4
ENCODINGS: dict[Task, Encoding] = {
    "language_model": Encoding(vocabulary=Vocabulary(kind="characters", symbols="abcdefghijk")),
    "tag": Encoding(inputs=LETTERS, outputs=LABELS),
    "classify": Encoding(inputs=LETTERS, outputs=LABELS),
    "generate": Encoding(inputs=Tokens(tokens=("x",)), outputs=Tokens(tokens=tuple("abcdefghij"))),
    "regress": Encoding(input_scale=SCALE, target_scale=ONE),
    "forecast": Encoding(input_scale=SCALE, target_scale=ONE, columns=("p", "q"), target="p"),
    "translate": Encoding(inputs=LETTERS, outputs=Tokens(tokens=tuple("abcdefghij"))),
}


def made(task: Task, **fields: Any) -> tuple[Any, Manifest, onnxruntime.InferenceSession]:
    """A network with weights of its own, its manifest, and the exported graph ready to run."""
    model = ModelSpec.model_validate({"hidden_size": 7, "embedding_size": 4, "dropout": 0.3} | fields)
    torch.manual_seed(3)
    network = make_network(task, model, ENCODINGS[task]).eval()
    with torch.no_grad():  # biases too, which start at zero
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    manifest = Manifest(
        job="job-1",
        epoch=1,
        task=task,
        model=model,
        encoding=ENCODINGS[task],
        precision="fp32",
        progress=Progress(step=800),
        parameters_sha256="f" * 64,
        files={},
    )
    session = onnxruntime.InferenceSession(to_onnx(network, manifest), providers=["CPUExecutionProvider"])
    return network, manifest, session


def run(session: onnxruntime.InferenceSession, **inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Outputs by name; `lengths` are given as 32-bit integers where the graph reads any."""
    asked = {value.name for value in session.get_inputs()}
    given = {name: array.astype(np.int32) if name == "lengths" else array for name, array in inputs.items()}
    outputs = session.run(None, {name: array for name, array in given.items() if name in asked})
    return dict(zip([value.name for value in session.get_outputs()], outputs, strict=True))


def zero_state(session: onnxruntime.InferenceSession) -> dict[str, NDArray[Any]]:
    return {
        value.name: np.zeros((value.shape[0], 3, value.shape[2]), np.float32)
        for value in session.get_inputs()
        if value.name in ("h", "c")
    }


def assert_equal(ours: NDArray[Any], theirs: torch.Tensor) -> None:
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("variant", "num_layers"), list(product(VARIANTS, (1, 2))))
def test_language_model_with_its_state_handed_on(variant: tuple[str, bool], num_layers: int) -> None:
    network, _, session = made("language_model", cell=variant[0], reset_after=variant[1], num_layers=num_layers)
    first = run(session, ids=IDS[:, :4], **zero_state(session))
    state = {name: first[f"{name}_out"] for name in ("h", "c") if f"{name}_out" in first}
    assert ("c" in state) == (variant[0] == "lstm")
    second = run(session, ids=IDS[:, 4:], **state)
    expected, last = network(torch.from_numpy(IDS))
    assert_equal(np.concatenate([first["logits"], second["logits"]], axis=1), expected)
    assert_equal(second["h_out"], last[0] if isinstance(last, tuple) else last)
    if isinstance(last, tuple):
        assert_equal(second["c_out"], last[1])


@pytest.mark.parametrize(("variant", "bidirectional"), list(product(VARIANTS, (False, True))))
def test_rows_of_unequal_length(variant: tuple[str, bool], bidirectional: bool) -> None:
    fields = {"cell": variant[0], "reset_after": variant[1], "bidirectional": bidirectional, "num_layers": 2}
    network, _, session = made("classify", **fields)
    got = run(session, ids=IDS, lengths=LENGTHS, **zero_state(session))
    assert_equal(got["logits"], network.last(torch.from_numpy(IDS), torch.from_numpy(LENGTHS)))
    assert ("h_out" in got) == (not bidirectional)

    network, _, session = made("tag", **fields)
    got = run(session, ids=IDS, lengths=LENGTHS, **zero_state(session))
    expected = network.each(torch.from_numpy(IDS), torch.from_numpy(LENGTHS))[0]
    for row, length in enumerate(LENGTHS):
        assert_equal(got["logits"][row, :length], expected[row, :length])


@pytest.mark.parametrize("task", ["regress", "forecast"])
def test_numbers_go_in_and_come_out_in_their_own_units(task: Task) -> None:
    network, manifest, session = made(task, cell="gru")
    got = run(session, numbers=NUMBERS, lengths=LENGTHS, **zero_state(session))
    normal = torch.from_numpy(manifest.encoding.numbers_read.normalise(NUMBERS))
    expected = manifest.encoding.numbers_written.restore(
        network.last(normal, torch.from_numpy(LENGTHS)).detach().numpy()
    )
    np.testing.assert_allclose(got["values"], expected, rtol=0, atol=1e-4)  # a deviation is 10
    assert abs(expected.mean() - 100) < 20


def test_one_to_many() -> None:
    network, _, session = made("generate")
    got = run(session, ids=IDS, lengths=np.array([6, 6, 6]), **zero_state(session))
    assert_equal(got["logits"], network.each(torch.from_numpy(IDS), torch.tensor([6, 6, 6]))[0])


@pytest.mark.parametrize(("cell", "bidirectional", "num_layers"), list(product(("gru", "lstm"), (False, True), (1, 2))))
def test_encoder_and_decoder_are_one_graph(cell: str, bidirectional: bool, num_layers: int) -> None:
    network, _, session = made("translate", cell=cell, bidirectional=bidirectional, num_layers=num_layers)
    got = run(session, source_ids=IDS, lengths=LENGTHS, target_ids=IDS[:, :5])
    state = network.encode(torch.from_numpy(IDS), torch.from_numpy(LENGTHS))
    assert_equal(got["logits"], network.decode(torch.from_numpy(IDS[:, :5]), state)[0])


def test_the_graph_says_whose_it_is_and_what_ids_mean() -> None:
    network, manifest, _ = made("language_model")
    described = {entry.key: entry.value for entry in onnx.load_from_string(to_onnx(network, manifest)).metadata_props}
    assert described.pop("encoding") == manifest.encoding.model_dump_json(exclude_defaults=True)
    assert json.loads(manifest.encoding.model_dump_json())["vocabulary"]["symbols"] == "abcdefghijk"
    assert described == {
        "job": "job-1",
        "step": "800",
        "task": "language_model",
        "parameters_sha256": "f" * 64,
    }


def test_tied_weights_are_exported_in_both_places() -> None:
    network, _, session = made("language_model", embedding_size=7, tie_weights=True)
    got = run(session, ids=IDS, **zero_state(session))
    assert_equal(got["logits"], network(torch.from_numpy(IDS))[0])
