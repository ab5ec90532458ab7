"""A trainer that was stopped past its lease and goes on: it publishes nothing, and ends itself within one beat."""

import time

import psutil

from services import layout
from tests.running_service import Service, running, wait_for

BEAT_SECONDS = 0.3
LONG = {"max_steps": 2500, "checkpoint_every_steps": 200, "keep_checkpoints": 1000}


def test_stopped_and_continued_trainer_changes_nothing(text: str) -> None:
    with running(UNROLL_TRAINERS="2") as service:
        dataset = service.upload(text)
        undisturbed = service.ended(service.submit(dataset, train=LONG)["id"])
        job = service.submit(dataset, train=LONG)["id"]
        pid = service.stepped(job, 300)["placement"]["pid"]
        zombie = psutil.Process(pid)
        zombie.suspend()
        before = files_of(service, job, epoch=1)
        wait_for(lambda: service.job(job)["epoch"] == 2, 30, lambda: f"another epoch: {service.job(job)}")
        wait_for(lambda: (service.job(job)["placement"] or {"pid": pid})["pid"] != pid, 30, lambda: "another trainer")
        zombie.resume()
        resumed_at = time.monotonic()
        wait_for(lambda: service.job(job)["progress"]["step"] >= 400, 60, lambda: "its successor to go on")
        told = service.home / "logs" / "dispatcher.log"
        wait_for(lambda: f"{job} on" in told.read_text() or not zombie.is_running(), 30, lambda: "the zombie's end")
        wait_for(lambda: not zombie.is_running() or zombie.status() == "zombie", 30, lambda: "its process to be gone")
        print(f"the zombie was gone {time.monotonic() - resumed_at:.2f} s after it was continued")
        assert files_of(service, job, epoch=1) == before, "it wrote after it had lost its job"
        record = service.ended(job)
        assert (record["state"], record["epoch"]) == ("succeeded", 2)
        assert record["parameters_sha256"] == undisturbed["parameters_sha256"]
        rows = service.api.get(f"/v1/jobs/{job}/metrics").json()["data"]
        steps = [row["step"] for row in rows]
        assert steps == sorted(set(steps))


def files_of(service: Service, job: str, epoch: int) -> set[str]:
    """Checkpoints that an epoch has published, and segments of history that it wrote, with their sizes."""
    folder = service.home / "storage" / layout.job_folder(job)
    written = set()
    for path in folder.rglob("*"):
        if path.is_file() and (f"-{epoch:06}" in str(path) or f"{epoch:06}-" in path.name):
            written.add(f"{path.relative_to(folder)} {path.stat().st_size}")
    return written
