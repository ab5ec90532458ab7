"""`unroll watch` on several jobs at once."""

import json
import signal
import subprocess
import sys

from fake_unroll_server import DONE, JOB, answer, event, metrics, record, stream

TWO = "job-2"


def lay_out(server, end_of_second="succeeded", **fields):
    second = record(end_of_second, id=TWO, **fields)
    second["spec"] = {**second["spec"], "name": "other"}
    server.on("GET", f"/v1/jobs/{JOB}", answer(record("succeeded")))
    server.on("GET", f"/v1/jobs/{TWO}", answer(second))
    first = (event(1, "state", state="running"), metrics(2, 350, validation_loss=1.5, bits_per_character=2.164))
    server.on("GET", f"/v1/jobs/{JOB}/events", stream(*first, event(3, "state", state="succeeded"), DONE))
    server.on("GET", f"/v1/jobs/{TWO}/events", stream(event(1, "state", state=end_of_second), DONE))


def test_lines_name_the_job_they_are_of(server, unroll_command):
    lay_out(server)
    result = unroll_command("watch", JOB, TWO)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line for line in lines if line.startswith("plays  ")] == [
        "plays  running",
        "plays  step 350/700  50%  train 1.750  validation 1.500  2.164 bits/char  51,234 chars/s  1m 35s left",
        "plays  succeeded",
    ]
    assert [line for line in lines if line.startswith("other  ")] == ["other  succeeded"]
    assert result.stderr == f"all 2 succeeded; see them side by side with: unroll compare {JOB} {TWO}\n"


def test_events_as_json_lines_say_whose_they_are(server, unroll_command):
    lay_out(server)
    found = [json.loads(line) for line in unroll_command("watch", JOB, TWO, "--json").stdout.splitlines()]
    assert {(one["job"], one["type"]) for one in found} == {(JOB, "state"), (JOB, "metrics"), (TWO, "state")}


def test_job_that_fails_leaves_the_others_watched_and_exits_3(server, unroll_command):
    lay_out(server, "failed", error={"type": "non_finite_loss", "message": "NaN"})
    result = unroll_command("watch", TWO, JOB)
    assert result.exit_code == 3
    assert "plays  succeeded" in result.stdout.splitlines()
    assert result.stderr == f"unroll: {TWO} failed: non_finite_loss: NaN\n"


def test_failure_weighs_more_than_a_cancel(server, unroll_command):
    lay_out(server, "failed", error={"type": "non_finite_loss", "message": "NaN"})
    server.on("GET", f"/v1/jobs/{JOB}", answer(record("cancelled")))
    server.on("GET", f"/v1/jobs/{JOB}/events", stream(event(1, "state", state="cancelled"), DONE))
    result = unroll_command("watch", JOB, TWO)
    assert result.exit_code == 3
    assert result.stderr.splitlines() == [
        f"unroll: {JOB} was cancelled",
        f"unroll: {TWO} failed: non_finite_loss: NaN",
    ]


def test_interrupt_detaches_from_all_with_130(server):
    lay_out(server)
    server.on("GET", f"/v1/jobs/{JOB}", answer(record("running")))
    server.on("GET", f"/v1/jobs/{JOB}/events", stream(event(1, "state", state="running"), stays_open=True))
    command = ["env", "--default-signal=INT", sys.executable, "-m", "unroll.cli", "watch", JOB, TWO]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert server.is_streaming.wait(30)
        while process.stdout.readline() != "plays  running\n":
            pass
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.endswith(f"detached; the jobs go on. Come back with: unroll watch {JOB} {TWO}\n")
    assert {request.method for request in server.requests} == {"GET"}
