"""What the shell may complete: ids and names of what the server has. Never waits long, never says anything.

Typer leaves out what does not begin as the half-typed word does.
"""

from collections.abc import Callable, Iterable

import unroll

MOST_SHOWN = 100
PATIENCE_SECONDS = 1.0

Candidates = list[tuple[str, str]]

CELLS = ("rnn", "lstm", "gru")
KINDS = ("text", "labelled", "tagged", "pairs", "series", "sequences")
STATES = ("queued", "running", "pausing", "paused", "succeeded", "failed", "cancelled")
TASKS = ("language_model", "tag", "classify", "forecast", "regress", "generate", "translate")


def job_ids() -> Candidates:
    """The newest jobs, with their state and name."""
    return _asked(
        lambda client: (
            (one.id, f"{one.state} {one.spec.name or ''}".strip()) for one in client.jobs.list(limit=MOST_SHOWN)
        ),
    )


def model_names(incomplete: str) -> Candidates:
    """Aliases and the best of finished jobs; behind a colon, every checkpoint."""
    return _asked(
        lambda client: (
            (one.id, one.owned_by or "") for one in client.models.list(checkpoints=":" in incomplete, limit=MOST_SHOWN)
        ),
    )


def dataset_ids() -> Candidates:
    """The newest data sets, with their name."""
    return _asked(lambda client: ((one.id, one.name or one.kind) for one in client.datasets.list(limit=MOST_SHOWN)))


def sweep_ids() -> Candidates:
    """The newest sweeps, with their state."""
    return _asked(lambda client: ((one.id, one.state) for one in client.sweeps.list(limit=MOST_SHOWN)))


def among(*words: str) -> Callable[[], list[str]]:
    """Completes to one of `words`."""
    return lambda: list(words)


def _asked(found: "Callable[[unroll.Client], Iterable[tuple[str, str]]]") -> Candidates:
    try:
        with unroll.Client(timeout_seconds=PATIENCE_SECONDS, max_retries=0) as client:
            return list(found(client))
    except Exception:  # whatever it is, a half-typed line is no place to say it
        return []
