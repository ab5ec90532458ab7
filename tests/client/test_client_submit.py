"""`unroll submit`: what is sent, and what is left to the server."""

import io
import json
import subprocess
import sys

from fake_unroll_server import DATASET, DONE, JOB, KEY, Reply, answer, dataset, event, record, refused, stream
from unroll import Client


def _takes_jobs(server):
    server.on("POST", "/v1/datasets", answer(dataset(), status=201))
    server.on("POST", "/v1/jobs", answer(record("queued"), status=201))


def test_submit_sends_only_the_fields_that_were_named(server, unroll_command):
    _takes_jobs(server)
    result = unroll_command("submit", DATASET, "--cell", "gru", "--max-steps", "700", "--priority", "0")
    assert (result.exit_code, result.stdout) == (0, f"{JOB}\n")
    assert result.stderr == f"queued; watch it with: unroll watch {JOB}\n"
    (request,) = server.asked("POST", "/v1/jobs")
    assert request.json() == {
        "dataset": DATASET,
        "model": {"cell": "gru"},
        "train": {"max_steps": 700},
        "priority": 0,
    }
    assert request.headers["authorization"] == f"Bearer {KEY}"


def test_submit_of_a_data_set_alone_sends_nothing_else(server, unroll_command):
    _takes_jobs(server)
    assert unroll_command("submit", DATASET).exit_code == 0
    assert [request.json() for request in server.requests] == [{"dataset": DATASET}]


def test_every_flag_goes_where_the_spec_has_it(server, unroll_command):
    _takes_jobs(server)
    flags = {
        "name": "plays",
        "init-from": "job-9",
        "cell": "rnn",
        "hidden-size": 96,
        "num-layers": 2,
        "embedding-size": 24,
        "dropout": 0.125,
        "batch-size": 3,
        "tbptt-steps": 5,
        "max-steps": 700,
        "max-epochs": 11,
        "max-seconds": 2.5,
        "learning-rate": 0.03,
        "seed": 13,
        "validate-every-steps": 17,
        "checkpoint-every-steps": 19,
        "priority": 9,
    }
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    assert unroll_command("submit", DATASET, "--no-unknown", *words).exit_code == 0
    fields = {name.replace("-", "_"): value for name, value in flags.items()}
    model = ("cell", "hidden_size", "num_layers", "embedding_size", "dropout")
    top = ("name", "init_from", "priority")
    assert server.requests[0].json() == {
        "dataset": DATASET,
        **{name: fields[name] for name in top},
        "model": {"unknown": False, **{name: fields[name] for name in model}},
        "train": {name: value for name, value in fields.items() if name not in (*model, *top)},
    }


def test_text_file_is_uploaded_as_it_is_and_trained_on(server, unroll_command, tmp_path):
    _takes_jobs(server)
    text = tmp_path / "plays.txt"
    text.write_bytes("zwölf\r\n\x00".encode())
    assert unroll_command("submit", str(text), "--vocabulary", "bytes").exit_code == 0
    (upload,) = server.asked("POST", "/v1/datasets")
    assert upload.query == {"kind": "text", "vocabulary": "bytes", "name": "plays.txt"}
    assert upload.body == text.read_bytes()
    assert server.asked("POST", "/v1/jobs")[0].json() == {"dataset": DATASET}


def test_text_is_read_from_a_pipe(server):
    _takes_jobs(server)
    text = b"to be\nor not\n" * 20_000
    command = [sys.executable, "-m", "unroll.cli", "submit", "-"]
    done = subprocess.run(command, input=text, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"{JOB}\n".encode())
    upload = server.asked("POST", "/v1/datasets")[0]
    assert upload.query == {"kind": "text", "name": "stdin"}
    assert upload.body == text


def test_file_object_is_uploaded_from_where_it_stands(server):
    _takes_jobs(server)
    file = io.BytesIO(b"head, then the text")
    file.seek(11)
    with Client() as client:
        assert client.datasets.upload(file, name="rest").id == DATASET
        assert client.datasets.upload(b"bytes").num_bytes == 11
    assert [request.body for request in server.requests] == [b"the text", b"bytes"]


