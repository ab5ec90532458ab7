"""Every task on real data, through the service, beside the simplest thing that could do it.

    python benchmarks/tasks.py names|weather|adding|spelling [--seeds 5] [--minutes 10]

names     locale of a name: accuracy, beside the largest class and logistic regression on character n-grams
weather   tomorrow's maximum temperature in Seattle: RMSE, beside persistence and a linear AR(14)
adding    the adding problem over 100, 200 and 400 steps at equal size: RMSE of RNN, LSTM and GRU
spelling  phonemes of an English word: share of words wrong, greedily and by a beam, against training time
"""

import argparse
import io
import json
import statistics
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from unroll.lecture.adding import adding_problem
from unroll.lecture.experiments import equal_sizes

from benchmarks import data
from rnncore.datasets.split import split_order
from tests.running_service import Service, running

CELLS = ("rnn", "lstm", "gru")
# Equal numbers of parameters on two channels, about 4,650.
ADDING_SIZES = equal_sizes(32, inputs=2, outputs=1)


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("names", "weather", "adding", "spelling"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=10, help="training time of spelling")
    options = parser.parse_args()
    with running() as service:
        if options.what == "spelling":
            spelling(service, options.minutes)
        else:
            {"names": names, "weather": weather, "adding": adding}[options.what](service, options.seeds)


def names(service: Service, seeds: int) -> None:
    """Accuracy on the same held-out names."""
    content = data.names()
    rows = [json.loads(line) for line in content.decode().splitlines()]
    order = split_order(len(rows))
    split = int(len(rows) * 0.9)
    training, validation = ([rows[i] for i in part] for part in (order[:split], order[split:]))
    majority = Counter(row["label"] for row in training).most_common(1)[0][0]
    share = statistics.mean(row["label"] == majority for row in validation)
    print(f"{len(rows)} names of {len({row['label'] for row in rows})} locales, {len(validation)} held out")
    print(f"largest class          {share:.4f}")
    print(f"logistic regression    {_logistic_regression(training, validation):.4f}  (n-grams of 1 to 4 characters)")
    dataset = upload(service, "labelled", content)
    for cell in CELLS:
        spec = {
            "task": "classify",
            "dataset": dataset,
            "model": {
                "cell": cell,
                "hidden_size": 128,
                "embedding_size": 64,
                "bidirectional": True,
                "dropout": 0.5,
                "unknown": True,
            },
            "train": {"batch_size": 64, "max_epochs": 12, "learning_rate": 2e-3, "validate_every_steps": 323},
        }
        print(f"{cell:<22} {spread(service, spec, seeds, 'accuracy')}")


def _logistic_regression(training: list[dict[str, str]], validation: list[dict[str, str]]) -> float:
    from sklearn.feature_extraction.text import TfidfVectorizer  # here: the other tables need no scikit-learn
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), lowercase=False, sublinear_tf=True),
        LogisticRegression(C=10, max_iter=1000),
    )
    texts, labels = ([row[name] for row in training] for name in ("text", "label"))
    model.fit(texts, labels)
    return float(model.score([row["text"] for row in validation], [row["label"] for row in validation]))


def weather(service: Service, seeds: int) -> None:
    """RMSE in degrees over the last fifth of four years."""
    content = data.weather()
    temperature = np.loadtxt(io.BytesIO(content), delimiter=",", skiprows=1)[:, -1]
    split = int(len(temperature) * 0.8)
    persistence = np.sqrt(np.mean((temperature[split:] - temperature[split - 1 : -1]) ** 2))
    print(f"persistence            {persistence:.3f}")
    print(f"linear AR(14)          {_autoregression(temperature, split, 14):.3f}")
    dataset = upload(service, "series", content, target="temp_max")
    for cell in CELLS:
        spec = {
            "task": "forecast",
            "dataset": dataset,
            "model": {"cell": cell, "hidden_size": 32, "dropout": 0.2},
            "train": {
                "batch_size": 32,
                "tbptt_steps": 14,
                "max_steps": 1200,
                "learning_rate": 3e-3,
                "weight_decay": 0.05,
                "validation_fraction": 0.2,
                "validate_every_steps": 100,
            },
        }
        print(f"{cell:<22} {spread(service, spec, seeds, 'rmse')}")


