"""Early stopping: who is stopped at a rung, when, and what is said of those who ended another way."""

import pytest
from api_service import Api, Trained
from sweep_samples import create, report, show, sweeper, train, trials

from rnncore.errors import Cancelled
from services.jobqueue.sweeps import Sweeps

HALVING = {"early_stopping": {"min_steps": 1, "factor": 2}}


def test_score_at_a_rung_that_is_told_twice_is_kept_once(api: Api) -> None:
    sweep, kept = create(api)["id"], Sweeps(api.scripts)
    sweeper(api).step()
    trial = kept.trials(kept.get("default", sweep))[0]
    kept.mark(trial, score=2.5)
    kept.mark(trial, score=2.5, stop="halving")
    assert trials(api, sweep)[0]["rungs"] == [2.5]
    assert trials(api, sweep)[0]["stopped_early"] == "halving", "the stop that came with it counts all the same"


def test_worse_trials_are_stopped_at_a_rung_and_keep_their_checkpoints(api: Api, trained: Trained) -> None:
    sweep, moves = create(api, **HALVING)["id"], sweeper(api)
    moves.step()
    assert train(api, trained, [3.0, 2.0, 1.5, 1.0], moves.step) == "succeeded"
    assert train(api, trained, [3.5, 2.5, 1.0, 0.5], moves.step) == "cancelled"
    assert train(api, trained, [2.5, 2.5, 2.5], moves.step) == "cancelled"
    told = trials(api, sweep)
    assert [trial["rungs"] for trial in told[:3]] == [[3.0, 2.0, 1.0], [3.5], [2.5, 2.5]]
    assert [trial["stopped_early"] for trial in told[:3]] == [None, "halving", "halving"]
    assert [trial["state"] for trial in told[:3]] == ["succeeded", "cancelled", "cancelled"]
    job = told[1]["job"]
    assert api.client.get(f"/v1/jobs/{job}").json()["trial"]["stopped_early"] == "halving"
    assert api.client.get(f"/v1/jobs/{job}/events").json()["data"][-1]["data"]["reason"] == "stopped_early"
    assert api.client.get(f"/v1/models/{job}").json()["step"] == 1
    assert show(api, sweep)["num_stopped_early"] == 2
    metrics = api.client.get("/metrics").text
    assert 'unroll_jobs_finished_total{cell="gru",outcome="cancelled",reason="stopped_early"} 2.0' in metrics


def test_a_rung_is_passed_once_whoever_looks_again_and_whatever_came_since(api: Api, trained: Trained) -> None:
    sweep = create(api, **HALVING)["id"]
    sweeper(api).step()
    held = api.claim()
    report(held, 1, 3.0)
    sweeper(api).step()
    assert train(api, trained, [1.0, 0.9, 0.8, 0.7], lambda: sweeper(api).step()) == "succeeded"
    sweeper(api).step()
    held.write()  # not stopped at rung 0, although two thirds are better by now
    report(held, 2, 2.9)
    sweeper(api).step()
    with pytest.raises(Cancelled):
        held.write()
    assert trials(api, sweep)[0]["rungs"] == [3.0, 2.9]
    held.finish("cancelled")


def test_trial_is_stopped_only_once_it_has_gone_on_from_the_checkpoint_of_its_rung(api: Api, trained: Trained) -> None:
    sweep, moves = create(api, **HALVING)["id"], sweeper(api)
    moves.step()
    train(api, trained, [1.0], moves.step)
    held = api.claim()
    held.write(
        fields={"progress": {"step": 1}}, events=[("metrics", {"step": 1, "validation_loss": 2.0, "metrics": {}})]
    )
    moves.step()
    api.publish(held, trained, 1, 2.0)
    held.write(fields={"progress": {"step": 2}})
    moves.step()
    with pytest.raises(Cancelled):
        held.write()
    held.finish("cancelled")
    assert (trials(api, sweep)[1]["stopped_early"], trials(api, sweep)[1]["value"]) == ("halving", 2.0)


def test_worse_trial_is_stopped_while_redis_is_full(api: Api, trained: Trained) -> None:
    sweep, moves = create(api, **HALVING)["id"], sweeper(api)
    moves.step()
    train(api, trained, [1.0], moves.step)
    held = api.claim()
    report(held, 1, 2.0)
    api.scripts.redis.config_set("maxmemory", "1")
    try:
        moves.step()  # the trial that is due waits for room
        with pytest.raises(Cancelled):
            held.write()
        held.finish("cancelled")
    finally:
        api.scripts.redis.config_set("maxmemory", "1gb")
    trial = trials(api, sweep)[1]
    assert (trial["state"], trial["stopped_early"], trial["rungs"]) == ("cancelled", "halving", [2.0])


def test_trial_that_came_to_its_end_before_it_heard_of_the_stop_has_succeeded(api: Api, trained: Trained) -> None:
    sweep, moves = create(api, **HALVING)["id"], sweeper(api)
    moves.step()
    train(api, trained, [1.0], moves.step)
    held = api.claim()
    report(held, 1, 2.0)
    moves.step()
    assert trials(api, sweep)[1]["stopped_early"] == "halving"
    held.finish("succeeded", "0" * 64)
    moves.step()
    assert (trials(api, sweep)[1]["state"], trials(api, sweep)[1]["stopped_early"]) == ("succeeded", None)


def test_preempted_trial_is_judged_where_it_waits(api: Api, trained: Trained) -> None:
    sweep, moves = create(api, **HALVING)["id"], sweeper(api)
    moves.step()
    train(api, trained, [1.0], moves.step)
    held = api.claim()
    report(held, 1, 2.0)
    held.suspend()
    moves.step()
    trial = trials(api, sweep)[1]
    assert (trial["state"], trial["stopped_early"], trial["rungs"]) == ("cancelled", "halving", [2.0])


def test_trial_that_its_owner_cancelled_was_not_stopped_early(api: Api, trained: Trained) -> None:
    sweep, moves = create(api, **HALVING)["id"], sweeper(api)
    moves.step()
    train(api, trained, [1.0], moves.step)
    held = api.claim()
    api.queue.cancel("default", held.claim.job)
    with pytest.raises(Cancelled):
        report(held, 1, 2.0)
    moves.step()
    held.finish("cancelled")
    trial = trials(api, sweep)[1]
    assert (trial["state"], trial["stopped_early"]) == ("cancelled", None)
