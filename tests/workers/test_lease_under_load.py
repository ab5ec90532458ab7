"""The lease is renewed by a thread: nothing a trainer does may keep that thread from running for long."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from rnncore.checkpoint import Snapshot, save_checkpoint
from rnncore.corpus import TextPlan, TextScan
from rnncore.encoding import Encoding
from rnncore.manifest import Manifest, Progress
from rnncore.network import RecurrentNetwork
from rnncore.spec import JobSpec, ModelSpec
from rnncore.text import load_text
from rnncore.vocabulary import BYTES
from services.settings import Settings

_MEGABYTE = 1 << 20
_SPEC = JobSpec(dataset="ds-" + "0" * 32)


class _Gaps:
    longest_seconds = 0.0


@contextmanager
def _beating() -> Iterator[_Gaps]:
    """A thread that wants to run every 20 ms, as the lease's does every 300, and how long it once had to wait."""
    gaps, over = _Gaps(), threading.Event()

    def beat() -> None:
        last = time.monotonic()
        while not over.wait(0.02):
            now = time.monotonic()
            gaps.longest_seconds = max(gaps.longest_seconds, now - last)
            last = now

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield gaps
    finally:
        over.set()
        thread.join()


def _lease_seconds() -> float:
    return float(Settings.model_fields["lease_seconds"].default)


def test_loading_a_text_of_100_megabytes_leaves_the_lease_alive(tmp_path: Path) -> None:
    path = tmp_path / "text"
    line = "the quick brown fox jumps over the lazy dog; 바람이 분다.\n".encode()
    with path.open("wb") as file:
        for _ in range(100 * _MEGABYTE // len(line) // 1000 + 1):
            file.write(line * 1000)
    scan = TextScan("characters")
    with path.open("rb") as file:
        while piece := file.read(_MEGABYTE):
            scan.feed(piece)
    plan = TextPlan.of(_SPEC, scan.summary())
    with _beating() as gaps:
        data = load_text(path, plan)
    assert len(data.training) == plan.num_training
    assert len(data.validation) == plan.num_validation
    print(f"longest gap {gaps.longest_seconds:.2f} s")
    assert gaps.longest_seconds < _lease_seconds() / 3


def test_saving_a_checkpoint_of_600_megabytes_leaves_the_lease_alive(tmp_path: Path) -> None:
    model = ModelSpec(hidden_size=2048, num_layers=2)
    with torch.device("meta"):
        network = RecurrentNetwork(model, vocabulary_size=256)
    weights = {name: torch.zeros(p.shape) for name, p in network.named_parameters()}
    moments = {f"optimizer.{name}.{key}": torch.zeros_like(w) for name, w in weights.items() for key in ("m", "v")}
    manifest = Manifest(
        job="job-0",
        epoch=1,
        task="language_model",
        model=model,
        encoding=Encoding(vocabulary=BYTES),
        precision="fp32",
        progress=Progress(),
        parameters_sha256="",
        files={},
    )
    with _beating() as gaps:
        save_checkpoint(tmp_path / "checkpoint", Snapshot(manifest, weights, moments), b"secret")
    written = sum(file.stat().st_size for file in (tmp_path / "checkpoint").iterdir())
    assert written > 600_000_000
    print(f"longest gap {gaps.longest_seconds:.2f} s")
    assert gaps.longest_seconds < _lease_seconds() / 3
