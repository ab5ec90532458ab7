"""What single units do over a text, and which of its features they follow (Karpathy, Johnson & Li 2015).

Shapes: T steps, H hidden.
"""

import numpy as np
from numpy.typing import NDArray

from rnncore.inspection import UnitView, short, shortened
from rnncore.unrolled import Trace


def unit_views(trace: Trace, symbols: list[str], *, chosen: tuple[tuple[int, int], ...], most: int) -> list[UnitView]:
    """The `chosen` (layer, unit), else the `most` that follow a feature of the symbols most closely.

    Without symbols these are the ones that vary most.
    """
    features = _features(symbols) if symbols else {}
    followed: dict[tuple[int, int], tuple[str, float]] = {}
    rank: dict[tuple[int, int], float] = {}
    for layer in range(len(trace.hidden)):
        values_TH = trace.content(layer).double().numpy()
        deviations_H = values_TH.std(axis=0)
        for unit, deviation in enumerate(deviations_H):
            rank[layer, unit] = float(deviation) if not features else 0.0
        for name, feature_T in features.items():
            for unit, correlation in enumerate(_correlations(values_TH, feature_T)):
                if abs(correlation) > rank[layer, unit]:
                    rank[layer, unit] = abs(correlation)
                    followed[layer, unit] = (name, correlation)
    views = []
    for layer, unit in chosen or sorted(rank, key=lambda unit: -rank[unit])[:most]:
        name, correlation = followed.get((layer, unit), ("", 0.0))
        views.append(
            UnitView(
                layer=layer,
                unit=unit,
                feature=name or None,
                correlation=short(correlation) if name else None,
                values=shortened(trace.content(layer)[:, unit].tolist()),
                gates={gate: shortened(values_TH[:, unit].tolist()) for gate, values_TH in trace.gates[layer].items()},
            )
        )
    return views


def _correlations(values_TH: NDArray[np.float64], feature_T: NDArray[np.float64]) -> list[float]:
    """Pearson's, of each unit with the feature; 0 where either is constant."""
    centred_TH, centred_T = values_TH - values_TH.mean(axis=0), feature_T - feature_T.mean()
    scale_H = np.sqrt((centred_TH**2).sum(axis=0) * (centred_T**2).sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        found: list[float] = np.where(scale_H > 1e-12, centred_T @ centred_TH / scale_H, 0.0).tolist()
    return found


def _features(symbols: list[str]) -> dict[str, NDArray[np.float64]]:
    """What a unit might follow: a number for each symbol read."""
    position_in_line, position_in_word, quoted = [], [], []
    line = word = 0
    is_quoted = False
    for symbol in symbols:
        line = 0 if symbol == "\n" else line + 1
        word = word + 1 if symbol.isalnum() else 0
        is_quoted ^= symbol == '"'
        position_in_line.append(line)
        position_in_word.append(word)
        quoted.append(is_quoted)
    found = {
        "position in line": position_in_line,
        "position in word": position_in_word,
        "inside quotes": quoted,
        "upper case": [symbol.isupper() for symbol in symbols],
        "line end": [symbol == "\n" for symbol in symbols],
        "blank": [symbol == " " for symbol in symbols],
        "punctuation": [not symbol.isalnum() and not symbol.isspace() for symbol in symbols],
    }
    return {name: np.array(values, dtype=np.float64) for name, values in found.items()}
