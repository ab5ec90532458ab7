"""fit(): trains one JobSpec from its first or any later step. The only place that builds a Lightning Trainer.

Knows no queue: whoever watches passes an Observer.
"""

import logging
import os
import platform
import warnings
from importlib.metadata import version
from typing import Literal, NamedTuple

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from rnncore.checkpoint import Snapshot, load_weights
from rnncore.loop import Identity, Observer, TrainingLoop
from rnncore.module import RecurrentModule
from rnncore.spec import JobSpec, Precision
from rnncore.tasks.language_model import LanguageModel
from rnncore.text import TextData

# Lightning announces itself and warns of loaders without worker processes; ours needs none.
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)

_LIGHTNING_PRECISION: dict[str, Literal["32-true", "bf16-mixed"]] = {"fp32": "32-true", "bf16": "bf16-mixed"}


class Job(NamedTuple):
    """What is trained and by which claim of it; both are written into every checkpoint."""

    id: str
    epoch: int
    spec: JobSpec


def fit(
    job: Job,
    data: TextData,
    observer: Observer,
    *,
    resume: Snapshot | None = None,
    initial: Snapshot | None = None,
) -> None:
    """Trains until a limit of `job.spec` is reached. `observer` sees each step and checkpoint and may raise Stopped.

    `resume` goes on from a snapshot of this very job, exactly; one of a finished job is left as it is. `initial` starts
    afresh from another model's weights.
    """
    spec = job.spec
    torch.set_flush_denormal(True)  # denormal numbers are about 20 times slower on CPUs
    torch.manual_seed(spec.train.seed)
    task = LanguageModel(spec, data)
    network = task.network()
    if start := resume or initial:
        load_weights(network, start.weights)
    precision = resume.manifest.precision if resume else resolved_precision(spec.train.precision)
    loop = TrainingLoop(spec, task, observer, Identity(job.id, job.epoch, precision, environment()), resume)
    if loop.is_over:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            accelerator="gpu" if torch.cuda.is_available() else "cpu",
            devices=1,
            precision=_LIGHTNING_PRECISION[precision],
            max_epochs=-1,
            gradient_clip_val=spec.train.gradient_clip_norm,
            callbacks=[loop],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        batches = task.batches(first=loop.progress.window)
        trainer.fit(RecurrentModule(network, task, spec.train), DataLoader(batches, batch_size=None))


def resolved_precision(asked: Precision) -> str:
    """bf16 where the hardware multiplies it faster than fp32 (CUDA, or CPUs with AMX tiles), else fp32."""
    if asked != "auto":
        return asked
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if torch.cpu._is_amx_tile_supported() else "fp32"


def environment() -> dict[str, str | int]:
    """What must be equal for two runs to be equal bit for bit."""
    return {
        "torch": torch.__version__,
        "pytorch_lightning": version("pytorch-lightning"),
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count() or 1,
    }
