"""What a run ran under: all that must be equal for two runs to be equal bit for bit."""

import os
import platform
from importlib.metadata import version

import torch

from rnncore.ranks import ALONE, Ranks

Environment = dict[str, str | int]
_THEN = ", then "


def environment(ranks: Ranks = ALONE, *, fused: int = 1) -> Environment:
    """That of this process. `fused` is the number of trials that its program trains."""
    found: Environment = {
        "workers": ranks.size,
        "torch": torch.__version__,
        "pytorch_lightning": version("pytorch-lightning"),
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count() or 1,
    }
    return found | {"fused": fused} if fused > 1 else found


def in_turn(earlier: Environment, now: Environment) -> Environment:
    """That of a run which goes on `now` from a checkpoint made under `earlier`: what has changed has all its values."""
    return now | {name: _both(value, now.get(name, value)) for name, value in earlier.items()}


def _both(earlier: str | int, now: str | int) -> str | int:
    return earlier if str(earlier).rpartition(_THEN)[2] == str(now) else f"{earlier}{_THEN}{now}"
