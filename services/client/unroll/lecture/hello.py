"""The lecture's h-e-l-l-o: a network of three tanh units learns which letter comes next; each step taken by hand.

x_t is one-hot over h, e, l, o. h_t = tanh(W_xh x_t + W_hh h_(t-1) + b_h); y_t = W_hy h_t + b_y; p_t = softmax(y_t).
The lecture's network has no biases and no embedding: here W_xh is the product of input weights and embedding, and b_h
the sum of the two biases.
"""

from itertools import pairwise
from typing import Any

import numpy as np

from unroll.lecture.laboratory import Laboratory
from unroll.lecture.results import Hello, HelloStep

WORD = "hello"
_REPEATED = WORD * 60
_SPEC: dict[str, Any] = {
    "name": "h-e-l-l-o",
    "model": {"cell": "rnn", "hidden_size": 3, "embedding_size": 4, "dropout": 0},
    "train": {
        "batch_size": 1,
        "tbptt_steps": len(WORD),
        "max_steps": 1500,
        "learning_rate": 0.03,
        "weight_decay": 0,
        "precision": "fp32",
        "seed": 1,
    },
}


def hello(lab: Laboratory) -> Hello:
    """Trains it, walks through its steps, and holds them against what the server answers for the same model."""
    dataset = lab.client.datasets.upload(_REPEATED.encode(), name="hello")
    record = lab.run("hello", {0: {"dataset": dataset.id, **_SPEC}})[0]
    assert record is not None
    alphabet = sorted(set(WORD))
    walked = walk(lab.weights(record.id), alphabet)
    seen = lab.client.models.inspect(record.id, WORD, top=len(alphabet)).symbols
    written = lab.client.completions.create(model=record.id, prompt=WORD[0], max_tokens=len(WORD) - 1, temperature=0)
    differences = [
        abs(alternative["probability"] - step.p[alphabet.index(alternative["symbol"])])
        for step, following in zip(walked["steps"], seen[1:], strict=True)
        for alternative in following["top"]
    ]
    return Hello(
        alphabet=alphabet,
        **walked,
        written=WORD[0] + written.choices[0].text,
        largest_difference=max(differences),
        job=record.id,
    )


def walk(weights: dict[str, np.ndarray], alphabet: list[str]) -> dict[str, Any]:
    """The fields of Hello that follow from the weights of a one-layer RNN alone."""
    w_xh = weights["recurrent.weight_ih_l0"] @ weights["embedding.weight"].T
    w_hh, w_hy = weights["recurrent.weight_hh_l0"], weights["output.weight"]
    bias_h = weights["recurrent.bias_ih_l0"] + weights["recurrent.bias_hh_l0"]
    bias_y = weights["output.bias"]
    h, steps = np.zeros(len(w_hh)), []
    for symbol, target in pairwise(WORD):
        x = np.eye(len(alphabet))[alphabet.index(symbol)]
        from_input, from_state = w_xh @ x, w_hh @ h
        h = np.tanh(from_input + from_state + bias_h)
        y = w_hy @ h + bias_y
        p = np.exp(y - y.max())
        p /= p.sum()
        vectors = {"x": x, "from_input": from_input, "from_state": from_state, "h": h, "y": y, "p": p}
        steps.append(
            HelloStep(symbol=symbol, target=target, **{name: vector.tolist() for name, vector in vectors.items()})
        )
    matrices = {"w_xh": w_xh, "w_hh": w_hh, "w_hy": w_hy, "bias_h": bias_h, "bias_y": bias_y}
    return {name: matrix.tolist() for name, matrix in matrices.items()} | {"steps": steps}
