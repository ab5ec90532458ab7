"""`python3 deploy/make_secrets.py`: makes the secrets that docker-compose.yml reads. Those that exist stay as they are.

Compose hands a file in with the owner and mode it has here, and each container runs as a user of its own: so the files
can be read by whoever reaches them, and their folder lets nobody but its owner in.
"""

import os
import secrets
from pathlib import Path

PREFIXES = {"api_key": "unroll-", "grafana_password": "", "ray_token": "", "redis_password": "", "signing_secret": ""}


def make_secrets(folder: Path) -> list[Path]:
    """Makes what is missing in `folder` and returns it. No value ends with a newline."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    made = []
    for name, prefix in PREFIXES.items():
        path = folder / name
        if path.exists():
            continue
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(prefix + secrets.token_hex(32))
        path.chmod(0o444)
        made.append(path)
    return made


if __name__ == "__main__":
    for path in make_secrets(Path(__file__).parent / "secrets"):
        print(f"made {path}")
