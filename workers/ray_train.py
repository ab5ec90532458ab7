"""The run of Ray Train that a gang is, and what each rank of it does. Imported when a gang starts: it takes seconds."""

import importlib
import os
from collections.abc import Sequence
from typing import Any, cast

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback

from rnncore.errors import Stopped
from rnncore.ranks import Ranks
from services.jobqueue.records import Claim
from services.logs import configure_logs
from services.settings import Settings
from services.traces import configure_traces
from workers.trainer import Trainer

# Of a CPU, so that a bundle is not empty and its node not idle; as for warm trainers, the queue's ledger admits.
_NOMINAL = 0.001


class _TorchTrainer(TorchTrainer):
    """Without the process that watches each run to remove its placement group: it goes with the run's controller.

    The watcher asks Ray's dashboard whether that lives; where there is none, it would stay for ever.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = cast(Any, super())._create_default_callbacks()
        return [callback for callback in callbacks if not isinstance(callback, PlacementGroupCleanerCallback)]


def make_run(
    config: dict[str, Any],
    *,
    name: str,
    folder: str,
    nodes: Sequence[str],
    has_gpu: bool,
) -> Any:
    """A run of one rank on each of `nodes` (Ray's ids; one may be named again), on a GPU each if `has_gpu`.

    Its `fit` returns what `_train_rank` does on rank 0, and raises where a rank raised or was lost: nothing is retried.
    """
    return cast(Any, _TorchTrainer)(
        _train_rank,
        train_loop_config=config,
        torch_config=TorchConfig(backend="nccl" if has_gpu else "gloo"),
        scaling_config=cast(Any, ScalingConfig)(
            num_workers=len(nodes),
            use_gpu=has_gpu,
            resources_per_worker={"GPU": 1, "CPU": _NOMINAL} if has_gpu else {"CPU": _NOMINAL},
            label_selector=[{"ray.io/node-id": node} for node in nodes],
        ),
        run_config=RunConfig(
            name=name,
            storage_path=folder,
            failure_config=cast(Any, FailureConfig)(
                max_failures=0, controller_failure_limit=0, max_preemption_failures=0
            ),
        ),
    )


def _train_rank(config: dict[str, Any]) -> str:
    """What each rank runs. An exception ends them all."""
    os.environ |= config["environment"]
    configure_logs()
    configure_traces("trainer")
    # Lightning imports its parts when they are first used; have it over before a rank waits for another.
    importlib.import_module("pytorch_lightning.trainer.trainer")
    claim, ranks = Claim(*config["claim"]), Ranks.of_process_group()
    trainer = Trainer(Settings(), threads=config["threads"][ray.get_runtime_context().get_node_id()])
    if ranks.rank:
        trainer.follow(claim, ranks)
        return "followed"
    ray.get(config["driver"].rank_holds.remote())
    outcome = trainer.run(claim, "cold", ranks, config["nodes"])
    if outcome != "succeeded":
        raise Stopped(f"{claim.job} {outcome}")  # the others may wait for this rank
    return outcome
