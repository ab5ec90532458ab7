"""The tasks by name: the network each one trains, and the Task itself."""

from collections.abc import Callable
from typing import Any

from rnncore.encoding import Encoding
from rnncore.network import language_model_network
from rnncore.spec import JobSpec, ModelSpec
from rnncore.spec import Task as TaskName
from rnncore.stepper import Precision, Stepper
from rnncore.tasks import Task
from rnncore.tasks.classify import Classify, classify_network
from rnncore.tasks.generate import Generate, generate_network
from rnncore.tasks.language_model import LanguageModel
from rnncore.tasks.regress import Forecast, Regress, regress_network
from rnncore.tasks.tag import Tag, tag_network
from rnncore.tasks.translate import Translate, translate_network

_TASKS: dict[TaskName, Callable[[JobSpec, Any], Task]] = {
    "language_model": LanguageModel,
    "tag": Tag,
    "classify": Classify,
    "forecast": Forecast,
    "regress": Regress,
    "generate": Generate,
    "translate": Translate,
}
_NETWORKS: dict[TaskName, Callable[[ModelSpec, Encoding], Any]] = {
    "language_model": language_model_network,
    "tag": tag_network,
    "classify": classify_network,
    "forecast": regress_network,
    "regress": regress_network,
    "generate": generate_network,
    "translate": translate_network,
}

# Those whose networks write symbol after symbol; the others answer a whole sequence at once.
_WRITING: tuple[TaskName, ...] = ("language_model", "generate", "translate")


def make_task(spec: JobSpec, data: Any) -> Task:
    """The task of `spec` on its data: TextData for a language model, ExampleData for the others."""
    return _TASKS[spec.task](spec, data)


def make_network(task: TaskName, model: ModelSpec, encoding: Encoding) -> Any:
    """A new network for `task`: RecurrentNetwork, SequenceNetwork or EncoderDecoder."""
    return _NETWORKS[task](model, encoding)


def make_stepper(task: TaskName, network: Any, *, precision: Precision = "fp32") -> Stepper | None:
    """What writes with a network of `task`; None where the task writes nothing symbol by symbol."""
    return Stepper(network, precision=precision) if task in _WRITING else None
