"""`python -m docs.generate` writes what is made from the code; with `--check` it only says what no longer agrees with it.

That is the reference, the types of the client's requests, and the half of the client that blocks.
"""

import argparse
import difflib
import sys
import tempfile
from pathlib import Path
from typing import Any

from docs.generate.api import api_page
from docs.generate.cli import cli_page
from docs.generate.client_blocking import blocking_modules
from docs.generate.client_requests import requests_module
from docs.generate.errors import errors_page
from docs.generate.settings import settings_page
from docs.generate.specs import job_page, sweep_page
from services.app import create_app
from services.settings import Settings

ROOT = Path(__file__).parents[2]
REFERENCE = Path("docs/reference")
CLIENT = Path("services/client/unroll")
_NOTE = "<!-- Written by `make reference` from the code; change it there. -->\n\n"
_SHOWN_LINES = 40


def openapi() -> dict[str, Any]:
    """The OpenAPI document of the service; nothing is started."""
    with tempfile.TemporaryDirectory() as home:
        return create_app(Settings(UNROLL_HOME=home, REDIS_URL="redis://127.0.0.1:1")).openapi()


def generated() -> dict[Path, str]:
    """Every generated file of the project, by its path from the root."""
    document = openapi()
    pages = {
        "api.md": api_page(document),
        "cli.md": cli_page(),
        "errors.md": errors_page(),
        "job.md": job_page(),
        "settings.md": settings_page(),
        "sweep.md": sweep_page(),
    }
    blocking = blocking_modules(ROOT / CLIENT)
    return {
        CLIENT / "requests.py": requests_module(document),
        **{CLIENT / path: text for path, text in blocking.items()},
        **{REFERENCE / name: _NOTE + text for name, text in pages.items()},
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file is not up to date")
    asked = parser.parse_args()
    stale = {path: text for path, text in generated().items() if _read(path) != text}
    for path, text in stale.items():
        if asked.check:
            lines = difflib.unified_diff(
                _read(path).splitlines(), text.splitlines(), str(path), "the code", "", "", 1, ""
            )
            print("\n".join(list(lines)[:_SHOWN_LINES]), file=sys.stderr)
            print(f"{path} does not say what the code says; run `make reference`", file=sys.stderr)
        else:
            (ROOT / path).write_text(text, encoding="utf-8")
            print(path)
    return 1 if asked.check and stale else 0


def _read(path: Path) -> str:
    file = ROOT / path
    return file.read_text(encoding="utf-8") if file.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
