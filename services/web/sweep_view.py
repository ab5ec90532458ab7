"""A sweep as its page shows it: axes, rows, rungs, the command that asks for the same. Pure functions."""

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Literal, NamedTuple

from rnncore.sweep_points import most_trials
from rnncore.sweep_spec import Choices, Range, Scalar, SweepSpec
from services.jobqueue.sweeps import Trial
from services.sweeps.report import SweepReport
from services.web.text import visible

BEST_COMPARED = 5
Order = Literal["best", "number"]


class Axis(NamedTuple):
    """A searched field. `choices` in their order, as text, where it is no range."""

    name: str
    scale: Literal["linear", "log", "choice"]
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()


class Rung(NamedTuple):
    """A rung of successive halving: how many trials came to it, how many it stopped, and their scores."""

    number: int
    step: int
    reached: int
    stopped: int
    best: float
    middle: float
    worst: float


def axes(spec: SweepSpec) -> list[Axis]:
    """One for each searched field."""
    return [_axis(name, asked) for name, asked in spec.parameters.items()]


def chart(report: SweepReport) -> str:
    """What the drawings have to know besides the trials, as JSON."""
    spec = report.spec
    if spec is None:
        return "null"
    return json.dumps(
        {
            "axes": [axis._asdict() for axis in axes(spec)],
            "metric": spec.objective.metric,
            "isMaximized": spec.objective.is_maximized,
        }
    )


def drawn(trial: Trial) -> str:
    """What the drawings have to know of one trial, as JSON."""
    return json.dumps(
        {
            "number": trial.number,
            "score": finite(trial.value),
            "seconds": trial.worker_seconds,
            "state": shown_state(trial),
            "values": trial.parameters,
        }
    )


def ordered(report: SweepReport, trials: Sequence[Trial], order: Order) -> list[Trial]:
    """By number, or the best first and those without a score last."""
    if order == "number":
        return list(trials)
    sign = -1 if report.spec and report.spec.objective.is_maximized else 1
    return sorted(trials, key=lambda t: (finite(t.value) is None, sign * (finite(t.value) or 0.0), t.number))


def best_jobs(report: SweepReport, trials: Sequence[Trial]) -> list[str]:
    """Jobs of the best trials, to be compared."""
    scored = [trial for trial in ordered(report, trials, "best") if finite(trial.value) is not None and trial.job]
    return [trial.job for trial in scored[:BEST_COMPARED] if trial.job and trial.state != "deleted"]


def most(report: SweepReport) -> int | None:
    """Trials there are to be at most; None where the record was altered."""
    return most_trials(report.spec) if report.spec else None


def used(report: SweepReport) -> float | None:
    """Share of the budget of worker-seconds, else of trials, that is used up."""
    if report.spec is None:
        return None
    seconds = report.spec.budget.max_worker_seconds
    if seconds is not None:
        return min(1.0, report.worker_seconds / seconds)
    trials = most(report)
    return min(1.0, done(report) / trials) if trials else None


def done(report: SweepReport) -> int:
    """Trials that are over."""
    return sum(report.trials.get(state, 0) for state in ("succeeded", "failed", "cancelled", "deleted"))


def rungs(report: SweepReport, trials: Sequence[Trial]) -> list[Rung]:
    """Those that some trial came to, from the first on."""
    halving = report.spec.early_stopping if report.spec else None
    if halving is None:
        return []
    sign = -1 if report.spec and report.spec.objective.is_maximized else 1
    found = []
    for number in range(max((len(trial.rungs) for trial in trials), default=0)):
        there = [trial for trial in trials if len(trial.rungs) > number]
        scores = sorted((trial.rungs[number] for trial in there), key=lambda score: sign * score)
        stopped = sum(trial.stopped_early == "halving" and len(trial.rungs) == number + 1 for trial in there)
        step = halving.rung_step(number)
        found.append(Rung(number, step, len(there), stopped, scores[0], median(scores), scores[-1]))
    return found


