"""How fast the engine under sampling writes, beside a loop over torch.nn and the same step in NumPy, on one thread.

    python benchmarks/sampling.py [--rounds 5] [--only lstm:512x2] [--quality TEXT]

Each contender runs a moment in each round, in turns, and its fastest counts, in the thread's own time: on a busy
machine the least disturbed. Networks are untrained, embedding 128, 65 symbols; choosing a symbol is left out.

stepper    rnncore.stepper.Batch.step, 1, 64 and 512 rows, whose bits depend on no company
torch.nn   Embedding, RNN, LSTM or GRU, Linear, one symbol at a time under inference_mode, 1 and 64 rows
numpy      one row in float32 by products of a vector and a matrix into buffers, with a table for the lowest layer
bandwidth  of one row: bytes of weights that a step touches, at the rate at which as many bytes are summed
peak       of 64 and 512 rows: 2 operations a weight and row, at the rate of a square product in float32

Behind the table: what a product of the size of each recurrent one takes with one row and with the fewest that agree.
--quality trains a small model on TEXT for 200 steps and prints bits per character in each precision.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

sys.path.insert(0, str(Path(__file__).parent.parent))
from rnncore.metrics import bits_per_character
from rnncore.network import RecurrentNetwork
from rnncore.products import Precision
from rnncore.spec import ModelSpec
from rnncore.stepper import Stepper

CELLS, SIZES, ROWS = ("lstm", "gru", "rnn"), ((512, 2), (128, 2)), (1, 64, 512)
BYTES: dict[Precision, int] = {"fp32": 4, "bf16": 2, "int8": 1}
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
EMBEDDING, SYMBOLS, MOMENT_SECONDS = 128, 65, 0.1


class Case(NamedTuple):
    cell: Any
    hidden: int
    layers: int

    @property
    def num_weights(self) -> int:
        """Of all products of a step."""
        return (2 * self.layers - 1) * GATES[self.cell] * self.hidden**2 + self.hidden * SYMBOLS

    def network(self) -> RecurrentNetwork:
        torch.manual_seed(0)
        model = ModelSpec(
            cell=self.cell, hidden_size=self.hidden, num_layers=self.layers, embedding_size=EMBEDDING, dropout=0
        )
        return RecurrentNetwork(model, vocabulary_size=SYMBOLS).eval()

    def num_bytes(self, precision: Precision) -> int:
        """Of the weights that a step touches: the output is float32 always, and small layers are."""
        output = self.hidden * SYMBOLS
        of_one = BYTES[precision] if self.hidden >= 192 else 4
        return 4 * output + of_one * (self.num_weights - output)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", metavar="CELL:SIZExLAYERS")
    parser.add_argument("--quality", type=Path, metavar="TEXT")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    print(f"{'':<17}{'one row':^42}{'64 rows':^35}{'512 rows':^18}")
    print(
        f"{'':<17}{'stepper':>10}{'/torch.nn':>10}{'/numpy':>7}{'of bandwidth':>13}"
        f"{'stepper':>10}{'/one row':>9}{'/torch.nn':>10}{'of peak':>8}{'stepper':>10}{'of peak':>8}"
    )
    notes = []
    for cell in CELLS:
        for hidden, layers in SIZES:
            if not options.only or f"{cell}:{hidden}x{layers}" in options.only:
                notes.append(row_of_table(Case(cell, hidden, layers), options.rounds))
    print("\n".join(notes))
    if options.quality:
        quality(options.quality.read_text())


def row_of_table(case: Case, rounds: int) -> str:
    """Prints each precision that there is at this size; returns what padding costs."""
    network = case.network()
    precisions: list[Precision] = list(BYTES) if case.hidden >= 192 else ["fp32"]
    contenders: dict[Any, Callable[[], Any]] = {("numpy", 1): numpy_step(network)}
    for num_rows in (1, 64):
        contenders["torch.nn", num_rows] = torch_step(case, num_rows)
    for precision in precisions:
        stepper = Stepper(network, precision=precision)
        for num_rows in ROWS:
            contenders[precision, num_rows] = stepper_step(stepper, num_rows)
        weights = torch.ones(case.num_bytes(precision) // 4)
        contenders["bytes", precision] = weights.sum
    square, out = torch.randn(1024, 1024), torch.empty(1024, 1024)
    contenders["square", 1024] = lambda: torch.mm(square, square, out=out)
    fewest = stepper._packed.sizes[0]
    recurrent = Stepper(network)._packed.layers[0].recurrent[0]
    for num_rows in (1, fewest):
        x, row, y = (torch.randn(num_rows, size) for size in (*recurrent.shape, recurrent.shape[1]))
        contenders["product", num_rows] = lambda x=x, row=row, y=y: recurrent(x, row, y)
    with torch.inference_mode():
        seconds = fastest(contenders, rounds)
    peak = 2 * 1024**3 / seconds["square", 1024]
    for precision in precisions:
        rate = {num_rows: num_rows / seconds[precision, num_rows] for num_rows in ROWS}
        share = {num_rows: 2 * case.num_weights * rate[num_rows] / peak for num_rows in ROWS}
        print(
            f"{case.cell:<5}{case.hidden}x{case.layers:<2}{precision:<5}{rate[1]:>10,.0f}"
            f"{rate[1] * seconds['torch.nn', 1]:>10.2f}{rate[1] * seconds['numpy', 1]:>7.2f}"
            f"{rate[1] * seconds['bytes', precision]:>13.1%}"
            f"{rate[64]:>10,.0f}{rate[64] / rate[1]:>9.1f}{rate[64] * seconds['torch.nn', 64] / 64:>10.2f}"
            f"{share[64]:>8.1%}{rate[512]:>10,.0f}{share[512]:>8.1%}",
            flush=True,
        )
    one, padded = (seconds["product", num_rows] * 1e6 for num_rows in (1, fewest))
    return (
        f"{case.cell} {case.hidden}x{case.layers}: a recurrent product takes {one:.1f} us with one row, "
        f"{padded:.1f} with {fewest}, the fewest that agree; peak {peak / 1e9:.0f} GFLOP/s"
    )


def fastest(contenders: dict[Any, Callable[[], Any]], rounds: int) -> dict[Any, float]:
    """Seconds of the processor for one call, in turns; the least of all moments."""
    least = dict.fromkeys(contenders, float("inf"))
    for _ in range(rounds):
        for name, run in contenders.items():
            run()
            began_at = time.perf_counter()
            while time.perf_counter() - began_at < MOMENT_SECONDS:
                at = time.thread_time()
                run()
                run()
                least[name] = min(least[name], (time.thread_time() - at) / 2)
    return least


def stepper_step(stepper: Stepper, num_rows: int) -> Callable[[], Any]:
    batch, ids_B = stepper.batch(num_rows), torch.arange(num_rows) % SYMBOLS
    for state_S in stepper.zero_state(num_rows):
        batch.join(state_S)
    return lambda: batch.step(ids_B)


def torch_step(case: Case, num_rows: int) -> Callable[[], Any]:
    """The loop that one writes."""
    embedding, output = nn.Embedding(SYMBOLS, EMBEDDING), nn.Linear(case.hidden, SYMBOLS)
    recurrent = getattr(nn, case.cell.upper())(EMBEDDING, case.hidden, case.layers, batch_first=True)
    ids_B1, state = torch.arange(num_rows)[:, None] % SYMBOLS, None

    def step() -> None:
        nonlocal state
        hidden, state = recurrent(embedding(ids_B1), state)
        output(hidden[:, -1])

    return step


def numpy_step(network: RecurrentNetwork) -> Callable[[], Any]:
    """One row, every operation into a buffer; gates in the stepper's order."""
    model, hidden = network.model, network.model.hidden_size
    gates, layers = GATES[model.cell], range(model.num_layers)

    def parameter(name: str, layer: int) -> Any:
        value = getattr(network.recurrent, f"{name}_l{layer}").detach().numpy()
        order = [0, 1, 3, 2] if model.cell == "lstm" else range(gates)
        return np.concatenate([np.split(value, gates)[gate] for gate in order])

    w_ih, w_hh = ([np.ascontiguousarray(parameter(name, n).T) for n in layers] for name in ("weight_ih", "weight_hh"))
    bias = [parameter("bias_ih", n) + parameter("bias_hh", n) for n in layers]
    late = parameter("bias_hh", 0)[2 * hidden :] if model.cell == "gru" else None  # zero, as the other biases are
    table = network.embedding.weight.detach().numpy() @ w_ih[0] + bias[0]
    w_out, b_out = np.ascontiguousarray(network.output.weight.detach().numpy().T), network.output.bias.detach().numpy()
    h, c = (np.zeros((model.num_layers, hidden), np.float32) for _ in range(2))
    g, xg, some, logits = (np.zeros(size, np.float32) for size in (gates * hidden, gates * hidden, hidden, SYMBOLS))

    def sigmoid(x: Any) -> None:
        np.negative(x, out=x)
        np.exp(x, out=x)
        x += 1
        np.reciprocal(x, out=x)

    def advance(layer: int, x: Any) -> None:
        np.dot(h[layer], w_hh[layer], out=g)
        if model.cell == "rnn":
            np.add(g, x, out=g)
            np.tanh(g, out=h[layer])
        elif model.cell == "lstm":
            np.add(g, x, out=g)
            sigmoid(g[: 3 * hidden])
            candidate = g[3 * hidden :]
            np.tanh(candidate, out=candidate)
            c[layer] *= g[hidden : 2 * hidden]
            np.multiply(g[:hidden], candidate, out=some)
            np.add(c[layer], some, out=c[layer])
            np.tanh(c[layer], out=h[layer])
            h[layer] *= g[2 * hidden : 3 * hidden]
        else:
            rz, n = g[: 2 * hidden], g[2 * hidden :]
            rz += x[: 2 * hidden]
            sigmoid(rz)
            n += late
            n *= rz[:hidden]
            n += x[2 * hidden :]
            np.tanh(n, out=n)
            np.subtract(h[layer], n, out=some)
            np.multiply(some, rz[hidden:], out=some)
            np.add(n, some, out=h[layer])

    def step() -> None:
        advance(0, table[7])
        for layer in layers[1:]:
            np.dot(h[layer - 1], w_ih[layer], out=xg)
            np.add(xg, bias[layer], out=xg)
            advance(layer, xg)
        np.dot(h[-1], w_out, out=logits)
        np.add(logits, b_out, out=logits)

    return step


