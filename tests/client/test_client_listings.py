"""`jobs`, `datasets`, `models`, `cancel`, `logs`, `version`: what is printed."""

import json
import time

from fake_unroll_server import DATASET, JOB, Reply, answer, dataset, listed, record


def test_jobs_are_a_table_for_people_and_an_array_for_programs(server, unroll_command):
    best = {"step": 350, "bits_per_character": 2.164}
    row = record("running", best=best, progress={"step": 350, "ratio": 0.5})
    server.on("GET", "/v1/jobs", listed(row))
    table = unroll_command("jobs", "--state", "running", "--limit", "3")
    header, line = table.stdout.splitlines()
    assert header.split() == ["ID", "STATE", "NAME", "CELL", "STEP", "DONE", "BITS/CHAR", "CREATED"]
    assert line.split()[:7] == [JOB, "running", "plays", "gru", "350", "50%", "2.164"]
    assert server.requests[0].query == {"state": "running", "limit": "3"}
    assert json.loads(unroll_command("jobs", "--json").stdout) == [row]


WAITING = {
    "position": 5,
    "reason": "quota",
    "blocked_by": ["job-1", "job-2", "job-3", "job-\x1b4", "job-5"],
    "eta_seconds": 90.0,
}
WAITS = "position 5, waits for its tenant's quota, behind job-1, job-2, job-3 and 2 more, starts in about 1m 30s"


def test_queued_job_is_shown_with_its_place_why_it_waits_behind_whom_and_how_long(server, unroll_command):
    server.on("GET", f"/v1/jobs/{JOB}", answer(record("queued", queue=WAITING)))
    assert f"waits        {WAITS}" in unroll_command("jobs", "show", JOB).stdout.splitlines()


def test_list_with_queued_jobs_says_of_each_why_it_waits(server, unroll_command):
    hostile = {"position": None, "reason": "\x1b[2J", "blocked_by": ["job-\x1b4"]}
    rows = record("queued", queue=WAITING), record("queued", queue=hostile), record("running")
    server.on("GET", "/v1/jobs", listed(*rows))
    header, *lines = unroll_command("jobs").stdout.splitlines()
    start = header.index("WAITS")
    assert [line[start:] for line in lines] == [WAITS, r"\x1b[2J, behind job-\x1b4", "-"]


def test_hostile_name_stays_in_its_cell(server, unroll_command):
    row = record("queued")
    row["spec"]["name"] = "a\n\x1b[2J\u202eb"
    server.on("GET", "/v1/jobs", listed(row))
    assert r"a\n\x1b[2J\u202eb" in unroll_command("jobs").stdout.splitlines()[1]


def test_one_job_is_shown_with_its_whole_spec(server, unroll_command):
    told = {"error": {"type": "poison", "message": "three workers died"}, "warnings": ["short text"]}
    failed = record("failed", placement={"fused_with": ["job-1", "job-2"]}, **told)
    server.on("GET", f"/v1/jobs/{JOB}", answer(failed))
    lines = unroll_command("jobs", "show", JOB).stdout.splitlines()
    for line in (
        f"id           {JOB}",
        "state        failed",
        "error        poison: three workers died",
        "warning      short text",
        "fused with   job-1, job-2",
        "model.cell   gru",
        "train.max_steps 700",
    ):
        assert line in lines


FIRST = {"step": 100, "bits_per_character": 3.5, "samples": [{"prompt": "a", "text": "b\n\x1b[2Jc"}]}
LAST = {"step": 200, "samples": [{"prompt": "a", "text": "bc"}, {"prompt": "d", "text": "ef"}]}


def test_samples_are_what_it_wrote_at_each_checkpoint_or_at_the_last(server, unroll_command):
    server.on("GET", f"/v1/jobs/{JOB}/samples", listed(FIRST, LAST))
    first = ["step 100, 3.500 bits per character", "  | ab", r"  | \x1b[2Jc"]
    last = ["step 200", "  | abc", "  | def"]
    assert unroll_command("samples", JOB).stdout.splitlines() == first + last
    assert unroll_command("samples", JOB, "--latest").stdout.splitlines() == last
    assert json.loads(unroll_command("samples", JOB, "--json").stdout) == [FIRST, LAST]


def test_job_that_has_written_nothing_says_so_beside_the_empty_answer(server, unroll_command):
    server.on("GET", f"/v1/jobs/{JOB}/samples", listed())
    shown = unroll_command("samples", JOB)
    assert (shown.stdout, shown.stderr) == ("", f"{JOB} has written nothing yet\n")


