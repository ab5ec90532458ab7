"""The table of exit codes, row by row."""

import signal
import socket
import subprocess
import sys

import pytest
from fake_unroll_server import DONE, JOB, Reply, answer, event, listed, record, refused, stream
from unroll import UnrollError, errors


def test_errors_have_the_codes_of_the_table():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, UnrollError)]
    assert {kind.__name__: kind.exit_code for kind in kinds} == {
        "UnrollError": 1,
        "ConfigurationError": 2,
        "ServerUnreachableError": 6,
        "ProtocolError": 1,
        "WaitTimeoutError": 7,
        "JobFailedError": 3,
        "JobCancelledError": 8,
        "APIError": 1,
        "AuthenticationError": 4,
        "NotFoundError": 5,
        "ConflictError": 1,
        "InvalidRequestError": 1,
        "QuotaError": 9,
        "ServiceUnavailableError": 6,
    }


def test_ready_server_exits_0(server, unroll_command):
    checks = {"redis": "ok", "sampler": "does not answer"}
    server.on("GET", "/readyz", answer({"status": "ok", "checks": checks}))
    queued = record("queued")
    server.on("GET", "/v1/jobs", listed(queued, queued, queued), listed(queued))
    about = {"node": "n", "host": "h", "kind": "cpu", "threads": 2}
    workers = ({"id": name, "state": state, **about} for name, state in (("a", "idle"), ("b", "busy"), ("c", "idle")))
    server.on("GET", "/v1/workers", listed(*workers))
    result = unroll_command("status")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"url           {server.url}",
        "ready         yes",
        "queue depth   3",
        "running jobs  1",
        "workers       1 busy, 2 idle",
        "redis         ok",
        "sampler       does not answer",
    ]
    assert [request.query["state"] for request in server.asked("GET", "/v1/jobs")] == ["queued", "running"]


def test_server_that_is_not_ready_exits_1_and_says_why(server, unroll_command):
    server.on("GET", "/readyz", answer({"checks": {"redis": "refuses connections"}}, status=503))
    result = unroll_command("status")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[1:] == ["ready         no", "redis         refuses connections"]
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, 1), (401, 4), (403, 4), (404, 5), (409, 1), (413, 1), (415, 1), (422, 1), (429, 9), (500, 1), (507, 9)],
)
def test_refusal_exits_with_its_code_and_its_message(server, unroll_command, status, code):
    server.on("GET", f"/v1/jobs/{JOB}", refused(status, "this is why"))
    result = unroll_command("jobs", "show", JOB)
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", "unroll: this is why\n")


