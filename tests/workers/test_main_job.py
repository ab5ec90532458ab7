"""The main job on real parts: Redis, Ray, Lightning, the sampler, all through HTTP."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.running_service import Service, wait_for


def test_a_job_trains_to_the_end_and_its_model_writes(service: Service, text: str) -> None:
    job = service.submit(service.upload(text), train={"max_steps": 200, "validate_every_steps": 50})
    record = service.ended(job["id"])
    assert record["state"] == "succeeded"
    assert record["progress"]["step"] == 200
    assert record["progress"]["ratio"] == 1.0
    assert record["attempt"] == 1
    assert record["placement"]["start"] == "warm"
    assert record["best"]["validation_loss"] < 3.0
    answer = service.api.post(
        "/v1/completions", json={"model": job["id"], "prompt": "one", "max_tokens": 40, "seed": 3}
    ).json()
    assert answer["object"] == "text_completion"
    assert len(answer["choices"][0]["text"]) == 40
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 40, "total_tokens": 43}


def test_defaults_are_resolved_in_the_record(service: Service, text: str) -> None:
    answer = service.api.post("/v1/jobs", json={"dataset": service.upload(text)}).json()
    service.api.post(f"/v1/jobs/{answer['id']}/cancel")
    assert answer["spec"]["model"]["cell"] == "lstm"
    assert answer["spec"]["train"]["max_steps"] == 5000


def test_a_running_job_answers_from_its_checkpoints(service: Service, text: str) -> None:
    job = service.submit(service.upload(text), train={"max_steps": 100_000, "checkpoint_every_steps": 20})
    wait_for(
        lambda: service.api.get(f"/v1/jobs/{job['id']}/checkpoints").json()["data"], 60, lambda: "a first checkpoint"
    )
    latest = service.api.post(
        "/v1/completions", json={"model": f"{job['id']}:latest", "prompt": "two", "max_tokens": 5}
    )
    assert service.job(job["id"])["state"] == "running"
    assert latest.status_code == 200
    assert len(latest.json()["choices"][0]["text"]) == 5
    service.api.post(f"/v1/jobs/{job['id']}/cancel")
    assert service.ended(job["id"])["state"] == "cancelled"


def test_old_checkpoints_go_and_the_best_stays(service: Service, text: str) -> None:
    train = {"max_steps": 100, "validate_every_steps": 10, "checkpoint_every_steps": 10, "keep_checkpoints": 2}
    job = service.submit(service.upload(text), train=train)
    service.ended(job["id"])
    kept = service.api.get(f"/v1/jobs/{job['id']}/checkpoints").json()["data"]
    steps = {checkpoint["step"] for checkpoint in kept}
    best = {checkpoint["step"] for checkpoint in kept if checkpoint["is_best"]}
    assert steps == {90, 100} | best
    folders = list((service.home / "storage" / "jobs" / job["id"] / "checkpoints").iterdir())
    assert len(folders) == len(steps)


def test_a_cancelled_running_job_stops_at_once_and_keeps_its_checkpoints(service: Service, text: str) -> None:
    job = service.submit(service.upload(text), train={"max_steps": 100_000, "checkpoint_every_steps": 10})
    service.stepped(job["id"], 30)
    service.api.post(f"/v1/jobs/{job['id']}/cancel")
    record = service.ended(job["id"], seconds=5)
    assert record["state"] == "cancelled"
    assert service.api.get(f"/v1/jobs/{job['id']}/checkpoints").json()["data"]


def test_a_cancelled_queued_job_is_never_started(service: Service, text: str) -> None:
    dataset = service.upload(text)
    first = service.submit(dataset, train={"max_steps": 100_000})
    service.stepped(first["id"], 1)
    second = service.submit(dataset)
    place = service.job(second["id"])["queue"]
    assert (place["position"], place["reason"], place["blocked_by"]) == (1, "no_free_worker", [first["id"]])
    assert place["eta_seconds"] > 0
    service.api.post(f"/v1/jobs/{second['id']}/cancel")
    service.api.post(f"/v1/jobs/{first['id']}/cancel")
    service.ended(first["id"])
    record = service.ended(second["id"])
    assert (record["state"], record["attempt"], record["started_at"]) == ("cancelled", 0, None)


def test_a_killed_trainers_job_resumes_and_ends_bit_for_bit_as_undisturbed(service: Service, text: str) -> None:
    dataset = service.upload(text)
    train = {"max_steps": 800, "checkpoint_every_steps": 50, "validate_every_steps": 150, "seed": 7}
    model = {"num_layers": 2, "dropout": 0.3}
    undisturbed = service.ended(service.submit(dataset, train=train, model=model)["id"])
    job = service.submit(dataset, train=train, model=model)["id"]
    killed = service.stepped(job, 250)["placement"]["pid"]
    os.kill(killed, signal.SIGKILL)
    record = service.ended(job)
    assert record["state"] == "succeeded"
    assert (record["attempt"], record["epoch"]) == (2, 2)
    assert record["placement"]["pid"] != killed
    assert record["parameters_sha256"] == undisturbed["parameters_sha256"]
    assert record["best"] == undisturbed["best"]
    log = service.api.get(f"/v1/jobs/{job}/logs").text
    resumed_at = int(log.split("resumed at step ")[1].split(":")[0])
    assert resumed_at >= 200
    assert resumed_at % 50 == 0


def test_nothing_of_a_killed_trainer_is_seen_after_its_successor_began(service: Service, text: str) -> None:
    train = {"max_steps": 800, "checkpoint_every_steps": 50}
    job = service.submit(service.upload(text), train=train)["id"]
    os.kill(service.stepped(job, 200)["placement"]["pid"], signal.SIGKILL)
    service.ended(job)
    epochs = [event["data"]["epoch"] for event in service.events(job) if "epoch" in event["data"]]
    assert epochs == sorted(epochs)
    assert set(epochs) >= {1, 2}
    curve = service.api.get(f"/v1/jobs/{job}/metrics").json()["data"]
    steps = [row["step"] for row in curve]
    assert steps == sorted(set(steps))
    assert steps[-1] == 800


def test_the_same_job_gives_the_same_parameters_whatever_ran_between(service: Service, text: str) -> None:
    dataset = service.upload(text)
    first = service.ended(service.submit(dataset)["id"])
    service.ended(service.submit(dataset, model={"cell": "gru", "dropout": 0.5}, train={"seed": 5})["id"])
    second = service.ended(service.submit(dataset)["id"])
    assert first["parameters_sha256"] == second["parameters_sha256"]


def test_a_loss_that_leaves_the_numbers_fails_the_job_with_a_hint(service: Service, text: str) -> None:
    train = {"learning_rate": 10, "warmup_steps": 0, "gradient_clip_norm": None, "schedule": "constant"}
    job = service.submit(service.upload(text), train={**train, "weight_decay": 10, "max_steps": 5000})
    record = service.ended(job["id"])
    assert record["state"] == "failed"
    assert record["error"]["type"] == "non_finite_loss"
    assert "lower train.learning_rate" in record["error"]["hint"]
    assert "NonFiniteLoss" in record["error"]["log_tail"]
    assert record["attempt"] == 1


def test_korean_trains_and_samples(service: Service) -> None:
    text = "".join(f"{n}월의 바람은 나뭇잎을 흔들고 {n * 7 % 31}일의 비는 길을 적신다.\n" for n in range(600))
    job = service.submit(service.upload(text), train={"max_steps": 300}, model={"hidden_size": 48})
    assert service.ended(job["id"])["state"] == "succeeded"
    answer = service.api.post(
        "/v1/completions", json={"model": job["id"], "prompt": "바람", "max_tokens": 30, "temperature": 0}
    ).json()
    assert set(answer["choices"][0]["text"]) <= set(text)
    assert any("가" <= symbol <= "힣" for symbol in answer["choices"][0]["text"])


def test_a_prompt_with_a_symbol_never_seen_names_it(service: Service, text: str) -> None:
    job = service.submit(service.upload(text))
    service.ended(job["id"])
    answer = service.api.post("/v1/completions", json={"model": job["id"], "prompt": "one 漢"})
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert error["param"] == "prompt"
    assert "'漢' (U+6F22) at offset 4" in error["message"]


def test_init_from_starts_where_the_other_model_ended(service: Service, text: str) -> None:
    dataset = service.upload(text)
    first = service.ended(service.submit(dataset, train={"max_steps": 300})["id"])
    spec = {"dataset": dataset, "init_from": first["id"], "train": {"max_steps": 1, "batch_size": 4, "tbptt_steps": 16}}
    second = service.api.post("/v1/jobs", json=spec).json()
    record = service.ended(second["id"])
    assert record["spec"]["init_from"] == f"{first['id']}:step-300"
    assert record["spec"]["model"]["hidden_size"] == 24
    assert abs(record["best"]["validation_loss"] - first["best"]["validation_loss"]) < 0.02


def test_bytes_that_are_no_text_train_too(service: Service) -> None:
    dataset = service.api.post(
        "/v1/datasets", params={"kind": "text", "vocabulary": "bytes"}, content=bytes(range(256)) * 40
    ).json()["id"]
    record = service.ended(service.submit(dataset, train={"max_steps": 100})["id"])
    assert record["state"] == "succeeded"
    assert record["best"]["validation_loss"] < 5.5


def test_a_deleted_job_leaves_nothing(service: Service, text: str) -> None:
    job = service.submit(service.upload(text))["id"]
    service.ended(job)
    assert service.api.delete(f"/v1/jobs/{job}").json() == {"id": job, "object": "job", "deleted": True}
    assert service.api.get(f"/v1/jobs/{job}").status_code == 404
    assert not (service.home / "storage" / "jobs" / job).exists()


def test_a_job_is_verified_by_running_it_again(service: Service, text: str) -> None:
    train = {"max_steps": None, "max_seconds": 1.5, "checkpoint_every_steps": 1000}
    job = service.ended(service.submit(service.upload(text), model={"dropout": 0.2}, train=train)["id"])
    command = [str(Path(sys.executable).with_name("unroll")), "verify", job["id"], "--json"]
    ran = subprocess.run(command, env=service.environment, capture_output=True, text=True, timeout=90, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert (found["verdict"], found["differing"]) == ("equal", [])
    again = service.job(list(found["parameters_sha256"])[1])
    assert again["spec"]["verify_of"] == job["id"]
    assert again["progress"]["step"] == job["progress"]["step"]
    assert again["parameters_sha256"] == job["parameters_sha256"]


def test_only_the_same_job_verifies_one_that_succeeded(service: Service, text: str) -> None:
    job = service.ended(service.submit(service.upload(text), train={"max_steps": 3})["id"])
    changed = job["spec"] | {"verify_of": job["id"], "train": job["spec"]["train"] | {"seed": 9}}
    answer = service.api.post("/v1/jobs", json=changed)
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "train")
    waiting = service.submit(service.upload(text), train={"max_steps": 100_000})
    answer = service.api.post(f"/v1/jobs/{waiting['id']}/verify")
    assert answer.status_code == 409
    assert "only a job that succeeded can be verified" in answer.json()["error"]["message"]
    service.api.post(f"/v1/jobs/{waiting['id']}/cancel")
    service.ended(waiting["id"])


def test_checkpoint_that_an_alias_names_still_answers_when_its_job_has_ended(service: Service, text: str) -> None:
    train = {"max_steps": 3000, "checkpoint_every_steps": 100, "keep_checkpoints": 1}
    job = service.submit(service.upload(text), train=train)["id"]
    service.stepped(job, 150)
    model = service.api.get(f"/v1/jobs/{job}/checkpoints").json()["data"][0]["model"]
    assert service.api.put("/v1/models/pinned", json={"model": model}).status_code == 200
    service.ended(job)
    answer = service.api.post("/v1/completions", json={"model": "pinned", "prompt": "one", "max_tokens": 5})
    assert answer.status_code == 200, answer.text
    kept = service.api.get(f"/v1/jobs/{job}/checkpoints").json()["data"]
    assert model in [checkpoint["model"] for checkpoint in kept]
    folders = list((service.home / "storage" / "jobs" / job / "checkpoints").iterdir())
    assert len(folders) == len(kept) <= 3