def test_keys_are_made_shown_once_and_revoked(server, unroll_command):
    made = {"id": "key-1", "tenant": "lab", "scopes": ["read"], "created_at": 1.7e9, "key": "unroll-text"}
    server.on("POST", "/v1/keys", answer(made))
    server.on("GET", "/v1/keys", listed({name: value for name, value in made.items() if name != "key"}))
    server.on("DELETE", "/v1/keys/key-1", answer({"id": "key-1", "object": "key", "deleted": True}))
    created = unroll_command("keys", "create", "--tenant", "lab", "--scopes", "read", "--expires", "2d")
    assert created.stdout == "unroll-text\n"
    assert "not shown again" in created.stderr
    sent = server.asked("POST", "/v1/keys")[0].json()
    assert (sent["tenant"], sent["scopes"]) == ("lab", ["read"])
    assert abs(sent["expires_at"] - time.time() - 2 * 86_400) < 60
    line = unroll_command("keys").stdout.splitlines()[1]
    assert line.split()[0] == "key-1"
    assert "unroll-text" not in line
    assert unroll_command("keys", "revoke", "key-1").exit_code == 0
    assert unroll_command("keys", "create", "--expires", "soon").exit_code == 2


def test_limits_of_a_tenant_change_alone_or_are_lifted(server, unroll_command):
    now = {"id": "lab", "weight": 2.0, "max_running": 4, "max_queued": 9, "running": 1, "queued": 3}
    now |= {"max_storage_bytes": 7_000, "stored_bytes": 1_234}
    server.on("GET", "/v1/tenants/lab", answer(now))
    server.on("PUT", "/v1/tenants/lab", answer(now | {"max_running": 5, "max_queued": None}))
    shown = unroll_command("tenants", "set", "lab", "--max-running", "5", "--max-queued", "-1")
    assert server.asked("PUT", "/v1/tenants/lab")[0].json() == {
        "weight": 2.0,
        "max_running": 5,
        "max_storage_bytes": 7_000,
    }
    assert shown.stdout.splitlines()[1].split() == ["lab", "2", "1", "5", "3", "-", "1,234", "7,000"]


def test_webhook_is_made_its_secret_shown_once_listed_and_deleted(server, unroll_command):
    made = {"id": "wh-1", "object": "webhook", "url": "https://a.example/x", "created_at": 1.7e9, "secret": "whsec_x"}
    kept = {name: value for name, value in made.items() if name != "secret"}
    gone = {"id": "wh-1", "object": "webhook", "deleted": True}
    server.on("POST", "/v1/webhooks", answer(made))
    server.on("GET", "/v1/webhooks", listed(kept))
    server.on("DELETE", "/v1/webhooks/wh-1", answer(gone))
    created = unroll_command("webhooks", "create", "https://a.example/x")
    assert created.stdout == "whsec_x\n"
    assert created.stderr == "wh-1 is told of every end of a job; its secret is not shown again\n"
    assert server.asked("POST", "/v1/webhooks")[0].json() == {"url": "https://a.example/x"}
    assert json.loads(unroll_command("webhooks", "create", "https://a.example/x", "--json").stdout) == made
    header, line = unroll_command("webhooks").stdout.splitlines()
    assert (header.split(), line.split()[:2]) == (["ID", "URL", "CREATED"], ["wh-1", "https://a.example/x"])
    assert json.loads(unroll_command("webhooks", "list", "--json").stdout) == [kept]
    assert unroll_command("webhooks", "delete", "wh-1").stderr == "wh-1 is deleted\n"
    assert json.loads(unroll_command("webhooks", "delete", "wh-1", "--json").stdout) == gone
    assert unroll_command("webhooks", "delete", "../keys/key-1").exit_code == 5
    assert {request.path for request in server.requests} == {"/v1/webhooks", "/v1/webhooks/wh-1"}


def test_usage_is_a_row_a_day_and_a_total(server, unroll_command):
    first = {"characters_trained": 7_000, "training_steps": 35, "worker_seconds": 90.4, "tokens_sampled": 11}
    second = first | {"worker_seconds": 3_661.0, "training_steps": 1_000}
    total = first | {"characters_trained": 14_000, "training_steps": 1_035, "worker_seconds": 3_751.4}
    days = [{"date": "2026-03-02", **first}, {"date": "2026-03-05", **second}]
    span = {"start": "2026-03-01", "end": "2026-03-31"}
    said = {"object": "usage", "tenant": "lab", **span, "stored_bytes": 7_654, "total": total, "days": days}
    server.on("GET", "/v1/usage", answer(said))
    header, *lines = unroll_command("usage", "--from", "2026-03-01", "--to", "2026-03-31").stdout.splitlines()
    assert header.split() == ["DAY", "CHARACTERS", "STEPS", "WORKER", "TIME", "TOKENS", "SAMPLED"]
    assert [line.split() for line in lines] == [
        ["2026-03-02", "7,000", "35", "1m", "30s", "11"],
        ["2026-03-05", "7,000", "1,000", "1h", "01m", "11"],
        ["total", "14,000", "1,035", "1h", "02m", "11"],
        ["7,654", "bytes", "of", "data", "sets", "and", "checkpoints", "are", "stored", "now"],
    ]
    assert json.loads(unroll_command("usage", "--json").stdout) == said
    assert [request.query for request in server.requests] == [span, {}]


