"""The commands of docs/sampling.md run as they stand there, on a model that was trained a little."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.running_service import Service

PAGE = (Path(__file__).parent.parent / "docs" / "sampling.md").read_text()


def test_conversations_fork_and_texts_are_scored_as_the_page_says(service: Service, tmp_path: Path) -> None:
    text = "the cat sat on the mat and the dog ran at the hat. " * 60
    job = service.ended(service.submit(service.upload(text))["id"])
    (tmp_path / "example.py").write_text("\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)))
    url = (service.home / "run" / "url").read_text().strip()
    done = subprocess.run(
        [sys.executable, "example.py", job["id"]],
        env={**os.environ, "UNROLL_HOME": str(service.home), "UNROLL_URL": url},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *texts, bits = done.stdout.splitlines()
    assert [len(written) for written in texts] == [40, 40, 40]
    assert texts[1] != texts[2]
    assert 0 < float(bits.removesuffix(" bits per character")) < 6
