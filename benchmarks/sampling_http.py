"""What the sampling service adds to the bare stepper, and what it holds: streams, conversations, clients that hang up.

    python benchmarks/sampling_http.py [TEXT] [--hidden 512] [--streams 1 64 512]

Starts a service of its own, trains models of a few steps (speed does not ask what was learned), and asks through the
public process as clients do. The bare stepper runs in this process, on one thread, before and after each measurement.
"""

import argparse
import asyncio
import json
import math
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
from rnncore.checkpoint import load_checkpoint, restore_network
from rnncore.sampling import Choices, SamplingParameters
from rnncore.stepper import Stepper
from tests.running_service import Service, running, wait_for

TEXT = Path(__file__).parent.parent.parent / "shared" / "data" / "tinyshakespeare.txt"
STREAMS_OF_KEY = 64
CONVERSATIONS = 10_000
HANGUPS = 1_000
CHUNK = 50_000


class Heard(NamedTuple):
    """One stream as its client heard it: when it asked, and when how many characters came."""

    asked_at: float
    chunks: list[tuple[float, int]]

    @property
    def first_after(self) -> float:
        return self.chunks[0][0] - self.asked_at

    @property
    def pauses(self) -> list[float]:
        return [b[0] - a[0] for a, b in zip(self.chunks, self.chunks[1:], strict=False)]