def quality(text: str) -> None:
    """An LSTM of 256x2 after 200 steps: bits per character of the same validation text in each precision."""
    number = {symbol: i for i, symbol in enumerate(sorted(set(text)))}
    ids = torch.tensor([number[symbol] for symbol in text])
    training, validation = ids[: int(len(ids) * 0.9)], ids[int(len(ids) * 0.9) :]
    torch.manual_seed(0)
    model = ModelSpec(cell="lstm", hidden_size=256, num_layers=2, embedding_size=EMBEDDING, dropout=0)
    network = RecurrentNetwork(model, vocabulary_size=len(number))
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3)
    for _ in range(200):
        starts = torch.randint(len(training) - 65, (32, 1))
        window = training[starts + torch.arange(65)]
        loss = cross_entropy(network(window[:, :-1])[0].flatten(0, 1), window[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    rows = validation[: 16 * 2001].view(16, 2001)
    logits = {}
    for precision in BYTES:
        stepper = Stepper(network.eval(), precision=precision)
        every = stepper.read([row[:-1].numpy() for row in rows], stepper.zero_state(16), every=True).every
        assert every is not None
        logits[precision] = torch.cat(every)
        bits = bits_per_character(cross_entropy(logits[precision], rows[:, 1:].flatten()).item())
        furthest = (logits[precision] - logits["fp32"]).abs().max()
        print(
            f"lstm 256x2 trained 200 steps, {precision}: {bits:.5f} bits/character, logits at most {furthest:.1e} off"
        )


if __name__ == "__main__":
    main()
