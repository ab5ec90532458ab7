"""Generated Python in the shape that `make check` asks for."""

import subprocess
import sys


def formatted(text: str) -> str:
    """`text` with its imports sorted and its lines as ruff lays them out."""
    for command in (["check", "--quiet", "--fix-only", "--select", "I,F401"], ["format", "--quiet"]):
        text = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", "services/client/unroll/generated.py", "-"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    return text
