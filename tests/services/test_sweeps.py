"""Sweeps as they go on: who is tried when, who is stopped, what ends one, and that nobody's death loses anything."""

from typing import Any

import pytest
from api_service import SMALL_MODEL, SMALL_TRAIN, Api, Trained
from sweep_samples import body, create, good, report, show, sweeper, train, trials

from rnncore.errors import Cancelled, NotFound, Overloaded
from rnncore.spec import JobSpec
from services.jobqueue import claims, keys
from services.jobqueue.records import NewTrial
from services.jobqueue.sweeps import Sweeps
from services.jobqueue.tenants import TenantLimits, Tenants

HALVING = {"early_stopping": {"min_steps": 1, "factor": 2}}


def grid(path: str, *values: Any) -> dict[str, Any]:
    return {"parameters": {path: {"values": values}}, "search": {"method": "grid"}, "budget": {}}


def states(api: Api, sweep: str) -> list[str]:
    return [trial["state"] for trial in trials(api, sweep)]


def test_as_many_trials_run_at_once_as_were_asked_for_until_all_are_through(api: Api, trained: Trained) -> None:
    sweep, moves = create(api)["id"], sweeper(api)
    moves.step()
    moves.step()
    assert states(api, sweep) == ["queued", "queued"]
    for number in range(5):
        assert show(api, sweep)["state"] == "running"
        assert train(api, trained, [3.0, 2.0 + number]) == "succeeded"
        moves.step()
    told = show(api, sweep)
    assert (told["state"], told["num_trials"], told["trials"]) == ("succeeded", 5, {"succeeded": 5})
    assert (told["best"]["number"], told["best"]["value"]) == (0, 2.0)
    assert [point["mean"] for point in told["points"]] == [2.0, 3.0, 4.0, 5.0, 6.0]
    assert told["finished_at"] is not None
    jobs = {job["id"]: job for job in api.client.get("/v1/jobs").json()["data"]}
    for trial in trials(api, sweep):
        job = jobs.pop(trial["job"])
        assert job["trial"] == {"sweep": sweep, "number": trial["number"], "rungs": [], "stopped_early": None}
        assert job["spec"]["train"]["learning_rate"] == trial["parameters"]["train.learning_rate"]
    assert jobs == {}


def test_sweepers_that_die_after_every_step_make_the_same_trials_as_one_that_lives(api: Api, trained: Trained) -> None:
    asked = body(api, search={"method": "tpe", "seed": 3}, budget={"max_trials": 14})
    found = []
    for is_mortal in (False, True):
        sweep = good(api.client.post("/v1/sweeps", json=asked))["id"]
        moves = sweeper(api)
        for number in range(14):
            moves = sweeper(api) if is_mortal else moves
            moves.step()
            train(api, trained, [2.0 + number % 5])
        moves.step()
        assert show(api, sweep)["state"] == "succeeded"
        found.append([trial["parameters"] for trial in trials(api, sweep)])
    assert found[0] == found[1]


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


def test_two_sweepers_at_once_make_no_trial_twice(api: Api) -> None:
    sweep = create(api)["id"]
    first, second = sweeper(api), sweeper(api)
    first.step()
    api.scripts.redis.delete("{unroll}:sweeper")
    second.step()
    assert len(trials(api, sweep)) == len(api.queue.jobs("default")[0]) == 2
    api.scripts.redis.set("{unroll}:sweeper", "somebody else's")
    for trial in trials(api, sweep):
        api.queue.cancel("default", trial["job"])
    second.step()
    assert len(trials(api, sweep)) == 2, "it moved on what another leads"


def test_trial_submitted_twice_is_one_job_also_after_that_was_deleted(api: Api) -> None:
    sweep = create(api)["id"]
    spec = JobSpec.model_validate(show(api, sweep)["spec"]["spec"])
    new = NewTrial(sweep, 0, {"train.learning_rate": 0.1})
    first = api.queue.submit("default", spec, trial=new)
    assert api.queue.submit("default", spec, trial=new).id == first.id
    api.queue.cancel("default", first.id)
    api.queue.delete_job("default", first.id)
    with pytest.raises(NotFound):
        api.queue.submit("default", spec, trial=new)
    assert (states(api, sweep), api.queue.jobs("default")[0]) == (["deleted"], [])


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


