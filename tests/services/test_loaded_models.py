"""What is loaded for each task: those that write have a stepper, counted in their bytes; one alone continues text."""

from pathlib import Path
from typing import get_args

import pytest
import torch
from prometheus_client import CollectorRegistry

from rnncore.checkpoint import Snapshot, network_weights, save_checkpoint
from rnncore.encoding import Encoding, Scale
from rnncore.errors import InvalidInput
from rnncore.manifest import Manifest, Progress
from rnncore.spec import ModelSpec, Task
from rnncore.stepper import Stepper
from rnncore.tasks.table import make_network
from rnncore.tokens import Tokens
from rnncore.vocabulary import Vocabulary
from services.sampling.completion import CompletionAnswer
from services.sampling.handles import StateHandles
from services.sampling.model_cache import LoadedModel, ModelCache
from services.storage import Storage
from services.wire import CompletionRequest, SampleCommand

SECRET = b"secret of the tests"
SYMBOLS, LABELS = Tokens(tokens=tuple("abcdefgh")), Tokens(tokens=("no", "yes"))
SCALE = Scale(mean=(1.0,), deviation=(2.0,))
ENCODINGS: dict[Task, Encoding] = {
    "language_model": Encoding(vocabulary=Vocabulary(kind="characters", symbols="abcdefgh")),
    "tag": Encoding(inputs=SYMBOLS, outputs=LABELS),
    "classify": Encoding(inputs=SYMBOLS, outputs=LABELS),
    "generate": Encoding(inputs=LABELS, outputs=SYMBOLS),
    "regress": Encoding(input_scale=SCALE, target_scale=SCALE),
    "forecast": Encoding(input_scale=SCALE, target_scale=SCALE, columns=("x",), target="x"),
    "translate": Encoding(inputs=SYMBOLS, outputs=LABELS),
}


def loaded(folder: Path, task: Task) -> LoadedModel:
    """A new network of `task`, through a checkpoint and the cache."""
    model = ModelSpec(cell="gru", hidden_size=13, num_layers=2, embedding_size=5, forget_bias=0.0)
    torch.manual_seed(4)
    manifest = Manifest(
        job="job-1",
        epoch=1,
        task=task,
        model=model,
        encoding=ENCODINGS[task],
        precision="fp32",
        progress=Progress(step=800),
        parameters_sha256="",
        files={},
    )
    weights = network_weights(make_network(task, model, ENCODINGS[task]))
    save_checkpoint(folder / "checkpoint", Snapshot(manifest, weights, {}), SECRET)
    return ModelCache(Storage(str(folder)), SECRET, CollectorRegistry()).get("checkpoint")


@pytest.mark.parametrize("task", ["language_model", "generate", "translate"])
def test_model_that_writes_has_a_stepper_that_is_counted_in_its_bytes(tmp_path: Path, task: Task) -> None:
    model = loaded(tmp_path, task)
    weights = sum(tensor.nbytes for tensor in network_weights(model.network).values())
    assert model.stepper is not None
    assert model.num_bytes == weights + Stepper(model.network).num_bytes


@pytest.mark.parametrize("task", ["classify", "tag", "regress", "forecast"])
def test_model_that_answers_whole_sequences_has_no_stepper(tmp_path: Path, task: Task) -> None:
    model = loaded(tmp_path, task)
    assert model.stepper is None
    assert model.num_bytes == sum(tensor.nbytes for tensor in network_weights(model.network).values())


@pytest.mark.parametrize("task", [task for task in get_args(Task) if task != "language_model"])
def test_model_of_another_task_continues_no_text(tmp_path: Path, task: Task) -> None:
    request = CompletionRequest(model="m", prompt="ab")
    command = SampleCommand(request=request, checkpoint="checkpoint", parameters="p", tenant="lab", key="k")
    told = f"^this model is a {task} and continues no text; ask POST /v1/predict$"
    with pytest.raises(InvalidInput, match=told) as raised:
        CompletionAnswer(command, loaded(tmp_path, task), StateHandles(SECRET, lifetime_seconds=60))
    assert raised.value.param == "model"
