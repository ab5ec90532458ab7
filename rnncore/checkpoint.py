"""Checkpoint folders: safetensors and a signed JSON manifest in, the same out. Nothing is ever unpickled.

Knows folders on this machine; where they are published to is the caller's affair.
"""

import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rnncore.errors import CorruptCheckpoint
from rnncore.inspection import Inspection
from rnncore.manifest import INSPECTION, MANIFEST, TRAINING, WEIGHTS, Manifest
from rnncore.network import Network
from rnncore.tasks.table import make_network


class Snapshot(NamedTuple):
    """A moment of training. `training` is empty where only the weights were asked for, `inspection` where read."""

    manifest: Manifest
    weights: dict[str, Tensor]
    training: dict[str, Tensor]
    inspection: Inspection | None = None


def save_checkpoint(folder: Path, snapshot: Snapshot, secret: bytes) -> Manifest:
    """Writes `snapshot` into the new `folder`, manifest last, all of it on disk on return.

    The hashes and the signature of the given manifest are made here; the complete one is returned.
    """
    folder.mkdir(parents=True)
    save_file(_own_memory(snapshot.weights), folder / WEIGHTS, metadata=snapshot.manifest.weights_metadata())
    save_file(_own_memory(snapshot.training), folder / TRAINING)
    names = [WEIGHTS, TRAINING]
    if snapshot.inspection:
        (folder / INSPECTION).write_text(snapshot.inspection.model_dump_json())
        names.append(INSPECTION)
    files = {name: _sha256(folder / name) for name in names}
    manifest = snapshot.manifest.model_copy(update={"files": files, "parameters_sha256": files[WEIGHTS]}).signed(secret)
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1))
    for name in (*names, MANIFEST):
        _flush(folder / name)
    _flush(folder)
    return manifest


def load_checkpoint(folder: Path, secret: bytes, *, weights_only: bool = False) -> Snapshot:
    """Reads a folder that `save_checkpoint` wrote. Raises CorruptCheckpoint if a byte of it is not what was written."""
    try:
        manifest = Manifest.parse((folder / MANIFEST).read_bytes(), secret)
        weights = _load(folder, WEIGHTS, manifest)
        training = {} if weights_only else _load(folder, TRAINING, manifest)
    except (FileNotFoundError, SafetensorError) as error:
        raise CorruptCheckpoint(f"checkpoint {folder.name} is incomplete: {error}") from error
    return Snapshot(manifest, weights, training)


def restore_network(snapshot: Snapshot) -> Any:
    """The network of `snapshot`, as its task has it, in evaluation mode.

    Raises CorruptCheckpoint on a missing, extra or misshapen tensor.
    """
    # On the meta device nothing is initialised: no time, and no draw from the generator that training uses.
    with torch.device("meta"):
        network = make_network(snapshot.manifest.task, snapshot.manifest.model, snapshot.manifest.encoding)
    load_weights(network, {name: tensor.clone() for name, tensor in snapshot.weights.items()}, assign=True)
    return network.eval()


def network_weights(network: Network) -> dict[str, Tensor]:
    """The parameters of `network` by PyTorch name, detached; a tied output weight is left to the embedding."""
    return {
        name: parameter.detach()
        for name, parameter in network.state_dict().items()
        if not (network.model.tie_weights and name == "output.weight")
    }


def load_weights(network: Network, weights: dict[str, Tensor], *, assign: bool = False) -> None:
    """Copies (or assigns) `weights` to `network`. Raises CorruptCheckpoint unless names and shapes are its own."""
    expected = {name: tuple(t.shape) for name, t in network_weights(network).items()}
    found = {name: tuple(t.shape) for name, t in weights.items()}
    if expected != found:
        differing = sorted(set(expected.items()) ^ set(found.items()))
        raise CorruptCheckpoint(f"weights do not fit the network: {differing[0][0]} has shape {differing[0][1]}")
    network.load_state_dict(weights, strict=not network.model.tie_weights, assign=assign)
    network.tie_weights()


def _load(folder: Path, name: str, manifest: Manifest) -> dict[str, Tensor]:
    if _sha256(folder / name) != manifest.files.get(name):
        raise CorruptCheckpoint(f"{name} of {manifest.job} at step {manifest.progress.step} was altered after saving")
    loaded: dict[str, Tensor] = load_file(folder / name)
    return loaded


def _own_memory(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
