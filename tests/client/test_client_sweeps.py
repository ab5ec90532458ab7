"""`unroll sweep` and `unroll sweeps`: what is sent, what is shown, how a sweep's end becomes an exit code."""

import json

import pytest
from fake_unroll_server import DATASET, answer, dataset, listed
from unroll import Client

SWEEP = "sweep-0123456789abcdef"
PATH = f"/v1/sweeps/{SWEEP}"


def sweep(state="running", **fields):
    spec = {"name": "rates", "search": {"method": "tpe"}}
    return {"id": SWEEP, "object": "sweep", "state": state, "spec": spec, "created_at": 1700000000.0, **fields}


def trial(number, state="succeeded", value=None, **fields):
    parameters = {"train.learning_rate": 0.00312345, "model.cell": "gru"}
    return {"object": "trial", "number": number, "point": number, "parameters": parameters, "job": f"job-{number}",
            "state": state, "value": value, **fields}  # fmt: skip


def report(state, best=None, points=(), **fields):
    told = {"trials": {"succeeded": 2}, "num_trials": 2, "num_stopped_early": 1, "worker_seconds": 61.0}
    return sweep(state, best=best, points=list(points), **told, **fields)


def test_flags_go_where_the_sweep_spec_has_them(server, unroll_command, tmp_path):
    server.on("POST", "/v1/datasets", answer(dataset()))
    server.on("POST", "/v1/sweeps", answer(sweep()))
    book = tmp_path / "book.txt"
    book.write_text("to be")
    words = "--values model.cell=lstm,gru --values train.seed=1,2 --range model.hidden_size=32..256..32 --log-range "
    words += (
        "train.learning_rate=1e-4..0.1 --method random --trials 24 --worker-seconds 60.5 --seconds 99 --parallel 2 "
    )
    words += "--replicates 3 --halving 100 --factor 4 --metric rmse --fuse never "
    words += "--promote-to champion --name rates --search-seed 7 "
    words += "--set train.max_steps=900 --idempotency-key mine"
    result = unroll_command("sweep", str(book), *words.split())
    assert (result.exit_code, result.stdout) == (0, f"{SWEEP}\n")
    assert result.stderr == f"running; watch it with: unroll sweeps watch {SWEEP}\n"
    (request,) = server.asked("POST", "/v1/sweeps")
    assert request.headers["idempotency-key"] == "mine"
    assert request.json() == {
        "name": "rates",
        "spec": {"dataset": DATASET, "train": {"max_steps": 900}},
        "parameters": {
            "model.cell": {"values": ["lstm", "gru"]},
            "train.seed": {"values": [1, 2]},
            "model.hidden_size": {"min": 32.0, "max": 256.0, "step": 32.0},
            "train.learning_rate": {"min": 0.0001, "max": 0.1, "log": True},
        },
        "search": {"method": "random", "seed": 7},
        "budget": {"max_trials": 24, "max_worker_seconds": 60.5, "max_seconds": 99.0},
        "max_parallel": 2,
        "replicates": 3,
        "early_stopping": {"min_steps": 100, "factor": 4},
        "objective": {"metric": "rmse"},
        "fuse": "never",
        "promote_to": "champion",
    }


def test_spec_file_comes_after_flags_and_nothing_else_is_sent(server, unroll_command, tmp_path):
    server.on("POST", "/v1/sweeps", answer(sweep()))
    file = tmp_path / "sweep.json"
    asked = {"spec": {"dataset": DATASET}, "parameters": {"train.seed": {"values": [1]}}, "replicates": 2}
    file.write_text(json.dumps(asked))
    assert unroll_command("sweep", "--spec", str(file), "--replicates", "3").exit_code == 0
    assert server.requests[0].json() == asked | {"replicates": 3}


@pytest.mark.parametrize(
    "words", [(), ("--values", "model.cell"), ("--range", "train.seed=1"), ("--log-range", "train.seed=a..b")]
)
def test_wrong_range_exits_2_and_asks_no_server(server, unroll_command, words):
    assert unroll_command("sweep", DATASET, *words).exit_code == 2
    assert server.requests == []


