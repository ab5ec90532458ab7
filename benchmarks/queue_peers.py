"""No-op jobs through docket or streaq, for queue_rates.py: `python queue_peers.py docket|streaq REDIS_URL JOBS`.

Prints JSON: seconds to submit them one after another, and seconds until one worker has run them all, with
as many places as it has by default.
Runs in an environment of its own, for it needs the peers' packages and nothing of ours.
"""

import asyncio
import json
import sys
import time
from datetime import timedelta

DONE = 0


async def docket(url: str, jobs: int) -> tuple[float, float]:
    from docket import Docket, Worker

    async def no_op() -> None:
        global DONE
        DONE += 1

    async with Docket(name="bench", url=url) as queue:
        began = time.perf_counter()
        for _ in range(jobs):
            await queue.add(no_op)()
        submitted = time.perf_counter()
        # Its default interval of 250 ms between looks would be all that is measured.
        async with Worker(queue, minimum_check_interval=timedelta(milliseconds=1)) as worker:
            await worker.run_until_finished()
        return submitted - began, time.perf_counter() - submitted


async def streaq(url: str, jobs: int) -> tuple[float, float]:
    from streaq import Worker

    worker = Worker(redis_url=url, handle_signals=False)

    @worker.task()
    async def no_op() -> None:
        global DONE
        DONE += 1

    async with worker:
        began = time.perf_counter()
        for _ in range(jobs):
            await no_op.enqueue()
        submitted = time.perf_counter()
    worker.burst = True  # ends when the queue is empty
    await worker.run_async()
    return submitted - began, time.perf_counter() - submitted


def main() -> None:
    name, url, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3])
    submit, drain = asyncio.run({"docket": docket, "streaq": streaq}[name](url, jobs))
    assert jobs == DONE, f"{DONE} of {jobs} ran"
    print(json.dumps({"submit": submit, "drain": drain}))


if __name__ == "__main__":
    main()
