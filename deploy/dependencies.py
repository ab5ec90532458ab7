"""Prints what the server (S3 included) and the client need to run, as pip reads it; versions are in requirements.lock.

The image installs this before our own code is copied, so that a changed line of code does not fetch torch again.
"""

import tomllib
from pathlib import Path

OURS = ("unroll", "unroll-server")


def dependencies(root: Path) -> list[str]:
    """Requirements of both distributions under `root`, sorted, our own left out."""
    found: set[str] = set()
    for folder in (root, root / "services" / "client"):
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        found |= {*project["dependencies"], *project.get("optional-dependencies", {}).get("s3", ())}
    return sorted(found - set(OURS))


if __name__ == "__main__":
    print("\n".join(dependencies(Path.cwd())))
