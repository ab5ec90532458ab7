"""What ends a sweep, what an unfinished one holds on to, and what is left of it."""

from typing import Any

import pytest
from api_service import Api, Trained
from sweep_samples import create, good, grid, report, show, states, sweeper, train, trials

from rnncore.errors import Cancelled, Overloaded
from services.jobqueue import keys
from services.jobqueue.sweeps import Sweeps


def test_full_redis_holds_back_new_trials_and_no_end_of_a_sweep(api: Api, trained: Trained) -> None:
    first, second = create(api)["id"], create(api, budget={"max_trials": 1})["id"]
    moves = sweeper(api)
    moves.step()
    for _ in range(3):
        assert train(api, trained, [3.0]) == "succeeded"
    api.scripts.redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(Overloaded):
            moves.step()
    finally:
        api.scripts.redis.config_set("maxmemory", "1gb")
    assert [show(api, sweep)["state"] for sweep in (first, second)] == ["running", "succeeded"]
    assert len(trials(api, first)) == 2
    moves.step()
    assert len(trials(api, first)) == 4


def test_values_that_make_no_job_fail_their_trial_and_no_other(api: Api, trained: Trained) -> None:
    asked = grid("train.batch_size", 3, 500)
    sweep, moves = create(api, **asked)["id"], sweeper(api)
    moves.step()
    good_one, bad = trials(api, sweep)
    assert (bad["state"], bad["job"], bad["error"]["type"]) == ("failed", None, "invalid_input")
    assert "batch_size=500" in bad["error"]["message"]
    train(api, trained, [1.0])
    moves.step()
    told = show(api, sweep)
    assert (told["state"], told["best"]["number"], told["trials"]) == ("succeeded", 0, {"succeeded": 1, "failed": 1})
    assert good_one["number"] == 0


def test_sweep_of_which_no_trial_has_a_score_fails_and_says_why(api: Api) -> None:
    sweep, moves = create(api, budget={"max_trials": 1})["id"], sweeper(api)
    moves.step()
    api.claim().fail(
        {"type": "non_finite_loss", "message": "loss is nan", "hint": None, "log_tail": ""}, retriable=False
    )
    moves.step()
    told = show(api, sweep)
    assert (told["state"], told["error"], told["best"]) == ("failed", "no trial has a score: loss is nan", None)


def test_worker_seconds_end_a_sweep_and_stop_what_still_runs(api: Api) -> None:
    sweep, moves = create(api, budget={"max_worker_seconds": 100})["id"], sweeper(api)
    moves.step()
    first = api.claim()
    report(first, 1, 2.0)
    api.scripts.redis.hincrby(keys.job(first.claim.job), "worker_ms", 99_000)
    moves.step()
    report(first, 2, 1.5)
    api.scripts.redis.hincrby(keys.job(first.claim.job), "worker_ms", 1_000)
    moves.step()
    assert show(api, sweep)["state"] == "running", "the trial has not stopped yet"
    with pytest.raises(Cancelled):
        first.write()
    first.finish("cancelled")
    moves.step()
    told = show(api, sweep)
    assert (told["state"], told["trials"], told["num_trials"]) == ("succeeded", {"cancelled": 2}, 2)
    assert [trial["stopped_early"] for trial in trials(api, sweep)] == ["budget", "budget"]
    assert told["best"]["value"] == 1.5
    assert told["worker_seconds"] >= 100


def test_wall_clock_ends_a_sweep(api: Api) -> None:
    sweep, moves = create(api, budget={"max_seconds": 3600})["id"], sweeper(api)
    moves.step()
    api.scripts.redis.hincrby(keys.sweep(sweep), "created_at", -3_600_000)
    moves.step()
    moves.step()
    told = show(api, sweep)
    assert (told["state"], told["trials"]) == ("failed", {"cancelled": 2}), "nothing had a score yet"


def test_cancelled_sweep_makes_no_trial_more_and_ends_with_its_trials(api: Api) -> None:
    sweep, moves = create(api)["id"], sweeper(api)
    moves.step()
    held = api.claim()
    told = good(api.client.post(f"/v1/sweeps/{sweep}/cancel"))
    assert (told["state"], told["cancel_requested"]) == ("running", True)
    moves.step()
    with pytest.raises(Cancelled):
        held.write()
    held.finish("cancelled")
    moves.step()
    assert show(api, sweep)["state"] == "cancelled"
    assert states(api, sweep) == ["cancelled", "cancelled"]
    assert good(api.client.post(f"/v1/sweeps/{sweep}/cancel"))["state"] == "cancelled"


def test_cancel_between_search_and_submission_leaves_no_trial_behind(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep, moves = create(api)["id"], sweeper(api)

    def cancelled_meanwhile(*_: Any) -> dict[str, float]:
        Sweeps(api.scripts).cancel("default", sweep)
        return {"train.learning_rate": 0.01}

    monkeypatch.setattr("services.sweeps.sweeper.next_point", cancelled_meanwhile)
    moves.step()
    assert (trials(api, sweep), api.queue.jobs("default")[0]) == ([], [])


def test_best_model_is_promoted_to_the_alias(api: Api, trained: Trained) -> None:
    sweep, moves = create(api, promote_to="champion", budget={"max_trials": 2})["id"], sweeper(api)
    moves.step()
    train(api, trained, [2.0])
    train(api, trained, [1.0])
    moves.step()
    best = show(api, sweep)["best"]["job"]
    assert api.client.get("/v1/models/champion").json()["alias_of"] == best
    assert best == trials(api, sweep)[1]["job"]


def test_data_set_and_trials_of_an_unfinished_sweep_are_kept(api: Api, trained: Trained) -> None:
    sweep, moves = create(api, max_parallel=1)["id"], sweeper(api)
    moves.step()
    train(api, trained, [1.0])
    dataset = show(api, sweep)["spec"]["spec"]["dataset"]
    assert api.client.delete(f"/v1/datasets/{dataset}").status_code == 409
    kept = Sweeps(api.scripts)
    assert kept.jobs_of_unfinished() == {trials(api, sweep)[0]["job"]}
    api.client.post(f"/v1/sweeps/{sweep}/cancel")
    moves.step()
    assert show(api, sweep)["state"] == "cancelled"
    assert kept.jobs_of_unfinished() == set()
    assert api.client.delete(f"/v1/datasets/{dataset}").status_code == 200


def test_old_sweeps_are_forgotten_their_jobs_are_not(api: Api, trained: Trained) -> None:
    sweep, moves = create(api, budget={"max_trials": 1})["id"], sweeper(api)
    moves.step()
    train(api, trained, [1.0])
    moves.step()
    job = trials(api, sweep)[0]["job"]
    finished_at = show(api, sweep)["finished_at"]
    assert Sweeps(api.scripts).trim(finished_at - 1) == 0
    assert Sweeps(api.scripts).trim(finished_at + 1) == 1
    assert api.client.get(f"/v1/sweeps/{sweep}").status_code == 404
    assert api.client.get("/v1/sweeps").json()["data"] == []
    assert api.client.get(f"/v1/jobs/{job}").status_code == 200