def test_refusal_without_an_envelope_is_still_told(server, unroll_command):
    server.on("GET", f"/v1/jobs/{JOB}", Reply(500, b"<h1>\x1b[2Jbad gateway</h1>"))
    result = unroll_command("jobs", "show", JOB)
    assert (result.exit_code, result.stderr) == (1, "unroll: the server answered 500: <h1>\\x1b[2Jbad gateway</h1>\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("no-such-command",),
        ("jobs", "--no-such-flag"),
        ("submit",),
        ("submit", "no-such-file.txt"),
        ("submit", "--spec", "no-such-file.json"),
        ("submit", "ds-" + "0" * 32, "--set", "train.schedule=constant"),
        ("submit", "ds-" + "0" * 32, "--set", "train.schedule"),
        ("submit", "ds-" + "0" * 32, "--vocabulary", "bytes"),
        ("datasets", "upload", "no-such-file.txt"),
    ],
)
def test_wrong_usage_exits_2_and_asks_no_server(server, unroll_command, arguments):
    result = unroll_command(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr
    assert server.requests == []


def test_failed_job_exits_3_and_says_everything_about_it(server, unroll_command):
    error = {"type": "nonfinite_loss", "message": "loss is nan", "hint": "lower learning_rate", "log_tail": "a\nb\n"}
    server.on("GET", f"/v1/jobs/{JOB}", answer(record("failed", error=error)))
    server.on("GET", f"/v1/jobs/{JOB}/events", stream(event(1, "state", state="failed"), DONE))
    result = unroll_command("watch", JOB)
    assert (result.exit_code, result.stdout) == (3, "failed\n")
    assert result.stderr == (
        f"unroll: {JOB} failed: nonfinite_loss: loss is nan\nhint: lower learning_rate\nlast lines of its log:\na\nb\n"
    )


def test_missing_key_exits_4_without_a_request(server, unroll_command, monkeypatch):
    monkeypatch.delenv("UNROLL_API_KEY")
    result = unroll_command("jobs")
    assert result.exit_code == 4
    assert "UNROLL_API_KEY" in result.stderr
    assert server.requests == []


@pytest.mark.parametrize("job", ["", "..", "a/b", "job x", "job\n"])
def test_what_cannot_be_an_id_exits_5_without_a_request(server, unroll_command, job):
    assert unroll_command("cancel", job).exit_code == 5
    assert server.requests == []


@pytest.mark.usefixtures("server")
def test_server_that_is_gone_exits_6(unroll_command, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("UNROLL_URL", f"http://127.0.0.1:{port}")
    result = unroll_command("status")
    assert result.exit_code == 6
    assert f"http://127.0.0.1:{port} does not answer" in result.stderr


@pytest.mark.usefixtures("server")
def test_no_server_on_this_machine_exits_6_and_says_how_to_start_one(unroll_command, monkeypatch):
    monkeypatch.delenv("UNROLL_URL")
    result = unroll_command("jobs")
    assert result.exit_code == 6
    assert "`unroll up`" in result.stderr


def test_watch_that_runs_out_of_time_exits_7(server, unroll_command):
    server.on("GET", f"/v1/jobs/{JOB}", answer(record("running")))
    server.on("GET", f"/v1/jobs/{JOB}/events", stream(event(1, "state", state="running"), stays_open=True))
    result = unroll_command("watch", JOB, "--timeout", "0.3")
    assert result.exit_code == 7
    assert result.stderr == "unroll: still not finished after 0.3 s\n"
    assert server.asked("POST", f"/v1/jobs/{JOB}/cancel") == []


def test_cancelled_job_exits_8(server, unroll_command):
    server.on("GET", f"/v1/jobs/{JOB}", answer(record("cancelled")))
    server.on("GET", f"/v1/jobs/{JOB}/events", stream(event(1, "state", state="cancelled"), DONE))
    result = unroll_command("watch", JOB)
    assert (result.exit_code, result.stderr) == (8, f"unroll: {JOB} was cancelled\n")


def test_interrupt_detaches_with_130_and_never_cancels(server):
    server.on("GET", f"/v1/jobs/{JOB}", answer(record("running")))
    server.on("GET", f"/v1/jobs/{JOB}/events", stream(event(1, "state", state="running"), stays_open=True))
    # A suite in the background of a script has SIGINT ignored, and its children inherit that.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "unroll.cli", "watch", JOB]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert server.is_streaming.wait(30)
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == f"\ndetached; the job goes on. Come back with: unroll watch {JOB}\n"
    assert {request.method for request in server.requests} == {"GET"}


@pytest.mark.parametrize("command", ["up", "down", "doctor", "gc"])
def test_machine_command_without_the_server_exits_1_and_names_the_distribution(unroll_command, monkeypatch, command):
    monkeypatch.setattr("unroll.commands.machine.LAUNCHER", "no_such_distribution.local")
    result = unroll_command(command)
    assert result.exit_code == 1
    assert "unroll-server is not installed" in result.stderr


def test_machine_command_hands_its_flags_to_the_launcher(unroll_command, monkeypatch):
    became = []
    monkeypatch.setattr("unroll.commands.machine.LAUNCHER", "json.tool")
    monkeypatch.setattr("os.execv", lambda path, argv: became.append((path, argv)))
    assert unroll_command("up", "--port", "0", "--help").exit_code == 0
    argv = [sys.executable, "-P", "-m", "json.tool", "up", "--port", "0", "--help"]
    assert became == [(sys.executable, argv)]