def shown_state(trial: Trial) -> str:
    """`stopped at rung 1` for what the sweep stopped itself."""
    if trial.stopped_early == "halving":
        return f"stopped at rung {len(trial.rungs) - 1}"
    return "out of budget" if trial.stopped_early else trial.state


def value(scalar: Scalar) -> str:
    """`0.003125`, `lstm`, `true`, `null`."""
    if isinstance(scalar, float):
        return f"{scalar:.4g}"
    return scalar if isinstance(scalar, str) else json.dumps(scalar)


def finite(score: float | None) -> float | None:
    return score if score is not None and math.isfinite(score) else None


def command(spec: SweepSpec) -> str:
    """The `unroll sweep` that asks for the same; by way of a file where flags cannot say it."""
    asked = asked_for(spec)
    job = asked.pop("spec")
    words = ["unroll", "sweep", job.pop("dataset")]
    for name, sought in asked.pop("parameters").items():
        words += _searched(name, sought)
    for path, flag in _FLAGS.items():
        section, _, name = path.rpartition(".")
        found = (asked.get(section) or {}) if section else asked
        if (given := found.pop(name, None)) is not None:
            words += [flag, str(given)]
    for name, given in _flat(job):
        words += ["--set", f"{name}={json.dumps(given, ensure_ascii=False)}"]
    asked.get("early_stopping", {}).pop("method", None)
    said = shlex.join(words)
    says_all = not any(asked.values()) and all(map(_is_sayable, spec.parameters.values())) and visible(said) == said
    return said if says_all else "unroll sweep --spec sweep.json"


def as_file(spec: SweepSpec) -> str:
    """What to write into that file."""
    written = json.dumps(asked_for(spec), indent=2, ensure_ascii=False)
    return written if visible(written) == written else json.dumps(asked_for(spec), indent=2)


def asked_for(spec: SweepSpec) -> dict[str, Any]:
    """What was named of a SweepSpec, and no default."""
    named: dict[str, Any] = spec.model_dump(mode="json", exclude_unset=True)
    return {name: given for name, given in named.items() if given is not None}


_FLAGS: Mapping[str, str] = {
    "name": "--name",
    "search.method": "--method",
    "search.seed": "--search-seed",
    "budget.max_trials": "--trials",
    "budget.max_worker_seconds": "--worker-seconds",
    "budget.max_seconds": "--seconds",
    "max_parallel": "--parallel",
    "replicates": "--replicates",
    "early_stopping.min_steps": "--halving",
    "early_stopping.factor": "--factor",
    "objective.metric": "--metric",
    "promote_to": "--promote-to",
}


def _is_sayable(sought: Range | Choices) -> bool:
    """Whether a flag can list the values: no text among them that a comma or its looks would make another."""
    texts = [one for one in sought.values if isinstance(one, str)] if isinstance(sought, Choices) else []
    return not any("," in text or not text or _is_json(text) for text in texts)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _searched(name: str, sought: Mapping[str, Any]) -> list[str]:
    if "values" in sought:
        return ["--values", f"{name}={','.join(map(_word, sought['values']))}"]
    ends = f"{name}={_number(sought['min'])}..{_number(sought['max'])}"
    if sought.get("log"):
        return ["--log-range", ends]
    return ["--range", ends + (f"..{_number(sought['step'])}" if sought.get("step") else "")]


def _number(number: float) -> str:
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def _word(scalar: Scalar) -> str:
    return scalar if isinstance(scalar, str) else json.dumps(scalar)


def _flat(job: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """`train.max_steps`, 900: the fields of sections one by one, `metadata` as a whole."""
    found = []
    for name, given in job.items():
        if isinstance(given, dict) and name in ("model", "train", "resources"):
            found += [(f"{name}.{field}", one) for field, one in given.items()]
        else:
            found.append((name, given))
    return found


def _axis(name: str, asked: Range | Choices) -> Axis:
    if isinstance(asked, Choices):
        return Axis(name, "choice", choices=tuple(value(one) for one in asked.values))
    return Axis(name, "log" if asked.log else "linear", asked.min, asked.max)
