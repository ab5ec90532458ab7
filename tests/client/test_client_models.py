"""Models by their names, brought home, and jobs side by side."""

import json

from fake_unroll_server import DATASET, JOB, Reply, answer, dataset, listed, record, refused

MODEL = {
    "id": "best",
    "object": "model",
    "created": 1700000000,
    "alias_of": f"{JOB}:step-7",
    "job": JOB,
    "step": 7,
    "validation_loss": 1.25,
    "bits_per_character": 1.803,
    "parameters_sha256": "ab" * 32,
}
CHECKPOINT = {
    "object": "checkpoint",
    "model": f"{JOB}:step-7",
    "job": JOB,
    "step": 7,
    "epoch": 1,
    "created_at": 1700000000.0,
    "validation_loss": 1.25,
    "num_bytes": 12345,
    "is_best": True,
    "is_latest": True,
}


def rows(*losses):
    return [{"step": 10 * place, "epoch": 1, "validation_loss": loss} for place, loss in enumerate(losses, 1)]


def test_alias_is_put_shown_and_deleted(server, unroll_command):
    server.on("PUT", "/v1/models/best", answer(MODEL))
    server.on("GET", "/v1/models/best", answer(MODEL))
    server.on("DELETE", "/v1/models/best", answer({"id": "best", "object": "model", "deleted": True}))
    made = unroll_command("models", "alias", "best", f"{JOB}:step-7")
    assert (made.exit_code, made.stdout, made.stderr) == (0, "", f"best stands for {JOB}:step-7\n")
    assert server.requests[0].json() == {"model": f"{JOB}:step-7"}
    shown = unroll_command("models", "show", "best").stdout.splitlines()
    assert shown[:4] == [
        "id              best",
        f"stands for      {JOB}:step-7",
        f"job             {JOB}",
        "step            7",
    ]
    assert json.loads(unroll_command("models", "show", "best", "--json").stdout) == MODEL
    assert unroll_command("models", "delete", "best").stderr == "best is deleted\n"


def test_checkpoints_are_listed_with_what_marks_them(server, unroll_command):
    server.on("GET", f"/v1/jobs/{JOB}/checkpoints", listed(CHECKPOINT))
    header, line = unroll_command("checkpoints", JOB).stdout.splitlines()
    assert header.split() == ["MODEL", "STEP", "TRAIN", "LOSS", "VALIDATION", "LOSS", "BITS/CHAR", "BYTES", "CREATED"]
    assert line.split()[:6] == [f"{JOB}:step-7", "7", "-", "1.2500", "-", "12,345"]
    assert line.endswith("best latest")
    assert json.loads(unroll_command("checkpoints", JOB, "--json").stdout) == [CHECKPOINT]


def lay_out_a_model(server):
    server.on("GET", "/v1/models/best", answer(MODEL))
    server.on("GET", "/v1/models/best/export", Reply(200, b"weights"))
    server.on("GET", f"/v1/jobs/{JOB}", answer(record("succeeded")))
    server.on("GET", f"/v1/jobs/{JOB}/metrics", listed(*rows(2.5, 1.25)))
    server.on("GET", f"/v1/jobs/{JOB}/events", listed())
    server.on("GET", f"/v1/jobs/{JOB}/checkpoints", listed(CHECKPOINT))
    server.on("GET", f"/v1/jobs/{JOB}/logs", Reply(200, b"step 7\n"))


def test_pull_brings_a_model_with_all_that_is_known_of_it(server, unroll_command, tmp_path):
    lay_out_a_model(server)
    folder = tmp_path / "home"
    result = unroll_command("pull", "best", "--out", str(folder))
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{folder}\n", "")
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".txt", ".safetensors")} == {
        "log.txt": b"step 7\n",
        "model.safetensors": b"weights",
    }
    assert json.loads((folder / "model.json").read_text()) == MODEL
    assert json.loads((folder / "job.json").read_text())["id"] == JOB
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert history == rows(2.5, 1.25)
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoints.jsonl",
        "events.jsonl",
        "history.jsonl",
        "job.json",
        "log.txt",
        "model.json",
        "model.safetensors",
    ]