def test_replicates_have_seeds_of_their_own_and_are_told_with_mean_and_spread(api: Api, trained: Trained) -> None:
    sweep, moves = create(api, replicates=3, budget={"max_trials": 7})["id"], sweeper(api)
    for loss in (1.0, 2.0, 6.0, 2.0, 2.5, 3.0):
        moves.step()
        train(api, trained, [loss])
    moves.step()
    told = show(api, sweep)
    assert (told["state"], told["num_trials"]) == ("succeeded", 6)
    assert [(point["point"], point["trials"], point["mean"]) for point in told["points"]] == [
        (1, [3, 4, 5], 2.5),
        (0, [0, 1, 2], 3.0),
    ]
    assert told["points"][0]["spread"] == 0.5
    assert told["points"][1]["spread"] == pytest.approx(2.6457513)
    assert told["best"]["number"] == 3, "the best of the best point, not the best of all"
    specs = [api.queue.job("default", trial["job"]).asked() for trial in trials(api, sweep)]
    assert [spec.train.seed for spec in specs] == [0, 1, 2, 0, 1, 2]
    assert len({spec.train.learning_rate for spec in specs}) == 2


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


def test_objective_is_a_metric_where_that_was_asked_for(api: Api) -> None:
    rows = "text,label\n" + "".join(f"{'ab'[n % 2] * 5},{'xy'[n % 2]}\n" for n in range(60))
    dataset = good(api.client.post("/v1/datasets", params={"kind": "labelled"}, content=rows))["id"]
    spec = {"task": "classify", "dataset": dataset, "model": SMALL_MODEL, "train": {"batch_size": 3, "max_steps": 4}}
    asked = {"spec": spec, "objective": {"metric": "accuracy"}, "budget": {"max_trials": 2}}
    sweep, moves = create(api, **asked)["id"], sweeper(api)
    moves.step()
    for loss, accuracy in ((1.0, 0.5), (2.0, 0.75)):
        held = api.claim()
        report(held, 4, loss, accuracy=accuracy)
        held.finish("succeeded", "0" * 64)
    moves.step()
    assert show(api, sweep)["best"]["value"] == 0.75


def test_tenants_quota_holds_for_trials_and_the_sweep_waits(api: Api, trained: Trained) -> None:
    Tenants(api.scripts).put("default", TenantLimits(max_queued=1))
    sweep, moves = create(api, max_parallel=4)["id"], sweeper(api)
    moves.step()
    moves.step()
    assert states(api, sweep) == ["queued"]
    train(api, trained, [1.0])
    moves.step()
    assert states(api, sweep) == ["succeeded", "queued"]


def test_trial_that_was_deleted_is_accounted_for_and_not_made_again(api: Api, trained: Trained) -> None:
    sweep, moves = create(api, budget={"max_trials": 2}, max_parallel=1)["id"], sweeper(api)
    moves.step()
    train(api, trained, [1.0])
    first = trials(api, sweep)[0]["job"]
    good(api.client.delete(f"/v1/jobs/{first}"))
    moves = sweeper(api)
    moves.step()
    train(api, trained, [2.0])
    moves.step()
    assert states(api, sweep) == ["deleted", "succeeded"]
    assert show(api, sweep)["best"]["number"] == 1


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


def test_trials_of_another_tenant_have_their_turn(api: Api) -> None:
    create(api, max_parallel=4)
    sweeper(api).step()
    with api.other_tenant() as other:
        dataset = other.post("/v1/datasets", content="abc " * 500).json()["id"]
        job = other.post("/v1/jobs", json={"dataset": dataset, "model": SMALL_MODEL, "train": SMALL_TRAIN}).json()
    claimed = [claims.claim(api.scripts, lease_seconds=30) for _ in range(2)]
    assert job["id"] in {claim.job for claim in claimed if claim}
