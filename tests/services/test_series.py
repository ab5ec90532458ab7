"""How many series a scrape of the app has, however many jobs there are and whatever is asked of it."""

from concurrent.futures import ThreadPoolExecutor

from api_service import Api
from fastapi.routing import iter_route_contexts

from rnncore.spec import JobSpec
from services.exporter.http import METHODS
from services.faults import TABLE
from services.jobqueue.claims import ClaimedJob
from services.metrics.web import HTTP_REQUEST_DURATION

MOST = 5_000
LAST = {"train_loss": 1.0, "bits_per_character": 2.0, "metrics": {"gradient_norm": 1, "learning_rate": 1}}
CELLS = ("rnn", "lstm", "gru")


def a_thousand_jobs(api: Api) -> None:
    """Of which a quarter runs, some ended in every way, the rest waits. Many at once, for each waits for the disk."""
    dataset = api.upload()["id"]

    def submit(number: int) -> None:
        spec = {"dataset": dataset, "model": {"cell": CELLS[number % 3]}, "priority": number % 10}
        api.queue.submit(api.tenant, JobSpec.model_validate(spec))

    def work(number: int) -> None:
        held = api.claim()
        if number < 250:
            held.write(fields={"progress": {"characters_per_second": 1, "ratio": 0.5}, "last": LAST})
        elif number % 3 == 0:
            held.finish("succeeded")
        elif number % 3 == 1:
            held.finish("cancelled")
        else:
            _fail(held, TABLE[number // 3 % len(TABLE)][1].code)

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(submit, range(1000)))
        list(pool.map(work, range(450)))


def _fail(held: ClaimedJob, kind: str) -> None:
    held.fail({"type": kind, "message": "no", "log_tail": ""}, retriable=False)


def series(api: Api) -> list[str]:
    """Names and labels of all series."""
    return [line for line in api.client.get("/metrics").text.splitlines() if not line.startswith("#")]


def most_of_http(api: Api) -> int:
    """Series of HTTP were every route asked with its methods and answered with every status class."""
    templates = {(m, c.path) for c in iter_route_contexts(api.app.routes) for m in c.methods or ()}
    templates |= {(method, other) for method in (*METHODS, "OTHER") for other in ("unmatched", "static")}
    return len(templates) * (len(("2xx", "3xx", "4xx", "5xx")) + len(HTTP_REQUEST_DURATION.buckets) + 3)


def test_a_thousand_jobs_and_every_route_make_less_than_five_thousand_series(api: Api) -> None:
    a_thousand_jobs(api)
    found = series(api)
    assert sum(line.startswith("unroll_train_loss{") for line in found) == 200
    assert "unroll_train_jobs_without_series 50.0" in found
    others = [line for line in found if not line.startswith("unroll_http_request")]
    assert len(set(found)) == len(found)
    assert len(others) > 1_200
    assert len(others) + most_of_http(api) < MOST
    api.scripts.redis.flushall()  # its audit would take longer than all of this


def test_more_jobs_make_no_more_series(api: Api) -> None:
    dataset = api.upload()["id"]
    numbers = []
    for _ in range(2):
        for _ in range(20):
            api.submit(dataset)
            api.claim().finish("succeeded")
        numbers.append(len(series(api)))
        numbers.append(len(series(api)))
    assert numbers[1:] == [numbers[1]] * 3
