"""What `unroll up` takes until it answers and a trainer is warm: seconds, processes, processor time, memory.

    python benchmarks/start.py [--rounds 3]

Each on a home of its own. Processor time and memory (Pss, which counts what processes share once) are those of the
whole family, some seconds after it is up, when Ray has made its last process.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.running_service import running

SETTLES_SECONDS = 6


def main() -> None:
    """Prints a line for each start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    for _ in range(parser.parse_args().rounds):
        began = time.monotonic()
        with running() as service:
            seconds = time.monotonic() - began
            time.sleep(SETTLES_SECONDS)
            family = service.family()
            spent = sum(sum(process.cpu_times()[:2]) for process in family)
            held = sum(process.memory_full_info().pss for process in family)
        print(
            f"up after {seconds:.1f} s   {len(family)} processes   {spent:.1f} s of a core   {held / 1e6:.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main()
