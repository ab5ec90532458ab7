"""The plots of the report, one function each. Knows no HTML and no server."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullFormatter

from unroll.lecture.results import ADDING_TRIVIAL, Comparison, Hello, LagGradient, Results

# Okabe & Ito's palette: told apart by every kind of eye.
_COLOURS = {"rnn": "#d55e00", "lstm": "#0072b2", "gru": "#009e73"}
_SHADES = ("#08306b", "#2171b5", "#6baed6", "#c6dbef")
_FLOOR = 1e-12


def draw(results: Results) -> dict[str, Figure]:
    """Every figure of the report by its name."""
    adding, language = results.adding, results.language
    return {
        "hello": hello(results.hello),
        "adding-learning": learning(adding, "RMSE", trivial=ADDING_TRIVIAL),
        "adding-gradient": gradients(adding),
        "adding-truncation": truncation(adding, "RMSE", "adding problem"),
        "language-learning": learning(language, "nats per character"),
        "language-gradient": gradients(language),
        "language-truncation": truncation(language, "nats per character", "text"),
        "learning-rates": rates(adding, language),
    }


def hello(walked: Hello) -> Figure:
    """State, read-out and softmax of each step, side by side."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    read = [step.symbol for step in walked.steps]
    pictures = (
        ("$h_t = \\tanh(W_{xh} x_t + W_{hh} h_{t-1} + b_h)$", "h", "RdBu_r", -1.0, 1.0),
        ("$y_t = W_{hy} h_t + b_y$", "y", "RdBu_r", None, None),
        ("softmax $y_t$; the target is framed", "p", "Greys", 0.0, 1.0),
    )
    for axes, (title, name, colours, low, high) in zip(figure.subplots(1, 3), pictures, strict=True):
        values = np.array([getattr(step, name) for step in walked.steps]).T
        bound = float(np.abs(values).max())
        axes.imshow(values, cmap=colours, vmin=-bound if low is None else low, vmax=bound if high is None else high)
        for (row, column), value in np.ndenumerate(values):
            is_dark = abs(value) > 0.6 * (bound if high is None else high)
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color="w" if is_dark else "k")
        axes.set_title(title, fontsize=9)
        axes.set_xticks(range(len(read)), [f"{symbol!r}" for symbol in read])
        axes.set_xlabel("symbol read at step t")
        names = [f"unit {unit}" for unit in range(len(values))] if name == "h" else walked.alphabet
        axes.set_yticks(range(len(values)), names)
        if name == "p":
            for column, step in enumerate(walked.steps):
                corner = (column - 0.5, walked.alphabet.index(step.target) - 0.5)
                axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=_COLOURS["rnn"], linewidth=2))
    return figure


def learning(comparison: Comparison, score: str, *, trivial: float | None = None) -> Figure:
    """Validation score against optimizer step, a thin line a seed, the mean thick."""
    figure = Figure(figsize=(6.5, 3.6), layout="constrained")
    axes = figure.subplots()
    for curve in comparison.curves:
        for steps, values in zip(curve.steps, curve.values, strict=True):
            axes.plot(steps, values, color=_COLOURS[curve.cell], alpha=0.35, linewidth=0.8)
        shortest = min((len(values) for values in curve.values), default=0)
        if shortest:
            mean = np.mean([values[:shortest] for values in curve.values], axis=0)
            axes.plot(curve.steps[0][:shortest], mean, color=_COLOURS[curve.cell], linewidth=2, label=curve.label)
    if trivial is not None:
        axes.axhline(trivial, color="0.5", linestyle=":", label="always the mean")
        axes.set_yscale("log")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel(f"validation {score}")
    axes.legend(frameon=False)
    return figure


def gradients(comparison: Comparison) -> Figure:
    """Gradient against lag before and after training, each curve from its own largest norm."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, title, found in ((left, "before training", comparison.before), (right, "after", comparison.after)):
        for gradient in found:
            _plot_gradient(axes, gradient, _COLOURS[gradient.cell], gradient.label)
        axes.set_title(title)
    _label_gradients(left, right)
    return figure


def truncation(comparison: Comparison, score: str, title: str) -> Figure:
    """Score against tbptt_steps, and how far back the trained networks' gradient reaches."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    whole = comparison.row("lstm")
    rows = [*comparison.truncated, whole]
    names = [str(row.tbptt_steps) if row.tbptt_steps else "all" for row in rows]
    for place, row in enumerate(rows):
        left.plot([place] * len(row.finite), row.finite, "o", color=_COLOURS["lstm"], alpha=0.4, markersize=4)
    left.errorbar(
        range(len(rows)), [row.mean for row in rows], [row.deviation for row in rows], color="k", capsize=4, fmt="_"
    )
    left.set_xticks(range(len(rows)), names)
    left.set_xlabel("tbptt_steps: the gradient is cut after so many")
    left.set_ylabel(f"validation {score} of the LSTM")
    left.set_title(title)
    uncut = [gradient for gradient in comparison.after if gradient.cell == "lstm"]
    labels = dict.fromkeys(gradient.label for gradient in comparison.after_truncated)
    shades = dict(zip(labels, _SHADES[1:], strict=False))
    for gradient in uncut:
        _plot_gradient(right, gradient, _SHADES[0], f"tbptt_steps {names[-1]}")
    for gradient in comparison.after_truncated:
        _plot_gradient(right, gradient, shades.get(gradient.label, _SHADES[-1]), gradient.label)
    right.set_title("after training")
    _label_gradients(right)
    return figure


def rates(*comparisons: Comparison) -> Figure:
    """The search: score at seed 0 against learning rate."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    titles = ("adding problem: RMSE", "text: nats per character")
    for axes, title, comparison in zip(figure.subplots(1, len(comparisons)), titles, comparisons, strict=True):
        for cell, scores in comparison.searched.items():
            found = {float(rate): score for rate, score in scores.items() if score is not None}
            axes.plot(list(found), list(found.values()), "o-", color=_COLOURS[cell], label=cell.upper())
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("peak learning rate")
        axes.set_title(title)
        axes.legend(frameon=False)
    return figure


def _plot_gradient(axes: Axes, gradient: LagGradient, colour: str, label: str) -> None:
    norms = np.array(gradient.norms)
    is_cell = gradient.state == "cell"
    name = f"{label}, cell state" if is_cell else label
    shown = np.maximum(norms / norms.max(), _FLOOR / 10)
    axes.plot(shown, color=colour, linestyle="--" if is_cell else "-", linewidth=1.4, label=name)


def _label_gradients(*all_axes: Axes) -> None:
    for axes in all_axes:
        axes.set_yscale("log")
        axes.set_ylim(_FLOOR, 3)
        axes.set_xlabel("lag k, steps back")
    all_axes[0].set_ylabel("$|\\partial\\,answer_t / \\partial\\,h_{t-k}|$, largest = 1")
    all_axes[-1].legend(frameon=False, fontsize=8)
