"""Sweeps as they go on: who is tried when, and that nobody's death loses or repeats a trial."""

import pytest
from api_service import SMALL_MODEL, SMALL_TRAIN, Api, Trained
from sweep_samples import body, create, good, report, show, states, sweeper, train, trials

from rnncore.errors import NotFound
from rnncore.spec import JobSpec
from services.jobqueue import claims
from services.jobqueue.records import NewTrial
from services.jobqueue.tenants import TenantLimits, Tenants


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


def test_trials_of_another_tenant_have_their_turn(api: Api) -> None:
    create(api, max_parallel=4)
    sweeper(api).step()
    with api.other_tenant() as other:
        dataset = other.post("/v1/datasets", content="abc " * 500).json()["id"]
        job = other.post("/v1/jobs", json={"dataset": dataset, "model": SMALL_MODEL, "train": SMALL_TRAIN}).json()
    claimed = [claims.claim(api.scripts, lease_seconds=30) for _ in range(2)]
    assert job["id"] in {claim.job for claim in claimed if claim}
