"""Which jobs the lecture runs: one comparison of cells, made twice, on the adding problem and on a text.

Every cell has about as many parameters as the LSTM, is given the same optimizer, initialisation policy and number of
steps, and the same search over learning rates (at seed 0), which goes on outwards while the best is at its edge.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from unroll.client import Client
from unroll.lecture.adding import adding_problem, sequences
from unroll.lecture.hello import hello
from unroll.lecture.laboratory import Laboratory, best_score
from unroll.lecture.results import CELLS, Cell, Comparison, Curve, LagGradient, Plan, Results, Row, Text
from unroll.types import JobRecord

_GATES: dict[Cell, int] = {"rnn": 1, "gru": 3, "lstm": 4}
_LAGS = 99
_INSPECTED_SYMBOLS = 600
_CHARACTERS_AN_UPDATE = 2048


class Task(NamedTuple):
    """What a comparison is made on; `spec` takes cell, learning rate, seed and tbptt_steps (None: all of them)."""

    title: str
    score: str
    rates: Sequence[float]
    widenings: int
    windows: Sequence[int]
    sizes: dict[Cell, int]
    full_window: int | None
    spec: Callable[[Cell, float, int, int | None], dict[str, Any]]
    inputs: Sequence[Any]


def run_lecture(client: Client, plan: Plan, *, text: str, text_name: str, say: Callable[[str], None]) -> Results:
    """All of it; takes what ran before from the server. Raises what the client raises."""
    lab = Laboratory(client, say)
    walked = hello(lab)
    adding = compare(lab, adding_task(client, plan), plan.seeds)
    language = compare(lab, language_task(client, plan, text, text_name), plan.seeds)
    return Results(
        server=client.url,
        created_at=time.time(),
        jobs=lab.num_jobs,
        seconds=lab.seconds,
        plan=plan,
        text=Text(name=text_name, characters=len(text), vocabulary=len(set(text))),
        hello=walked,
        adding=adding,
        language=language,
    )


def adding_task(client: Client, plan: Plan) -> Task:
    """Two channels in, one number out, after `plan.adding_steps` steps."""
    content = adding_problem(plan.adding_sequences, plan.adding_steps, seed=plan.adding_steps)
    dataset = client.datasets.upload(content, kind="sequences", name="adding problem").id
    sizes = equal_sizes(32, inputs=2, outputs=1)

    def spec(cell: Cell, rate: float, seed: int, window: int | None) -> dict[str, Any]:
        return {
            "task": "regress",
            "dataset": dataset,
            "model": {"cell": cell, "hidden_size": sizes[cell], "dropout": 0},
            "train": {
                "tbptt_steps": window,
                "max_steps": plan.adding_updates,
                "learning_rate": rate,
                "validation_fraction": 1 / 9,
                "validate_every_steps": max(1, plan.adding_updates // 12),
                "checkpoint_every_steps": plan.adding_updates,
                "seed": seed,
            },
        }

    unseen, _ = sequences(4, plan.adding_steps, seed=plan.adding_steps + 1)
    return Task(
        "adding problem",
        "rmse",
        plan.adding_rates,
        plan.widenings,
        plan.adding_windows,
        sizes,
        None,
        spec,
        list(unseen.tolist()),
    )


def language_task(client: Client, plan: Plan, text: str, name: str) -> Task:
    """The next character; equally many characters an update, whatever the window."""
    dataset = client.datasets.upload(text.encode(), name=name).id
    symbols = len(set(text[: int(len(text) * 0.9)]))
    sizes = equal_sizes(128, inputs=32, outputs=symbols)
    full_window = 64

    def spec(cell: Cell, rate: float, seed: int, window: int | None) -> dict[str, Any]:
        steps = window or full_window
        return {
            "dataset": dataset,
            "model": {"cell": cell, "hidden_size": sizes[cell], "embedding_size": 32, "dropout": 0, "unknown": True},
            "train": {
                "batch_size": _CHARACTERS_AN_UPDATE // steps,
                "tbptt_steps": steps,
                "max_steps": plan.text_updates,
                "learning_rate": rate,
                "validate_every_steps": max(1, plan.text_updates // 6),
                "checkpoint_every_steps": plan.text_updates,
                "seed": seed,
            },
        }

    unseen = text[-_INSPECTED_SYMBOLS:]
    return Task("text", "loss", plan.text_rates, plan.widenings, plan.text_windows, sizes, full_window, spec, [unseen])


def compare(lab: Laboratory, task: Task, seeds: int) -> Comparison:
    """Searches, repeats over seeds, cuts the gradient, and looks at gradients before and after training."""
    scores = _search(lab, task)
    rates = {cell: _best_rate(of_cell) for cell, of_cell in scores.items()}
    rows, curves, after = [], [], []
    for cell in CELLS:
        row, records = _row(lab, task, cell, rates[cell], seeds)
        rows.append(row)
        curves.append(_curve(lab, task, cell, records))
        after += _gradients(lab, task, cell.upper(), cell, records)
    truncated, after_truncated = [], []
    for window in task.windows:
        row, records = _row(lab, task, "lstm", rates["lstm"], seeds, window)
        truncated.append(row)
        after_truncated += _gradients(lab, task, row.label, "lstm", records)
    # The initial weights depend on the seed alone, so one rate stands for all; a step of 1e-12 moves no float32.
    untrained = lab.run(
        f"{task.title}: untrained",
        {(cell, seed): _untrained(task, cell, seed) for cell in CELLS for seed in range(seeds)},
    )
    before = [
        gradient
        for cell in CELLS
        for gradient in _gradients(lab, task, cell.upper(), cell, [untrained[cell, seed] for seed in range(seeds)])
    ]
    return Comparison(
        score=task.score,
        searched={cell: {f"{rate:g}": scores[cell][rate] for rate in sorted(scores[cell])} for cell in CELLS},
        rows=rows,
        gru_with_lstm_rate=_row(lab, task, "gru", rates["lstm"], seeds)[0],
        truncated=truncated,
        curves=curves,
        before=before,
        after=after,
        after_truncated=after_truncated,
    )


def _search(lab: Laboratory, task: Task) -> dict[Cell, dict[float, float | None]]:
    """Scores at seed 0 of the task's learning rates, and of rates beyond them while the best lies at an edge."""
    scores: dict[Cell, dict[float, float | None]] = {cell: {} for cell in CELLS}
    untried = {cell: list(task.rates) for cell in CELLS}
    for _ in range(1 + task.widenings):
        ran = lab.run(
            f"{task.title}: search",
            {(cell, rate): _named(task, cell, rate, 0) for cell in CELLS for rate in untried[cell]},
        )
        for (cell, rate), record in ran.items():
            scores[cell][rate] = best_score(record, task.score)
        untried = {cell: beyond(scores[cell]) for cell in CELLS}
    return scores


