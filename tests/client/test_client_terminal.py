"""What a real terminal gets: the live view and samples, with nothing in them that the terminal would obey."""

import os
import re
import subprocess
import sys

import pytest
from fake_unroll_server import DONE, JOB, answer, checkpoint, event, listed, metrics, record, stream
from unroll.terminal import visible

HOSTILE = "\x1b]0;owned\x07\u202egnp [bold red]loud[/bold red] :smile: \x9b2J"
SHOWN = r"\x1b]0;owned\x07\u202egnp [bold red]loud[/bold red] :smile: \x9b2J"


def _on_a_terminal(*arguments, term="xterm"):
    """Exit code and all that a 100-column terminal received, stderr included."""
    master, slave = os.openpty()
    environment = {**os.environ, "TERM": term, "COLUMNS": "100", "LINES": "40"}
    command = [sys.executable, "-m", "unroll.cli", *arguments]
    with subprocess.Popen(command, stdout=slave, stderr=slave, stdin=slave, env=environment) as process:
        os.close(slave)
        received = b""
        while piece := _read(master):
            received += piece
    os.close(master)
    return process.returncode, received.decode()


def _read(master):
    try:
        return os.read(master, 65536)
    except OSError:  # Linux reports the other side's end so
        return b""


def test_live_view_shows_numbers_and_hostile_text_escaped(server):
    best = {"step": 350, "bits_per_character": 2.164}
    server.on(
        "GET",
        f"/v1/jobs/{JOB}",
        answer(record("running")),
        answer(record("succeeded", best=best)),
    )
    frames = (
        event(1, "state", state="running", attempt=1),
        metrics(2, 350, validation_loss=1.5, bits_per_character=2.164),
        checkpoint(3, 350, HOSTILE, prompt="p"),
        event(4, "message", level="warning", text=HOSTILE),
        event(5, "state", state="succeeded"),
    )
    server.on("GET", f"/v1/jobs/{JOB}/events", stream(*frames, DONE))
    code, received = _on_a_terminal("watch", JOB)
    assert code == 0
    assert "\x1b]0;" not in received
    assert "\u202e" not in received
    assert "\x9b" not in received
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", received)
    assert f"p{SHOWN}" in text
    assert f"warning {SHOWN}" in text
    for said in ("gru 2x96", "50%", "step 350/700", "1m 35s left", "validation loss 1.500", "2.164 bits/char"):
        assert said in text
    assert "51,234 chars/s" in text
    assert "best 2.164 bits per character at step 350" in text


def test_sample_on_a_terminal_is_escaped_and_ends_its_line(server):
    chunk = 'data: {"id": "c", "choices": [{"index": 0, "text": "\\u001b]0;owned\\u0007\\nend"}]}\n\n'
    server.on("POST", "/v1/completions", stream(chunk, DONE))
    code, received = _on_a_terminal("sample", JOB)
    assert (code, received) == (0, "\\x1b]0;owned\\x07\r\nend\r\n")


def test_dumb_terminal_gets_lines(server):
    server.on("GET", f"/v1/jobs/{JOB}", answer(record("succeeded")))
    server.on("GET", f"/v1/jobs/{JOB}/events", stream(event(1, "state", state="succeeded"), DONE))
    code, received = _on_a_terminal("watch", JOB, term="dumb")
    assert (code, received) == (0, f"succeeded\r\nsucceeded in -; let it write with: unroll sample {JOB}\r\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ä 漢 🙂\n\t", "plain ä 漢 🙂\n\t"),
        ("\x00\x08\x7f\x85", r"\x00\x08\x7f\x85"),
        ("\u061c\u200f\u2066\u2069\ufeff", r"\u061c\u200f\u2066\u2069\ufeff"),
        ("\ud800\U000e0041", r"\ud800\U000e0041"),
    ],
)
def test_visible_changes_only_what_a_terminal_would_obey(text, shown):
    assert visible(text) == shown


def test_live_table_of_a_sweep_shows_trials_at_work_then_the_best_with_hostile_values_escaped(server):
    sweep = {"id": "sweep-1", "state": "running", "spec": {"name": HOSTILE}, "created_at": 1.0, "num_trials": 3}
    trials = [
        {"number": number, "state": state, "value": value, "parameters": {"name": HOSTILE[:9]}, "job": f"job-{number}"}
        for number, state, value in ((0, "succeeded", 2.5), (1, "succeeded", 1.5), (2, "running", None))
    ]
    points = [{"point": number, "trials": [number]} for number in (1, 0, 2)]
    ended = {"state": "succeeded", "points": points, "best": trials[1], "num_stopped_early": 0}
    server.on("GET", "/v1/sweeps/sweep-1", answer(sweep | ended))
    server.on("GET", "/v1/sweeps/sweep-1/trials", listed(*trials))
    code, received = _on_a_terminal("sweeps", "watch", "sweep-1")
    assert code == 0
    assert "\x1b]0;" not in received
    assert "\u202e" not in received
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", received)
    assert r"\x1b]0;owned\x07\u202egnp" in text
    rows = [line.split() for line in text.splitlines() if line.split()[:1] in (["0"], ["1"], ["2"])]
    assert [(row[0], row[3]) for row in rows[:3]] == [("2", "-"), ("1", "1.5000"), ("0", "2.5000")]