def test_pull_overwrites_nothing_and_leaves_no_half_written_file(server, unroll_command, tmp_path):
    lay_out_a_model(server)
    server.on("GET", "/v1/models/best/export", refused(500, "corrupt"))
    (tmp_path / "log.txt").write_text("mine")
    result = unroll_command("pull", "best", "--out", str(tmp_path))
    assert result.exit_code == 1
    assert f"{tmp_path / 'log.txt'} is there already\n" in result.stderr
    assert (tmp_path / "log.txt").read_text() == "mine"
    assert not [path.name for path in tmp_path.iterdir() if "safetensors" in path.name]


def test_pull_of_a_data_set_writes_its_bytes_under_its_name(server, unroll_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server.on("GET", f"/v1/datasets/{DATASET}", answer({**dataset(), "name": "../../etc/plays.txt"}))
    server.on("GET", f"/v1/datasets/{DATASET}/content", Reply(200, b"to be"))
    assert unroll_command("pull", DATASET).stdout == "plays.txt\n"
    assert (tmp_path / "plays.txt").read_bytes() == b"to be"


def lay_out_two_jobs(server):
    first = record("succeeded", best={"step": 20, "validation_loss": 1.0, "bits_per_character": 1.443})
    second = record("running", id="job-2", best={"step": 20, "validation_loss": 2.0, "bits_per_character": 2.885})
    second["spec"] = {**second["spec"], "name": "other", "model": {**second["spec"]["model"], "hidden_size": 24}}
    server.on("GET", f"/v1/jobs/{JOB}", answer(first))
    server.on("GET", "/v1/jobs/job-2", answer(second))
    server.on("GET", f"/v1/jobs/{JOB}/metrics", listed(*rows(3.0, 1.0)))
    server.on("GET", "/v1/jobs/job-2/metrics", listed(*rows(3.0, None, 2.0)))


def test_compare_shows_scores_curves_on_one_scale_and_only_what_differs(server, unroll_command):
    lay_out_two_jobs(server)
    result = unroll_command("compare", JOB, "job-2")
    header, one, two, _, fields, differing = result.stdout.splitlines()
    assert header.split()[:5] == ["JOB", "NAME", "STATE", "STEP", "BEST"]
    assert one.split()[-1] == "█▁"
    assert two.split()[-1] == "█▄"
    assert (one.split()[4], two.split()[4]) == ("1.0000", "2.0000")
    assert fields.split() == ["FIELD", JOB, "job-2"]
    assert differing.split() == ["model.hidden_size", "96", "24"]


def test_compare_as_json_has_the_curves_and_the_fields(server, unroll_command):
    lay_out_two_jobs(server)
    found = json.loads(unroll_command("compare", JOB, "job-2", "--json").stdout)
    assert found["differing"] == {"model.hidden_size": [96, 24]}
    assert [one["id"] for one in found["jobs"]] == [JOB, "job-2"]
    assert found["jobs"][1]["curve"] == [{"step": 10, "validation_loss": 3.0}, {"step": 30, "validation_loss": 2.0}]


def test_compare_of_one_job_is_wrong_usage(server, unroll_command):
    result = unroll_command("compare", JOB)
    assert (result.exit_code, server.requests) == (2, [])
    assert "at least two jobs" in result.stderr


def test_jobs_are_found_by_metadata_and_deleted(server, unroll_command):
    server.on("GET", "/v1/jobs", listed(record("succeeded")))
    server.on("DELETE", f"/v1/jobs/{JOB}", answer({"id": JOB, "object": "job", "deleted": True}))
    assert unroll_command("jobs", "--metadata", "experiment=a=b", "--json").exit_code == 0
    assert server.requests[0].query == {"metadata[experiment]": "a=b", "limit": "20"}
    assert unroll_command("jobs", "--metadata", "experiment").exit_code == 2
    assert unroll_command("jobs", "delete", JOB).stderr == f"{JOB} is deleted\n"


def test_logs_as_json_have_a_line_each(server, unroll_command):
    server.on("GET", f"/v1/jobs/{JOB}/logs", Reply(200, b"one\n\x1b two\n"))
    assert unroll_command("logs", JOB, "--json").stdout.splitlines() == ['{"line": "one"}', '{"line": "\\u001b two"}']