def test_day_that_is_none_is_refused_before_anything_is_asked(server, unroll_command):
    result = unroll_command("usage", "--from", "2026-02-30")
    assert (result.exit_code, server.requests) == (2, [])
    assert "%Y-%m-%d" in result.stderr


def test_pause_and_resume_tell_the_state_that_the_server_answers(server, unroll_command):
    server.on("POST", f"/v1/jobs/{JOB}/pause", answer(record("pausing")), answer(record("paused")))
    server.on("POST", f"/v1/jobs/{JOB}/resume", answer(record("queued")))
    assert unroll_command("pause", JOB).stdout == "pausing, stops after its step\n"
    assert unroll_command("pause", JOB).stdout == "paused\n"
    assert unroll_command("resume", JOB).stdout == "queued\n"


def test_retry_sends_the_changes_and_prints_the_new_job(server, unroll_command):
    server.on("POST", f"/v1/jobs/{JOB}/retry", answer(record("queued", id="job-" + "f" * 16)))
    result = unroll_command("retry", JOB, "--set", "train.max_steps=900", "--set", 'name="longer"')
    assert result.stdout == "job-" + "f" * 16 + "\n"
    (sent,) = server.asked("POST", f"/v1/jobs/{JOB}/retry")
    assert json.loads(sent.body) == {"train": {"max_steps": 900}, "name": "longer"}


def test_cancel_tells_the_state_that_the_server_answers(server, unroll_command):
    running, ended = record("running", cancel_requested=True), record("cancelled", cancel_requested=True)
    server.on("POST", f"/v1/jobs/{JOB}/cancel", answer(running), answer(ended))
    assert unroll_command("cancel", JOB).stdout == "running, ends at its next step\n"
    assert unroll_command("cancel", JOB).stdout == "cancelled\n"


def test_log_is_printed_as_it_is(server, unroll_command):
    server.on("GET", f"/v1/jobs/{JOB}/logs", Reply(body="zwölf\nno end".encode()))
    assert unroll_command("logs", JOB).stdout == "zwölf\nno end"


def test_data_sets_are_listed_shown_uploaded_and_deleted(server, unroll_command, tmp_path):
    server.on("GET", "/v1/datasets", listed(dataset()))
    server.on("GET", f"/v1/datasets/{DATASET}", answer(dataset()))
    server.on("POST", "/v1/datasets", answer(dataset()))
    gone = {"id": DATASET, "object": "dataset", "deleted": True}
    server.on("DELETE", f"/v1/datasets/{DATASET}", answer(gone))
    text = tmp_path / "plays.txt"
    text.write_text("to be")
    assert unroll_command("datasets").stdout == unroll_command("datasets", "list").stdout
    assert unroll_command("datasets").stdout.splitlines()[1].split()[:6] == [
        *(DATASET, "plays.txt", "text", "11", "11", "0"),
    ]
    assert json.loads(unroll_command("datasets", "list", "--json").stdout) == [dataset()]
    assert "num_distinct 7" in unroll_command("datasets", "show", DATASET).stdout
    assert unroll_command("datasets", "upload", str(text), "--name", "mine").stdout == f"{DATASET}\n"
    assert server.asked("POST", "/v1/datasets")[0].query == {"kind": "text", "name": "mine"}
    assert json.loads(unroll_command("datasets", "delete", DATASET, "--json").stdout) == gone


def test_models_are_listed_with_or_without_checkpoints(server, unroll_command):
    model = {"id": f"{JOB}:step-7", "object": "model", "created": 1700000000, "owned_by": "default"}
    server.on("GET", "/v1/models", listed(model))
    assert unroll_command("models", "--checkpoints").stdout.splitlines()[1].split()[0] == f"{JOB}:step-7"
    assert json.loads(unroll_command("models", "--json").stdout) == [model]
    assert [request.query.get("checkpoints") for request in server.requests] == ["true", None]


def test_version_is_the_distributions(unroll_command):
    assert unroll_command("version").stdout.count(".") == 2
    assert set(json.loads(unroll_command("version", "--json").stdout)) == {"version"}
