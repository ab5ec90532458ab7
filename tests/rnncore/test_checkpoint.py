"""Checkpoint folders: whole and ours, or refused."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from rnncore.checkpoint import Snapshot, load_checkpoint, network_weights, restore_network, save_checkpoint
from rnncore.encoding import Encoding
from rnncore.errors import CorruptCheckpoint
from rnncore.manifest import MANIFEST, TRAINING, WEIGHTS, Manifest, Progress
from rnncore.network import RecurrentNetwork
from rnncore.spec import Cell, JobSpec
from rnncore.text import TextData
from rnncore.vocabulary import Vocabulary

SECRET = b"secret of the tests"
MakeNetwork = Callable[..., RecurrentNetwork]


def snapshot_of(network: RecurrentNetwork) -> Snapshot:
    manifest = Manifest(
        job="job-1",
        epoch=1,
        task="language_model",
        model=network.model,
        encoding=Encoding(vocabulary=Vocabulary(kind="characters", symbols="abcdefghijk")),
        precision="fp32",
        progress=Progress(step=3),
        parameters_sha256="",
        files={},
    )
    return Snapshot(manifest, network_weights(network), {"state.h": torch.ones(2, 3, 7), "rng.torch": torch.arange(5)})


@pytest.fixture
def folder(tmp_path: Path, make_network: MakeNetwork) -> Path:
    path = tmp_path / "step-3"
    save_checkpoint(path, snapshot_of(make_network()), SECRET)
    return path


def logits(network: RecurrentNetwork) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = network(torch.arange(5)[None])[0]
    return result


@pytest.mark.parametrize(
    "fields",
    [{"cell": "rnn"}, {"cell": "lstm"}, {"cell": "gru"}, {"embedding_size": 7, "tie_weights": True}],
    ids=["rnn", "lstm", "gru", "tied"],
)
def test_checkpoint_is_read_back_whole(tmp_path: Path, make_network: MakeNetwork, fields: dict[str, Any]) -> None:
    network = make_network(**fields)
    saved = snapshot_of(network)
    manifest = save_checkpoint(tmp_path / "step-3", saved, SECRET)
    loaded = load_checkpoint(tmp_path / "step-3", SECRET)
    assert loaded.manifest == manifest
    for ours, theirs in ((loaded.weights, saved.weights), (loaded.training, saved.training)):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    restored = restore_network(loaded)
    assert torch.equal(logits(restored), logits(network))
    assert {module.training for module in restored.modules()} == {False}
    assert (restored.output.weight is restored.embedding.weight) == network.model.tie_weights
    assert restored.num_parameters() == network.num_parameters()


def test_manifest_bears_the_hash_of_each_file(folder: Path) -> None:
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (WEIGHTS, TRAINING)}
    manifest = load_checkpoint(folder, SECRET).manifest
    assert manifest.files == hashes
    assert manifest.parameters_sha256 == hashes[WEIGHTS]
    assert sorted(path.name for path in folder.iterdir()) == sorted([MANIFEST, WEIGHTS, TRAINING])


def test_equal_parameters_have_an_equal_hash(tmp_path: Path, make_network: MakeNetwork) -> None:
    one, same, other = (
        save_checkpoint(tmp_path / name, snapshot_of(make_network(cell=cell)), SECRET).parameters_sha256
        for name, cell in [("one", "gru"), ("same", "gru"), ("other", "rnn")]
    )
    assert one == same
    assert one != other


@pytest.mark.parametrize("name", [WEIGHTS, TRAINING, MANIFEST])
@pytest.mark.parametrize("where", [0.0, 0.1, 0.5, 0.999])
def test_flipped_byte_is_refused(folder: Path, name: str, where: float) -> None:
    raw = bytearray((folder / name).read_bytes())
    raw[int(where * len(raw))] ^= 1
    (folder / name).write_bytes(raw)
    with pytest.raises(CorruptCheckpoint):
        load_checkpoint(folder, SECRET)


@pytest.mark.parametrize("name", [WEIGHTS, TRAINING])
def test_altered_file_is_named_with_its_step(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes() + b"\0")
    with pytest.raises(CorruptCheckpoint, match=f"{name} of job-1 at step 3 was altered after saving"):
        load_checkpoint(folder, SECRET)


@pytest.mark.parametrize("name", [WEIGHTS, TRAINING, MANIFEST])
def test_folder_that_lacks_a_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CorruptCheckpoint, match="checkpoint step-3 is incomplete"):
        load_checkpoint(folder, SECRET)


def test_weights_are_read_without_the_training_file(folder: Path) -> None:
    (folder / TRAINING).unlink()
    loaded = load_checkpoint(folder, SECRET, weights_only=True)
    assert (loaded.training, "embedding.weight" in loaded.weights) == ({}, True)


def test_checkpoint_of_another_installation_is_refused(folder: Path) -> None:
    with pytest.raises(CorruptCheckpoint, match="was not signed by this installation"):
        load_checkpoint(folder, b"another secret")


def test_existing_folder_is_not_written_over(folder: Path, make_network: MakeNetwork) -> None:
    before = (folder / MANIFEST).read_bytes()
    with pytest.raises(FileExistsError):
        save_checkpoint(folder, snapshot_of(make_network(cell="gru")), SECRET)
    assert (folder / MANIFEST).read_bytes() == before


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": torch.zeros(2)}, r"extra has shape \(2,\)"),
        ({"embedding.weight": torch.zeros(7, 11)}, r"embedding.weight has shape"),
        ({"recurrent.weight_hh_l1": None}, r"recurrent.weight_hh_l1 has shape \(28, 7\)"),
    ],
    ids=["extra", "misshapen", "missing"],
)
def test_tensors_that_do_not_fit_are_refused(
    make_network: MakeNetwork, change: dict[str, torch.Tensor | None], message: str, tied: bool
) -> None:
    snapshot = snapshot_of(make_network(embedding_size=7, tie_weights=tied))
    weights = {name: t for name, t in (snapshot.weights | change).items() if t is not None}
    with pytest.raises(CorruptCheckpoint, match="weights do not fit the network: " + message):
        restore_network(snapshot._replace(weights=weights))


def test_restored_network_draws_no_random_number(make_network: MakeNetwork) -> None:
    snapshot = snapshot_of(make_network(dropout=0.5))
    before = torch.get_rng_state()
    restore_network(snapshot)
    assert torch.equal(torch.get_rng_state(), before)


def test_restored_network_owns_its_weights(make_network: MakeNetwork) -> None:
    snapshot = snapshot_of(make_network())
    expected = snapshot.weights["embedding.weight"].clone()
    with torch.no_grad():
        restore_network(snapshot).embedding.weight.zero_()
    assert torch.equal(snapshot.weights["embedding.weight"], expected)


@pytest.mark.parametrize(("cell", "kind"), [("rnn", nn.RNN), ("lstm", nn.LSTM), ("gru", nn.GRU)])
def test_weights_file_gives_the_same_loss_in_plain_torch(
    train: Callable[..., Any],
    make_spec: Callable[..., JobSpec],
    data: TextData,
    cell: Cell,
    kind: type[nn.RNNBase],
) -> None:
    run = train(make_spec(cell=cell, dropout=0.25), data)

    weights = load_file(run.folder(8) / "weights.safetensors")
    embedding, recurrent, output = nn.Embedding(11, 4), kind(4, 7, 2, batch_first=True), nn.Linear(7, 11)
    for name, module in [("embedding.", embedding), ("recurrent.", recurrent), ("output.", output)]:
        module.load_state_dict({k.removeprefix(name): v for k, v in weights.items() if k.startswith(name)})
    ids = torch.from_numpy(data.validation.astype(np.int64))
    with torch.no_grad():
        hidden, _ = recurrent(embedding(ids[None, :-1]))
        loss = nn.functional.cross_entropy(output(hidden)[0], ids[1:]).item()

    assert loss == pytest.approx(run.snapshot(8).manifest.validation_loss, abs=1e-6)
