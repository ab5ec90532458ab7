"""Successive halving without waiting (ASHA, Li et al. 2020, stopping instead of pausing). Pure functions."""

from collections.abc import Iterable, Sequence


def goes_on(score: float, scores: Sequence[float], *, factor: int, is_maximized: bool) -> bool:
    """Whether a trial with `score` at a rung is among the best 1/factor of `scores`, its own included, or the best."""
    ordered = sorted(scores, reverse=is_maximized)
    last = ordered[max(1, len(ordered) // factor) - 1]
    return score >= last if is_maximized else score <= last


def score_at(step: int, validations: Iterable[tuple[int, float]]) -> float | None:
    """The score of the first of `validations` (step, score) at or past `step`."""
    return next((score for at, score in validations if at >= step), None)
