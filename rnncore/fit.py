"""fit(): trains one JobSpec from its first or any later step. The only place that builds a Lightning Trainer.

Knows no queue: whoever watches passes an Observer.
"""

import logging
import os
import warnings
from typing import Any, Literal, NamedTuple

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.strategies import DDPStrategy
from torch.utils.data import DataLoader

from rnncore.checkpoint import Snapshot, load_weights
from rnncore.environment import environment, in_turn
from rnncore.loop import Identity, Observer, Replay, TrainingLoop
from rnncore.module import RecurrentModule
from rnncore.ranks import ALONE, Ranks
from rnncore.spec import JobSpec, Precision
from rnncore.tasks import Task
from rnncore.tasks.examples import ExampleData
from rnncore.tasks.table import make_network, make_task
from rnncore.text import TextData

# Lightning announces itself and warns of loaders without worker processes; ours needs none.
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)

LEAST_TO_SHARE = 1024
"""Units times streams of a rank, below which a second thread gains less than a fifth and takes a core from all else."""
_LIGHTNING_PRECISION: dict[str, Literal["32-true", "bf16-mixed"]] = {"fp32": "32-true", "bf16-mixed": "bf16-mixed"}


class Job(NamedTuple):
    """What is trained and by which claim of it; both are written into every checkpoint."""

    id: str
    epoch: int
    spec: JobSpec


def fit(
    job: Job,
    data: TextData | ExampleData,
    observer: Observer,
    *,
    resume: Snapshot | None = None,
    initial: Snapshot | None = None,
    replay: Replay | None = None,
    ranks: Ranks = ALONE,
) -> None:
    """Trains until a limit of `job.spec` is reached. `observer` sees each step and checkpoint and may raise Stopped.

    `resume` goes on from a snapshot of this very job, exactly; one of a finished job is left as it is. `initial` starts
    afresh from another model's weights. `replay` takes the steps of another run whose seconds were counted.

    Several `ranks` train together, each in a call of its own with the same arguments but for the observer: see there.
    A snapshot is always that of the whole job, and any number of ranks that divides its batch size may go on from it:
    as many as made it exactly, another number to rounding. With dropout each rank draws masks of its own, so that runs
    on different numbers of ranks differ. Raises InvalidInput if they do not divide the batch size, and RuntimeError
    where another rank has died.
    """
    ranks.check(job.spec.train.batch_size)
    spec = job.spec
    torch.set_flush_denormal(True)  # denormal numbers are about 20 times slower on CPUs
    task, network = prepared(spec, data, resume or initial)
    precision, why = (resume.manifest.precision, None) if resume else resolved_precision(spec.train.precision, ranks)
    earlier = resume.manifest.environment if resume else {}
    identity = Identity(job.id, job.epoch, precision, in_turn(earlier, environment(ranks)))
    loop = TrainingLoop(spec, task, observer, identity, resume=resume, replay=replay, ranks=ranks)
    if why:
        loop.warn(why)
    if loop.is_over:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            accelerator="gpu" if torch.cuda.is_available() else "cpu",
            devices=1,
            strategy=_strategy(ranks),
            precision=_LIGHTNING_PRECISION[precision],
            max_epochs=-1,
            gradient_clip_val=spec.train.gradient_clip_norm,
            callbacks=[loop],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        batches = task.batches(first=loop.progress.window, ranks=ranks)
        module = RecurrentModule(network, task, spec.train, ranks)
        # A generator of its own: the loader would draw from the one that dropout draws from.
        trainer.fit(module, DataLoader(batches, batch_size=None, generator=torch.Generator()))


def prepared(spec: JobSpec, data: TextData | ExampleData, start: Snapshot | None) -> tuple[Task, Any]:
    """The task and its network, with the weights of `start` or new ones that the seed gives.

    All that the run draws from torch's generator before its first step is drawn here.
    """
    torch.manual_seed(spec.train.seed)
    task = make_task(spec, data)
    network = make_network(spec.task, spec.model, task.encoding)
    if start:
        load_weights(network, start.weights)
    return task, network


def resolved_precision(asked: Precision, ranks: Ranks = ALONE) -> tuple[str, str | None]:
    """The precision to train in, and why it is another one than asked for, where it is.

    `auto` is bf16 where the hardware multiplies it faster than fp32: on CUDA, and on CPUs with AMX tiles. What the
    hardware of one rank does not do, no rank does.
    """
    if asked == "fp32":
        return "fp32", None
    if torch.cuda.is_available():
        can_run = is_faster = torch.cuda.is_bf16_supported()
    else:
        can_run = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        is_faster = torch.cpu._is_amx_tile_supported()
    (is_lacking,) = ranks.greatest(float(not (can_run if asked == "bf16-mixed" else is_faster)))
    if not is_lacking:
        return "bf16-mixed", None
    why = "this hardware cannot multiply bf16; training in fp32 instead of train.precision=bf16-mixed"
    return "fp32", why if asked == "bf16-mixed" else None


def threads_for(spec: JobSpec, available: int, ranks: Ranks = ALONE) -> int:
    """On how many of `available` threads a rank trains: on one where its products are too small to be shared out."""
    return available if spec.model.hidden_size * spec.train.batch_size >= LEAST_TO_SHARE * ranks.size else 1


def _strategy(ranks: Ranks) -> DDPStrategy | str:
    if ranks.size == 1:
        return "auto"
    # Else Lightning lets every rank have all cores, and on one machine they take them from one another.
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
    is_cuda = torch.cuda.is_available()
    return DDPStrategy(
        cluster_environment=_StartedElsewhere(ranks),
        parallel_devices=[torch.device("cuda", torch.cuda.current_device()) if is_cuda else torch.device("cpu")],
        # All gradients in one message: what they share with the computation is too short to hide another.
        bucket_cap_mb=1 << 20,
        gradient_as_bucket_view=True,
    )


class _StartedElsewhere(LightningEnvironment):
    """Tells Lightning that the processes run and know one another already; each has one device."""

    creates_processes_externally = True

    def __init__(self, ranks: Ranks) -> None:
        super().__init__()
        self._ranks = ranks

    def world_size(self) -> int:
        return self._ranks.size

    def set_world_size(self, size: int) -> None: ...

    def global_rank(self) -> int:
        return self._ranks.rank

    def set_global_rank(self, rank: int) -> None: ...

    def local_rank(self) -> int:
        return 0

    def node_rank(self) -> int:
        return self._ranks.rank

    def teardown(self) -> None: ...
