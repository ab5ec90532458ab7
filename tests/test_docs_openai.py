"""The commands of docs/openai.md run as they stand there, on a service as a user starts it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.running_service import Service

PAGE = (Path(__file__).parent.parent / "docs" / "openai.md").read_text()


def _blocks(language: str) -> str:
    return "\n".join(re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL))


def test_openais_client_trains_watches_names_and_samples_as_the_page_says(
    service: Service, text: str, tmp_path: Path
) -> None:
    (tmp_path / "book.txt").write_text("the beginning of the book\n" + text)
    (tmp_path / "example.py").write_text(_blocks("python"))
    url = (service.home / "run" / "url").read_text().strip()
    done = subprocess.run(
        ["sh", "-c", f'set -eu\n{_blocks("sh")}exec "$0" example.py', sys.executable],
        env={**os.environ, "UNROLL_HOME": str(service.home), "UNROLL_URL": url},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = re.findall(r"^(?:info|warn|error) .*\n", done.stdout, re.MULTILINE)
    rest = done.stdout.removeprefix("".join(told))
    assert told[0] == "info The job is succeeded: finished\n"
    assert told[-1] == "info The job is queued: submitted\n"
    assert any(line.startswith("info Step 100, train_loss ") for line in told)
    job = re.match(r"(job-[0-9a-f]{16}):step-100 \d\.\d+\n", rest)
    assert job is not None
    written, models = rest[job.end() :].rstrip("\n").rsplit("\n", 1)
    assert len(written) == 80
    assert models.startswith(f"['favourite', '{job[1]}'")