def test_set_goes_before_flags_and_flags_before_the_spec_file(server, unroll_command, tmp_path):
    _takes_jobs(server)
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({"dataset": DATASET, "train": {"seed": 1, "max_steps": 1, "warmup_steps": 1}}))
    sets = ("--set", "train.max_steps=3", "--set", 'metadata.who="me"', "--set", "train.sample_prompts=[]")
    assert unroll_command("submit", "--spec", str(spec), "--seed", "2", "--max-steps", "2", *sets).exit_code == 0
    assert server.requests[0].json() == {
        "dataset": DATASET,
        "train": {"seed": 2, "max_steps": 3, "warmup_steps": 1, "sample_prompts": []},
        "metadata": {"who": "me"},
    }


def test_submit_is_tried_again_under_the_same_key(server, unroll_command):
    busy = refused(503, "starting", headers={"Retry-After": "0"})
    server.on("POST", "/v1/jobs", Reply(hangs_up=True), busy, answer(record("queued")))
    assert unroll_command("submit", DATASET).exit_code == 0
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert len(keys[0]) == 36


def test_two_submits_have_two_keys_unless_one_is_named(server, unroll_command):
    _takes_jobs(server)
    for words in ((), (), ("--idempotency-key", "mine")):
        unroll_command("submit", DATASET, *words)
    first, second, named = (request.headers["idempotency-key"] for request in server.requests)
    assert first != second
    assert named == "mine"


def test_upload_that_is_refused_for_now_is_tried_again_three_times(server, unroll_command, tmp_path):
    server.on("POST", "/v1/datasets", refused(503, "starting", headers={"Retry-After": "0"}))
    text = tmp_path / "plays.txt"
    text.write_text("to be")
    assert unroll_command("submit", str(text)).exit_code == 6
    assert len(server.requests) == 4


def test_refused_field_is_named(server, unroll_command):
    message = "train.batch_size: must be at most 4096, got 9999"
    server.on("POST", "/v1/jobs", refused(422, message, param="train.batch_size"))
    result = unroll_command("submit", DATASET, "--batch-size", "9999")
    assert (result.exit_code, result.stderr) == (1, f"unroll: {message}\n")


def test_submit_json_prints_the_record_as_the_server_sent_it(server, unroll_command):
    sent = record("queued", field_of_a_newer_server={"x": [1, None]})
    server.on("POST", "/v1/jobs", answer(sent))
    assert json.loads(unroll_command("submit", DATASET, "--json").stdout) == sent


def test_submit_and_watch_in_json_prints_one_value_a_line(server, unroll_command):
    _takes_jobs(server)
    server.on("GET", f"/v1/jobs/{JOB}", answer(record("succeeded")))
    server.on("GET", f"/v1/jobs/{JOB}/events", stream(event(1, "state", state="succeeded"), DONE))
    result = unroll_command("submit", DATASET, "--watch", "--json")
    assert result.exit_code == 0
    assert [json.loads(line)["object"] for line in result.stdout.splitlines()] == ["job", "event"]


def test_task_goes_into_the_spec_and_kind_and_target_to_the_upload(server, unroll_command, tmp_path):
    _takes_jobs(server)
    file = tmp_path / "weather.csv"
    file.write_text("a,b\n1,2\n")
    words = ["--task", "forecast", "--kind", "series", "--target", "b"]
    assert unroll_command("submit", str(file), *words).exit_code == 0
    (upload,) = server.asked("POST", "/v1/datasets")
    assert dict(upload.query) == {"kind": "series", "target": "b", "name": "weather.csv"}
    (request,) = server.asked("POST", "/v1/jobs")
    assert request.json() == {"dataset": DATASET, "task": "forecast"}


def test_kind_of_a_data_set_that_is_there_already_is_refused(server, unroll_command):
    result = unroll_command("submit", DATASET, "--kind", "series")
    assert result.exit_code == 2
    assert f"{DATASET} has its kind already" in " ".join(result.stderr.split())
    assert server.requests == []