def beyond(scores: dict[float, float | None]) -> list[float]:
    """The next rate outwards, as far as the last was from its neighbour; none where the best has a neighbour."""
    tried, best = sorted(scores), _best_rate(scores)
    if len(tried) > 1 and best == tried[0]:
        return [float(f"{best * best / tried[1]:.2g}")]
    if len(tried) > 1 and best == tried[-1]:
        return [float(f"{best * best / tried[-2]:.2g}")]
    return []


def equal_sizes(lstm_size: int, *, inputs: int, outputs: int) -> dict[Cell, int]:
    """Hidden sizes at which every cell has about the parameters of an LSTM of `lstm_size`, output layer included."""
    budget = num_parameters("lstm", lstm_size, inputs=inputs, outputs=outputs)

    def nearest(cell: Cell) -> int:
        return min(
            range(1, 8 * lstm_size),
            key=lambda size: abs(num_parameters(cell, size, inputs=inputs, outputs=outputs) - budget),
        )

    return {cell: nearest(cell) for cell in CELLS}


def num_parameters(cell: Cell, hidden_size: int, *, inputs: int, outputs: int) -> int:
    """Of one recurrent layer with its two biases a gate, and the output layer."""
    return _GATES[cell] * hidden_size * (inputs + hidden_size + 2) + outputs * (hidden_size + 1)


def _named(task: Task, cell: Cell, rate: float, seed: int, window: int | None = None) -> dict[str, Any]:
    cut = f", tbptt_steps {window}" if window else ""
    name = f"{task.title}: {cell.upper()}{cut}, learning rate {rate:g}, seed {seed}"
    return {"name": name, **task.spec(cell, rate, seed, window)}


def _untrained(task: Task, cell: Cell, seed: int) -> dict[str, Any]:
    spec = task.spec(cell, 1e-12, seed, None)
    train = spec["train"] | {"max_steps": 1, "validate_every_steps": 1, "checkpoint_every_steps": 1}
    return {"name": f"{task.title}: {cell.upper()} untrained, seed {seed}", **spec, "train": train}


def _best_rate(scores: dict[float, float | None]) -> float:
    found = {rate: score for rate, score in scores.items() if score is not None}
    # Nothing to choose from: the smallest is the least likely to diverge again.
    return min(found, key=lambda rate: found[rate]) if found else min(scores)


def _row(
    lab: Laboratory, task: Task, cell: Cell, rate: float, seeds: int, window: int | None = None
) -> tuple[Row, list[JobRecord | None]]:
    title = task.title if window is None else f"{task.title}: truncated"
    ran = lab.run(title, {seed: _named(task, cell, rate, seed, window) for seed in range(seeds)})
    records = list(ran.values())
    finished = [record for record in records if record is not None]
    parameters = sum(tensor.size for tensor in lab.weights(finished[0].id).values()) if finished else 0
    seconds = [lab.training_seconds(record) for record in finished]
    steps = window or task.full_window
    row = Row(
        label=cell.upper() if window is None else f"tbptt_steps {window}",
        cell=cell,
        hidden_size=task.sizes[cell],
        parameters=parameters,
        learning_rate=rate,
        tbptt_steps=steps,
        values=[best_score(record, task.score) for record in records],
        seconds=sum(seconds) / len(seconds) if seconds else 0.0,
        jobs=[record.id for record in finished],
    )
    return row, records


def _curve(lab: Laboratory, task: Task, cell: Cell, records: list[JobRecord | None]) -> Curve:
    histories = [lab.history(record, task.score) for record in records if record is not None]
    return Curve(
        label=cell.upper(),
        cell=cell,
        steps=[steps for steps, _ in histories],
        values=[scores for _, scores in histories],
    )


def _gradients(
    lab: Laboratory, task: Task, label: str, cell: Cell, records: list[JobRecord | None]
) -> list[LagGradient]:
    models = [record.id for record in records if record is not None]
    return lab.gradients(label, cell, models, task.inputs, _LAGS) if models else []
