"""The whole service on S3, which is away for a while: upload, train, resume, sample, delete, collect."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services import layout
from services.garbage import collect
from services.jobqueue.scripts import RedisScripts
from services.settings import Settings, embedded_socket
from services.storage import Storage
from tests.docs.pages import page
from tests.running_service import Service, running, wait_for
from tests.s3_server import BUCKET, S3Server

PAGE = page("docs/how-to/storage.md")
URL = f"s3://{BUCKET}/service/one"


@pytest.fixture
def on_s3(s3: S3Server) -> Iterator[Service]:
    with running(UNROLL_STORAGE=URL, **s3.environment) as service:
        yield service


def test_service_on_s3_loses_nothing_and_leaves_nothing(
    on_s3: Service, s3: S3Server, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = on_s3
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    storage = Storage(URL, cache=service.home / "cache", cache_bytes=1 << 30)
    dataset = service.upload(text)
    assert service.api.get(f"/v1/datasets/{dataset}/content").text == text
    assert text.startswith(service.api.get(f"/v1/datasets/{dataset}/preview").json()["text"])
    train = {"max_steps": 400, "checkpoint_every_steps": 50, "keep_checkpoints": 1}
    job = service.submit(dataset, train=train)["id"]
    os.kill(service.stepped(job, 100)["placement"]["pid"], signal.SIGKILL)
    wait_for(lambda: service.job(job)["epoch"] == 2, 30, lambda: "another epoch")
    s3.line.cut()
    try:
        wait_for(lambda: "waits: the storage" in str(service.events(job)), 60, lambda: "it to wait for S3")
        refused = service.api.post("/v1/datasets", params={"kind": "text"}, content=b"another text " * 9)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
        assert refused.headers["retry-after"] == "1"
        asked = service.api.post("/v1/completions", json={"model": job, "prompt": "one", "max_tokens": 5})
        assert (asked.status_code, asked.json()["error"]["code"]) == (503, "unavailable")
    finally:
        s3.line.mend()
    record = service.ended(job)
    assert (record["state"], record["epoch"], record["attempt"]) == ("succeeded", 2, 2), record
    steps = [row["step"] for row in service.api.get(f"/v1/jobs/{job}/metrics").json()["data"]]
    assert steps[-1] == 400
    assert steps == sorted(set(steps))
    assert "resumed at step " in service.api.get(f"/v1/jobs/{job}/logs").text
    answer = service.api.post("/v1/completions", json={"model": job, "prompt": "one", "max_tokens": 5})
    assert answer.status_code == 200, answer.text
    weights = service.api.get(f"/v1/models/{job}/export").raise_for_status().content
    assert len(weights) > 1000

    orphan = layout.dataset_blob("default", "of-a-killed-writer")
    storage.put(orphan, b"123")
    told = commands_of_the_page(service)
    assert f"ok   storage {URL}" in told
    assert "0 bytes that no record refers to deleted" in told
    assert storage.get(orphan) == b"123", "it is young"
    scripts = RedisScripts(f"unix://{embedded_socket(service.home)}")
    kept = stored(storage)
    assert [size.path for size in collect(scripts, storage, grace_seconds=-100)] == [orphan]
    assert stored(storage) == kept - {orphan}
    assert service.api.delete(f"/v1/jobs/{job}").status_code == 200
    assert service.api.delete(f"/v1/datasets/{dataset}").status_code == 200
    assert collect(scripts, storage, grace_seconds=-100) == []
    assert stored(storage) == {layout.OWNER}
    scripts.close()


def commands_of_the_page(service: Service) -> str:
    """What the commands of docs/how-to/storage.md say."""
    url = (service.home / "run" / "url").read_text().strip()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-euc", "".join(step.text for step in PAGE.steps)],
        env={**service.environment, "UNROLL_URL": url, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def stored(storage: Storage) -> set[str]:
    return {file.path for file in storage.files()}


def test_settings_that_the_page_names_are_there() -> None:
    known = {str(field.validation_alias) for field in Settings.model_fields.values()}
    named = set(re.findall(r"UNROLL_[A-Z_]+", PAGE.text))
    assert {"UNROLL_STORAGE", "UNROLL_CACHE", "UNROLL_CACHE_BYTES", "UNROLL_RETENTION_DAYS"} <= named <= known
