"""`unroll watch`: following a job through lost connections, in lines and in JSON."""

import json

import pytest
from fake_unroll_server import (
    DONE,
    JOB,
    Reply,
    answer,
    checkpoint,
    event,
    metrics,
    record,
    refused,
    stream,
)

EVENTS = f"/v1/jobs/{JOB}/events"


def _job(server, *records):
    server.on("GET", f"/v1/jobs/{JOB}", *(answer(one) for one in records))


def test_watch_shows_a_job_from_queue_to_end_in_lines(server, unroll_command):
    third, second = (record("queued", queue={"position": place, "reason": "no_free_worker"}) for place in (3, 2))
    best = {"step": 700, "bits_per_character": 2.25}
    ended = record("succeeded", started_at=10.0, finished_at=75.0, best=best)
    _job(server, third, third, second, ended)
    frames = (
        event(1, "state", state="queued", reason=None, attempt=0, epoch=0),
        event(2, "state", state="running", reason=None, attempt=1, epoch=1),
        metrics(3, 100),
        metrics(4, 350, validation_loss=1.5, bits_per_character=2.164),
        checkpoint(5, 350, "be, or\nnot", prompt="To "),
        event(6, "message", level="warning", text="loss rises"),
        event(7, "state", state="succeeded", reason="succeeded", attempt=1, epoch=1),
    )
    server.on("GET", EVENTS, stream(": keep-alive\n\n", *frames, DONE))
    result = unroll_command("watch", JOB)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "queued (position 3, waits for a free worker)",
        "queued (position 2, waits for a free worker)",
        "running (attempt 1)",
        "step 350/700  50%  train 1.750  validation 1.500  2.164 bits/char  51,234 chars/s  1m 35s left",
        f"checkpoint {JOB}:step-350",
        "  | To be, or",
        "  | not",
        "warning loss rises",
        "succeeded",
    ]
    assert result.stderr == (
        f"succeeded in 1m 05s; best 2.250 bits per character at step 700; let it write with: unroll sample {JOB}\n"
    )


def test_watch_says_why_a_job_waits_again_only_when_that_has_changed(server, unroll_command):
    place = {"position": 3, "reason": "larger_job", "blocked_by": ["job-7"]}
    places = [{**place, "eta_seconds": eta} for eta in (95.0, 80.0)]
    places += [{"position": 2, "reason": "\x1b[2J", "blocked_by": ["job-\x1b4"]}]
    places += [{"position": 1, "reason": "no_such_worker"}]
    _job(server, *(record("queued", queue=waits) for waits in places), record("succeeded"))
    frames = (*[": keep-alive\n\n"] * 3, event(1, "state", state="succeeded"))
    server.on("GET", EVENTS, stream(*frames, DONE))
    assert unroll_command("watch", JOB).stdout.splitlines() == [
        "queued (position 3, free workers are kept for a larger job, behind job-7, starts in about 1m 35s)",
        r"queued (position 2, \x1b[2J, behind job-\x1b4)",
        "queued (position 1, no worker here could run it)",
        "succeeded",
    ]


def test_watch_goes_on_behind_the_last_event_when_the_server_restarts(server, unroll_command):
    _job(server, record("running"), record("succeeded"))
    server.on(
        "GET",
        EVENTS,
        stream(event(1, "state", state="running", attempt=1), metrics(2, 7), event(3, "message", text="cut o")[:-9]),
        Reply(hangs_up=True),
        refused(503, "starting"),
        stream(event(3, "message", level="info", text="whole"), event(4, "state", state="succeeded"), DONE),
    )
    result = unroll_command("watch", JOB)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["running (attempt 1)", "info whole", "succeeded"]
    asked = [request.headers.get("last-event-id") for request in server.asked("GET", EVENTS)]
    assert asked == [None, "2-0", "2-0", "2-0"]
    lost, back, _ = result.stderr.splitlines()
    assert lost == f"{server.url} ended the stream early; trying again for 60 s"
    assert back == "connected again"


def test_watch_json_prints_each_event_once_across_a_reconnect(server, unroll_command):
    _job(server, record("running"), record("succeeded"))
    first, second = metrics(1, 7, of_a_newer_server=[1]), event(2, "state", state="succeeded")
    server.on("GET", EVENTS, stream(first), stream(second, DONE))
    result = unroll_command("watch", JOB, "--json")
    assert result.exit_code == 0
    sent = [json.loads(frame.split("data: ")[1]) for frame in (first, second)]
    assert [json.loads(line) for line in result.stdout.splitlines()] == sent


def test_watch_json_exits_3_for_a_failed_job(server, unroll_command):
    _job(server, record("failed", error={"type": "poison", "message": "three workers died"}))
    server.on("GET", EVENTS, stream(event(1, "state", state="failed"), DONE))
    result = unroll_command("watch", JOB, "--json")
    assert result.exit_code == 3
    assert "poison: three workers died" in result.stderr


@pytest.mark.parametrize(("status", "code"), [(401, 4), (404, 5), (429, 9)])
def test_refused_stream_ends_the_watch(server, unroll_command, status, code):
    _job(server, record("running"))
    server.on("GET", EVENTS, stream(metrics(1, 7)), refused(status, "no more"))
    assert unroll_command("watch", JOB).exit_code == code


def test_hostile_text_is_shown_escaped_in_lines(server, unroll_command):
    _job(server, record("succeeded"))
    hostile = "\x1b]0;owned\x07 \u202egnp.exe \x9b2J [bold]x[/bold] \r \u2028 ok"
    server.on("GET", EVENTS, stream(checkpoint(1, 7, hostile), event(2, "message", level="info", text=hostile), DONE))
    result = unroll_command("watch", JOB)
    shown = r"\x1b]0;owned\x07 \u202egnp.exe \x9b2J [bold]x[/bold] \r \u2028 ok"
    assert result.stdout.splitlines() == [f"checkpoint {JOB}:step-7", f"  | {shown}", f"info {shown}"]


def test_unknown_events_and_states_of_a_newer_server_do_no_harm(server, unroll_command):
    _job(server, record("paused"), record("succeeded"))
    frames = (event(1, "state", state="paused"), event(2, "gang", size=3), event(3, "state", state="succeeded"))
    server.on("GET", EVENTS, stream(*frames, DONE))
    result = unroll_command("watch", JOB)
    assert (result.exit_code, result.stdout) == (0, "paused\nsucceeded\n")


def test_followed_log_is_printed_once_even_when_its_head_is_dropped(server, unroll_command):
    _job(server, record("running"))
    logs = [Reply(body=text.encode()) for text in ("one\ntwo\n", "two\nthree\n")]
    server.on("GET", f"/v1/jobs/{JOB}/logs", *logs)
    server.on("GET", EVENTS, stream(metrics(1, 7), DONE))
    result = unroll_command("logs", JOB, "--follow")
    assert (result.exit_code, result.stdout) == (0, "one\ntwo\nthree\n")