def main() -> None:
    """Prints the tables; exits 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", type=Path, default=TEXT)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 64, 512])
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    with running(UNROLL_STATE_SECONDS="3600") as service:
        dataset = service.upload(options.text.read_text())
        job = trained(service, dataset, options.hidden, steps=20)
        keys = [service.api.post("/v1/keys", json={"name": f"key {n}", "scopes": ["sample"]}) for n in range(8)]
        url = service.api.base_url
        asking = Asking(url.host, url.port, [key.raise_for_status().json()["key"] for key in keys], job["id"])
        missed = rates(service, asking, job, options.streams)
        missed += scored(service, job, options.text.read_text())
        stalls(service, dataset, asking)
        conversations(service, job)
        missed += hangups(service, asking)
    sys.exit(1 if missed else 0)


def trained(service: Service, dataset: str, hidden: int, *, steps: int, validation: float = 0.1) -> dict[str, Any]:
    """The record of a job that has ended."""
    model = {"cell": "lstm", "hidden_size": hidden, "num_layers": 2, "embedding_size": 128}
    train = {"batch_size": 32, "tbptt_steps": 64, "max_steps": steps, "precision": "fp32"}
    train |= {"validation_fraction": validation}
    record = service.api.post("/v1/jobs", json={"dataset": dataset, "model": model, "train": train})
    return service.ended(record.raise_for_status().json()["id"], 600)


@dataclass(frozen=True)
class Asking:
    """Clients of the public process, as light as they can be: a socket each, and no library."""

    host: str
    port: int | None
    keys: list[str]
    model: str

    def at_once(self, number: int, max_tokens: int) -> list[Heard]:
        """So many streams at the same time."""

        async def all_of_them() -> list[Heard]:
            return await asyncio.gather(*(self.stream(n, max_tokens) for n in range(number)))

        return asyncio.run(all_of_them())

    async def stream(self, number: int, max_tokens: int, *, leave_after: int | None = None) -> Heard:
        """One stream; `leave_after` so many chunks its client hangs up."""
        key = self.keys[number // STREAMS_OF_KEY % len(self.keys)]
        body = {"model": self.model, "prompt": "ROMEO:", "max_tokens": max_tokens, "seed": number, "stream": True}
        raw = json.dumps(body)
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=1 << 20)
        asked_at, chunks = time.perf_counter(), []
        writer.write(
            f"POST /v1/completions HTTP/1.1\r\nhost: {self.host}\r\nauthorization: Bearer {key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(raw)}\r\n\r\n{raw}".encode()
        )
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head.split(b"\r\n")[0], head
            rest = b""
            while size := int(await reader.readline(), 16):
                *frames, rest = (rest + await reader.readexactly(size)).split(b"\n\n")
                await reader.readline()
                number_of = sum(_characters(frame) for frame in frames)
                if number_of:
                    chunks.append((time.perf_counter(), number_of))
                if leave_after is not None and len(chunks) >= leave_after:
                    break
        finally:
            writer.close()
        if leave_after is None:
            assert sum(number_of for _, number_of in chunks) == max_tokens
        return Heard(asked_at, chunks)


def _characters(frame: bytes) -> int:
    if not frame.startswith(b"data: {"):
        return 0
    return sum(len(choice["text"]) for choice in json.loads(frame[6:])["choices"])


def rates(service: Service, asking: Asking, job: dict[str, Any], streams: list[int]) -> int:
    """Characters a second of the service beside the bare stepper with as many rows."""
    stepper = Stepper(network_of(service, job))
    print(f"{'streams':>8} {'HTTP char/s':>12} {'stepper':>9} {'ratio':>6} {'first p50':>10} {'p99':>8}", end="")
    print(f" {'pause p50':>10} {'p99':>8} {'char/chunk':>10}")
    asking.at_once(2, 20)
    one, missed = 0.0, 0
    for number in streams:
        length = max(100, min(2000, 40_000 // number))
        before = bare(stepper, number, length // 4)
        began_at = time.perf_counter()
        heard = asking.at_once(number, length)
        rate = number * length / (time.perf_counter() - began_at)
        beside = (before + bare(stepper, number, length // 4)) / 2
        one = one or rate
        first = sorted(stream.first_after for stream in heard)
        pauses = sorted(pause for stream in heard for pause in stream.pauses)
        size = statistics.mean(count for stream in heard for _, count in stream.chunks)
        print(
            f"{number:8d} {rate:12,.0f} {beside:9,.0f} {rate / beside:6.2f} {_ms(first, 0.5)} {_ms(first, 0.99)}",
            end="",
        )
        print(f" {_ms(pauses, 0.5):>10} {_ms(pauses, 0.99)} {size:10.1f}   {rate / one:.1f}x one stream")
        if number == 64:
            missed += (rate < 0.8 * beside) + (rate < 8 * one)
    return missed


def bare(stepper: Stepper, rows: int, steps: int) -> float:
    """Characters a second of the stepper and its choices, nothing around them."""
    batch, choices = stepper.batch(rows), Choices(rows, stepper.vocabulary_size)
    for row in range(rows):
        batch.join(stepper.zero_state(1)[0])
        choices.join(SamplingParameters(seed=row))
    ids_B = torch.zeros(rows, dtype=torch.int64)
    for _ in range(5):
        ids_B = choices.choose(batch.step(ids_B))
    began_at = time.perf_counter()
    for _ in range(steps):
        ids_B = choices.choose(batch.step(ids_B))
    return rows * steps / (time.perf_counter() - began_at)


def network_of(service: Service, job: dict[str, Any]) -> Any:
    folder = next((service.home / "storage" / "jobs" / job["id"] / "checkpoints").glob("*"))
    secret = (service.home / "secret").read_text().strip().encode()
    return restore_network(load_checkpoint(folder, secret, weights_only=True))


def scored(service: Service, job: dict[str, Any], text: str) -> int:
    """Bits per character of the validation text by echo and logprobs, beside what the trainer reported."""
    tail = text[-(len(text) - int(len(text) * 0.9)) :]
    scores: list[float] = []
    state: str | bool = True
    began_at = time.perf_counter()
    for begin in range(0, len(tail), CHUNK):
        asked = {"model": job["id"], "prompt": tail[begin : begin + CHUNK], "max_tokens": 0, "echo": True}
        answer = service.api.post("/v1/completions", json=asked | {"logprobs": 0, "state": state}, timeout=600)
        choice = answer.raise_for_status().json()["choices"][0]
        scores += [score for score in choice["logprobs"]["token_logprobs"] if score is not None]
        state = choice["state"]
    seconds = time.perf_counter() - began_at
    assert len(scores) == len(tail) - 1
    found, reported = -statistics.mean(scores) / math.log(2), job["best"]["bits_per_character"]
    print(
        f"\nbits per character of the last tenth: {found:.6f} by echo + logprobs, {reported:.6f} by the trainer", end=""
    )
    print(f" ({len(tail) / seconds:,.0f} characters/s read)")
    return abs(found - reported) > 1e-4


def stalls(service: Service, dataset: str, asking: Asking) -> None:
    """The longest pause of a running stream while a larger model is loaded."""
    large = trained(service, dataset, 1536, steps=1, validation=0.005)

    async def while_loading() -> tuple[Heard, float]:
        async def load() -> float:
            await asyncio.sleep(0.5)
            began_at = time.perf_counter()
            await replace(asking, model=large["id"]).stream(64, 1)
            return time.perf_counter() - began_at

        return await asyncio.gather(asking.stream(0, 2000), load())

    heard, seconds = asyncio.run(while_loading())
    print(
        f"\nlongest pause of a stream while a model of 1536x2 is loaded and answers: {max(heard.pauses) * 1e3:.0f} ms",
        end="",
    )
    print(f" (it answers after {seconds * 1e3:.0f} ms)")


def conversations(service: Service, job: dict[str, Any]) -> None:
    """What a conversation that nobody goes on with costs."""
    sampler = sampler_of(service)
    handles: list[str] = []
    asked = {"model": job["id"], "max_tokens": 2, "state": True, "n": 16}
    service.api.post("/v1/completions", json=asked | {"prompt": "ROMEO:"}).raise_for_status()
    before = sampler.memory_info().rss
    for _ in range(CONVERSATIONS // 16):
        answer = service.api.post("/v1/completions", json=asked | {"prompt": "JULIET:"})
        handles += [choice["state"] for choice in answer.raise_for_status().json()["choices"]]
    grown = sampler.memory_info().rss - before
    size = statistics.mean(map(len, handles))
    print(f"\n{len(handles):,} idle conversations: {grown / len(handles):,.0f} bytes each in the sampler, ", end="")
    print(f"{size:,.0f} characters each in the client's handle")


def hangups(service: Service, asking: Asking) -> int:
    """Clients that leave in mid-stream."""
    sampler = sampler_of(service)

    async def leave() -> None:
        for first in range(0, HANGUPS, 50):
            await asyncio.gather(*(asking.stream(first + n, 16_000, leave_after=2) for n in range(50)))

    asyncio.run(leave())
    before = sampler.memory_info().rss
    asyncio.run(leave())
    wait_for(lambda: asking.at_once(1, 1), 10, lambda: "an answer")
    grown = sampler.memory_info().rss - before
    rate = 64 * 200 / _seconds(lambda: asking.at_once(64, 200))
    print(f"\n{HANGUPS:,} clients that hang up in mid-stream: memory of the sampler {grown / 2**20:+.1f} MB;", end="")
    print(f" 64 streams afterwards {rate:,.0f} characters/s")
    return grown > 30 << 20


def sampler_of(service: Service) -> psutil.Process:
    return next(process for process in service.family() if "services.sampling.app" in " ".join(process.cmdline()))


def _seconds(work: Any) -> float:
    began_at = time.perf_counter()
    work()
    return time.perf_counter() - began_at


def _ms(ordered: list[float], share: float) -> str:
    return f"{ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1e3:7.1f}ms" if ordered else "      -"


if __name__ == "__main__":
    main()
