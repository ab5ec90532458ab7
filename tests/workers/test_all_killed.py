"""kill -9 of the whole service in mid-training, and the end of a service."""

from tests.running_service import running


def test_after_everything_was_killed_queued_and_running_jobs_go_on(text: str) -> None:
    with running() as service:
        dataset = service.upload(text)
        train = {"max_steps": 1500, "checkpoint_every_steps": 100}
        undisturbed = service.ended(service.submit(dataset, train=train)["id"])
        at_work = service.submit(dataset, train=train)["id"]
        waiting = [service.submit(dataset, train={"seed": seed})["id"] for seed in (1, 2)]
        service.stepped(at_work, 300)
        service.kill_everything()
        service.start()
        record = service.ended(at_work)
        assert record["state"] == "succeeded"
        assert record["attempt"] == 2
        assert record["parameters_sha256"] == undisturbed["parameters_sha256"]
        assert [service.ended(job)["state"] for job in waiting] == ["succeeded", "succeeded"]
        family = service.family()
        assert len(family) > 5
        service.stop()
        assert [process for process in family if process.is_running()] == []