def test_watch_tells_each_change_of_a_trial_once(server, unroll_command, monkeypatch):
    monkeypatch.setattr("unroll.transport.time.sleep", lambda _: None)
    best = trial(0, value=1.5)
    server.on("GET", PATH, answer(report("running")), answer(report("running")), answer(report("succeeded", best)))
    halved = trial(1, "cancelled", 2.5, rungs=[3.0, 2.5], stopped_early="halving")
    failed = trial(2, "failed", job=None, error={"type": "invalid_input", "message": "too\nlong"})
    server.on(
        "GET",
        f"{PATH}/trials",
        listed(trial(0, "running", step=10)),
        listed(trial(0, "running", step=90)),
        listed(best, halved, failed),
    )
    result = unroll_command("sweeps", "watch", SWEEP)
    assert result.exit_code == 0
    values = "train.learning_rate=0.003123 model.cell=gru"
    assert result.stdout.splitlines() == [
        f"trial 0  running  -  {values}",
        f"trial 0  succeeded  1.5000  {values}",
        f"trial 1  stopped at rung 1  2.5000  {values}",
        r"trial 2  failed  -  too\nlong",
    ]
    assert result.stderr == f"best 1.5000 with {values}; go on with: unroll sample job-0\n"


def test_watch_in_json_prints_a_trial_a_line(server, unroll_command):
    server.on("POST", "/v1/sweeps", answer(sweep()))
    server.on("GET", PATH, answer(report("succeeded", trial(0, value=1.5))))
    server.on("GET", f"{PATH}/trials", listed(trial(0, value=1.5)))
    result = unroll_command("sweep", DATASET, "--values", "train.seed=1", "--watch", "--json")
    assert [json.loads(line)["object"] for line in result.stdout.splitlines()] == ["sweep", "trial"]


@pytest.mark.parametrize(("state", "code"), [("failed", 3), ("cancelled", 8)])
def test_end_of_a_sweep_is_an_exit_code(server, unroll_command, state, code):
    server.on("GET", PATH, answer(report(state, error="no trial has a score")))
    server.on("GET", f"{PATH}/trials", listed())
    assert unroll_command("sweeps", "watch", SWEEP).exit_code == code


def test_watch_that_runs_out_of_time_exits_7_and_cancels_nothing(server, unroll_command):
    server.on("GET", PATH, answer(report("running")))
    server.on("GET", f"{PATH}/trials", listed())
    result = unroll_command("sweeps", "watch", SWEEP, "--timeout", "0.001")
    assert (result.exit_code, result.stderr) == (7, "unroll: still not finished after 0.001 s\n")
    assert {request.method for request in server.requests} == {"GET"}


def test_list_and_show_print_tables(server, unroll_command):
    server.on("GET", "/v1/sweeps", listed(sweep(num_trials=2)))
    assert unroll_command("sweeps").stdout.splitlines()[1].split()[:5] == [SWEEP, "running", "rates", "tpe", "2"]
    point = {"point": 0, "parameters": {"model.cell": "gru"}, "trials": [0, 1], "mean": 1.75, "spread": 0.25}
    server.on("GET", PATH, answer(report("succeeded", trial(0, value=1.5), [point])))
    server.on("GET", f"{PATH}/trials", listed(trial(0, value=1.5, step=9)))
    lines = unroll_command("sweeps", "show", SWEEP).stdout.splitlines()
    assert "trials       2 (2 succeeded; 1 stopped early)" in lines
    assert "0      1.7500  0.2500  2       model.cell=gru" in lines
    assert lines[-1].split() == [
        "0",
        "succeeded",
        "9",
        "1.5000",
        "job-0",
        "train.learning_rate=0.003123",
        "model.cell=gru",
    ]
    shown = json.loads(unroll_command("sweeps", "show", SWEEP, "--json").stdout)
    assert [one["number"] for one in shown["all_trials"]] == [0]


def test_sweep_is_cancelled(server, unroll_command):
    server.on("POST", f"{PATH}/cancel", answer(sweep(cancel_requested=True)))
    assert unroll_command("sweeps", "cancel", SWEEP).stdout == "cancelled, ends with its trials\n"


def test_client_waits_for_the_end(server):
    server.on("GET", PATH, answer(report("succeeded", trial(0, value=1.5))))
    with Client() as client:
        assert client.sweeps.wait(SWEEP).best.value == 1.5