def _autoregression(series: np.ndarray, split: int, order: int) -> float:
    """Least squares on the `order` values before, fitted on the training part."""
    rows = np.stack([series[at - order : at] for at in range(order, len(series))])
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    targets = series[order:]
    weights, *_ = np.linalg.lstsq(rows[: split - order], targets[: split - order], rcond=None)
    return float(np.sqrt(np.mean((rows[split - order :] @ weights - targets[split - order :]) ** 2)))


def adding(service: Service, seeds: int) -> None:
    """RMSE over 2,000 held-out sequences; always answering the mean has 0.408."""
    for steps in (100, 200, 400):
        dataset = upload(service, "sequences", adding_problem(18_000, steps, seed=steps))
        for cell, size in ADDING_SIZES.items():
            spec = {
                "task": "regress",
                "dataset": dataset,
                "model": {"cell": cell, "hidden_size": size, "dropout": 0},
                "train": {
                    "batch_size": 32,
                    "max_steps": 3000,
                    "learning_rate": 0.01,
                    "validation_fraction": 0.1111,
                    "validate_every_steps": 500,
                    "checkpoint_every_steps": 3000,
                },
            }
            print(f"{steps:>4} steps  {cell:<10} {spread(service, spec, seeds, 'rmse')}", flush=True)


def spelling(service: Service, minutes: float) -> None:
    """Words wrong of 2,000 that the training never saw, words of equal spelling kept together."""
    entries = data.pronunciations()
    dataset = upload(service, "pairs", data.spelling())
    fraction = 2_000 / len(entries)
    spec = {
        "task": "translate",
        "dataset": dataset,
        "model": {"hidden_size": 384, "embedding_size": 96, "bidirectional": True, "dropout": 0.2},
        "train": {
            "batch_size": 128,
            "max_seconds": minutes * 60,
            "learning_rate": 2e-3,
            "validation_fraction": fraction,
            "validate_every_steps": 500,
        },
    }
    record = trained(service, spec, minutes * 60 * 2 + 600)
    rows = service.api.get(f"/v1/jobs/{record['id']}/metrics").json()["data"]
    for row in rows:
        if row["validation_loss"] is not None:
            error = row["metrics"]["sequence_error_rate"]
            seconds, loss = row["training_seconds"], row["validation_loss"]
            print(f"{seconds:>6.0f} s  loss {loss:.4f}  wrong of 512, greedy {error:.4f}")
    held_out = [entries[i] for i in split_order(len(entries))[int(len(entries) * (1 - fraction)) :]]
    # The best by loss is not the best by words: the loss rises while fewer words are wrong.
    for which, width in (("best", 1), ("best", 4), ("latest", 1), ("latest", 4)):
        wrong = 0
        for at in range(0, len(held_out), 200):
            part = held_out[at : at + 200]
            body = {"model": f"{record['id']}:{which}", "inputs": [word for word, _ in part], "beam_width": width}
            answer = service.api.post("/v1/predict", json=body, timeout=600).raise_for_status().json()
            wrong += sum(
                one["sequences"][0]["symbols"] != list(sounds)
                for one, (_, sounds) in zip(answer["data"], part, strict=True)
            )
        print(f"words wrong of {len(held_out)}, {which} checkpoint, beam of {width}: {wrong / len(held_out):.4f}")


def upload(service: Service, kind: str, content: bytes, **params: str) -> str:
    """The id of the data set."""
    answer = service.api.post("/v1/datasets", params={"kind": kind, **params}, content=content, timeout=600)
    return str(answer.raise_for_status().json()["id"])


def trained(service: Service, spec: dict[str, Any], seconds: float = 1800) -> dict[str, Any]:
    """The record of the job once it has succeeded."""
    answer = service.api.post("/v1/jobs", json=spec)
    assert answer.status_code == 200, answer.text
    record = service.ended(answer.json()["id"], seconds)
    assert record["state"] == "succeeded", record["error"]
    return record


def spread(service: Service, spec: dict[str, Any], seeds: int, metric: str) -> str:
    """Mean and standard deviation of the metric at each run's best loss, over seeds."""
    found = []
    for seed in range(seeds):
        record = trained(service, spec | {"train": spec["train"] | {"seed": seed}})
        found.append(record["best"]["metrics"][metric])
    deviation = statistics.stdev(found) if len(found) > 1 else 0.0
    return f"{statistics.mean(found):.4f} +- {deviation:.4f}  ({', '.join(f'{value:.4f}' for value in found)})"


if __name__ == "__main__":
    main()
