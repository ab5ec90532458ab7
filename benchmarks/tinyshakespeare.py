"""What the defaults learn of tinyshakespeare in 180 seconds of training, through HTTP, beside a 5-gram model.

    python benchmarks/tinyshakespeare.py [TEXT] [--seconds 180] [--set model.forget_bias=1]

Trains by `unroll submit` on a service of its own, then computes the loss again from the exported weights with plain
torch, nothing of ours in the computation: over the whole last tenth, in one pass with its state carried, and in windows
of 256 that each start from the zero state, as transformers are measured.
"""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter, defaultdict
from math import log
from pathlib import Path

import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.running_service import running

TEXT = Path(__file__).parent.parent.parent / "shared" / "data" / "tinyshakespeare.txt"
TARGET_NATS = 1.50
WINDOW = 256


def main() -> None:
    """Prints the table; exits 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", type=Path, default=TEXT)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=JSON", help="as of unroll submit")
    options = parser.parse_args()
    text = options.text.read_text()
    split = int(len(text) * 0.9)
    with running() as service:
        began_at = time.monotonic()
        unroll = [str(Path(sys.executable).with_name("unroll"))]
        command = [*unroll, "submit", str(options.text), "--max-seconds", str(options.seconds), "--json"]
        command += [argument for field in options.set for argument in ("--set", field)]
        printed = subprocess.run(command, env=service.environment, check=True, capture_output=True, text=True).stdout
        job = json.loads(printed)
        record = service.ended(job["id"], options.seconds * 3)
        wall = time.monotonic() - began_at
        best = service.api.get(f"/v1/models/{job['id']}").json()
        checkpoints = service.home / "storage" / "jobs" / job["id"] / "checkpoints"
        folder = next(checkpoints.glob(f"{best['step']:010}-*"))
        model = record["spec"]["model"]
        recomputed, windowed = plain_losses(folder / "weights.safetensors", text, split, model["hidden_size"])
    changes = " ".join(options.set) or "defaults"
    reported = record["best"]["validation_loss"]
    print(f"job               {model['cell']} {model['hidden_size']}x1, {changes}")
    print(f"steps             {record['progress']['step']}, best at {best['step']}")
    print(f"reported          {reported:.4f} nats per character (whole last tenth, carried state)")
    print(f"recomputed        {recomputed:.4f} nats per character (plain torch, one pass)")
    print(f"windows of 256    {windowed:.4f} nats per character (plain torch, each from the zero state)")
    print(f"5-gram            {five_gram_loss(text[:split], text[split:]):.4f} nats per character (Witten-Bell)")
    print(f"wall / budget     {wall / options.seconds:.3f}")
    sys.exit(0 if recomputed <= TARGET_NATS else 1)


def plain_losses(path: Path, text: str, split: int, hidden: int) -> tuple[float, float]:
    """Nats per character of an exported LSTM over `text[split:]`, by torch alone: carried state, windows of 256."""
    w = load_file(path)
    symbols = sorted(set(text[:split]))
    ids = torch.tensor([symbols.index(s) for s in text[split:]])
    lstm = torch.nn.LSTM(w["embedding.weight"].shape[1], hidden, batch_first=True)
    lstm.load_state_dict({n.removeprefix("recurrent."): t for n, t in w.items() if n.startswith("recurrent.")})
    with torch.no_grad():
        out, _ = lstm(w["embedding.weight"][ids[None, :-1]])
        logits = out[0] @ w["output.weight"].T + w["output.bias"]
        carried = torch.nn.functional.cross_entropy(logits, ids[1:]).item()
        rows = ids[: (len(ids) - 1) // WINDOW * WINDOW].view(-1, WINDOW)
        out, _ = lstm(w["embedding.weight"][rows])
        logits = out.flatten(0, 1) @ w["output.weight"].T + w["output.bias"]
        return carried, torch.nn.functional.cross_entropy(logits, ids[1 : rows.numel() + 1]).item()


def five_gram_loss(training: str, validation: str) -> float:
    """Nats per character of an interpolated Witten-Bell 5-gram model (Witten & Bell 1991)."""
    order = 5
    followers: dict[str, Counter[str]] = defaultdict(Counter)
    for n in range(order):
        for at in range(n, len(training)):
            followers[training[at - n : at]][training[at]] += 1
    size = len(set(training))
    total = 0.0
    for at in range(order, len(validation)):
        p = 1 / size
        for n in range(order):
            seen = followers.get(validation[at - n : at])
            if seen:
                count = seen.total()
                p = (seen[validation[at]] + len(seen) * p) / (count + len(seen))
        total -= log(p)
    return total / (len(validation) - order)


if __name__ == "__main__":
    main()
