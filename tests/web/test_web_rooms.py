"""Pages of sweeps, data sets, models, queue and workers as the server writes them."""

import json
import shlex
from typing import Any, cast

import pytest
import typer
import unroll
from fake_rooms import (
    DATASET,
    SWEEP,
    dataset_shelf,
    in_line,
    model_shelf,
    sweep_shelf,
    sweep_spec,
    trial,
    worker,
)
from fake_v1 import FakeV1, job_record
from test_web_pages import HOSTILE, ask, read, session
from typer.testing import CliRunner
from unroll.cli import app

from rnncore.datasets.summaries import RowSummary, SeriesSummary, SymbolTable
from rnncore.spec import JobSpec
from rnncore.sweep_spec import SweepSpec
from services.jobqueue.floor import Occupant
from services.jobqueue.line import Line
from services.jobqueue.records import JobState, QueuePlace
from services.jobqueue.tenants import Tenant
from services.web import datasets, fields, sweep_view

PATHS = ("/sweeps", f"/sweeps/{SWEEP}", "/sweeps/new", "/datasets", f"/datasets/{DATASET}", "/models", "/models/prod")
PATHS += ("/queue", "/workers")
SHOWN = "<img src=x onerror=alert(1)>⟨U+202E⟩evil⟨U+001B⟩[31m⟨U+000A⟩{{ 7*7 }}"


def furnished(name: str = "rates") -> FakeV1:
    """One of everything, called `name`."""
    fake = FakeV1()
    shelves = fake.shelves
    trials = [trial(0, 1.5, rungs=[2.0]), trial(1, 1.25, rungs=[1.75, 1.25]), trial(2)]
    shelves.of_sweeps = [sweep_shelf(trials, sweep_spec(name=name))]
    shelves.of_datasets = [dataset_shelf(name=name, preview=name)]
    job = job_record("job-00000000000000aa", name=name, state=JobState.SUCCEEDED)
    shelves.of_models = [model_shelf("prod", job, alias_of=job.id), model_shelf(job.id, job, aliases=["prod"])]
    waiting = in_line("job-00000000000000b1", name=name)
    shelves.of_line = Line(
        waiting=[waiting],
        running=[in_line("job-00000000000000c1", JobState.RUNNING, name=name)],
        paused=[],
        num_waiting=1,
        num_running=1,
    )
    shelves.of_workers = [worker("trainer-a-0", Occupant(job="job-00000000000000c1"), host=name)]
    return fake


def words(fake: FakeV1, path: str) -> list[str]:
    answer = ask(fake, "GET", path, cookie=session())
    assert answer.status_code == 200, answer.text
    return [word.strip() for word in read(answer).words if word.strip()]


def after(found: list[str], word: str, number: int) -> list[str]:
    at = found.index(word) + 1
    return found[at : at + number]


@pytest.mark.parametrize("path", PATHS)
def test_hostile_names_read_as_text_on_every_page(path: str) -> None:
    answer = ask(furnished(HOSTILE), "GET", path, cookie=session())
    assert answer.status_code == 200
    assert "<img src=x" not in answer.text
    assert "\u202e" not in answer.text
    assert any(SHOWN in word for word in read(answer).words)


@pytest.mark.parametrize("path", PATHS)
def test_every_page_is_for_who_is_logged_in(path: str) -> None:
    assert ask(furnished(), "GET", path).headers["location"].startswith("/login?next=")


PARTS = [
    "/parts/sweeps",
    f"/parts/sweeps/{SWEEP}",
    "/parts/datasets",
    "/parts/models",
    "/parts/queue",
    "/parts/workers",
]


@pytest.mark.parametrize("path", PARTS)
def test_part_is_401_for_a_stranger_and_a_piece_for_others(path: str) -> None:
    assert ask(furnished(), "GET", path).status_code == 401
    answer = ask(furnished(), "GET", path, cookie=session())
    assert answer.status_code == 200
    assert "<html" not in answer.text


@pytest.mark.parametrize(
    "path",
    ["/sweeps/sweep-1", "/sweeps/sweep-" + "0" * 16, "/datasets/ds-1", "/datasets/ds-" + "1" * 32, "/models/nobody"],
)
def test_what_is_not_there_says_so(path: str) -> None:
    assert ask(furnished(), "GET", path, cookie=session()).status_code == 404


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("/sweeps", "unroll sweep FILE --log-range train.learning_rate=0.0005..0.05 --trials 12"),
        ("/sweeps/new", "unroll datasets upload FILE"),
        ("/datasets", "unroll datasets upload FILE"),
        ("/models", "unroll submit FILE --watch"),
        ("/queue", "unroll submit FILE --watch"),
        ("/workers", "unroll doctor"),
    ],
)
def test_empty_page_shows_the_command_to_type(path: str, command: str) -> None:
    assert command in words(FakeV1(), path)
    assert shlex.split(command)[1] in cast(Any, typer.main.get_command(app)).commands


def test_key_that_may_not_train_gets_no_buttons() -> None:
    fake = furnished()
    changing = 'data-method="'
    assert any(changing in ask(fake, "GET", path, cookie=session()).text for path in PATHS)
    fake.scopes = frozenset({"read"})
    for path in PATHS:
        text = ask(fake, "GET", path, cookie=session()).text
        assert changing not in text
        assert "data-alias" not in text


def test_admins_see_the_jobs_of_all_tenants_and_others_their_own() -> None:
    fake = furnished()
    ask(fake, "GET", "/queue", cookie=session())
    fake.scopes = frozenset({"read", "admin"})
    ask(fake, "GET", "/queue", cookie=session())
    assert fake.shelves.seen == ["tenant-1", None]


def test_sweep_is_told_in_numbers() -> None:
    found = words(furnished(), f"/sweeps/{SWEEP}")
    assert after(found, "Best validation_loss", 1) == ["1.2500"]
    assert after(found, "Trials", 2) == ["2", "of 12"]
    assert after(found, "Worker-seconds", 1) == ["33"]
    at = found.index("Worst") + 1
    assert found[at : at + 14] == [
        *("0", "100", "2", "0", "1.7500", "1.8750", "2.0000"),
        *("1", "300", "1", "0", "1.2500", "1.2500", "1.2500"),
    ]
    assert found[found.index("Run") + 1 :][:8] == ["1", "succeeded", "1.2500", "0.003406", "gru", "900", "11", "open"]


def test_trials_come_best_first_or_as_they_were_made() -> None:
    fake = furnished()
    for query, order in (("", [1, 0, 2]), ("?order=number", [0, 1, 2]), ("?order=nonsense", [1, 0, 2])):
        page = ask(fake, "GET", f"/sweeps/{SWEEP}{query}", cookie=session()).text
        places = [page.index(f'id="trial-row-{number}"') for number in order]
        assert places == sorted(places)


def test_replicates_are_told_with_mean_and_spread() -> None:
    fake = FakeV1()
    pair = [trial(0, 1.0, point=0), trial(1, 2.0, point=0)]
    fake.shelves.of_sweeps = [sweep_shelf(pair, sweep_spec(replicates=2))]
    found = words(fake, f"/sweeps/{SWEEP}")
    assert after(found, "2 seeds each: mean and standard deviation", 12)[6:10] == ["0", "1.5000", "0.7071", "2"]


def test_compared_are_the_best_five_jobs_that_are_there() -> None:
    trials = [trial(number, 2 - number / 10) for number in range(8)]
    trials[7] = trial(7, 0.5, state="deleted")
    shelf = sweep_shelf(trials)
    assert sweep_view.best_jobs(shelf.report, trials) == [f"job-{number:016x}" for number in (6, 5, 4, 3)]
    assert sweep_view.best_jobs(shelf.report, trials[:7]) == [f"job-{number:016x}" for number in (6, 5, 4, 3, 2)]


def test_maximized_score_is_best_where_it_is_highest() -> None:
    spec = sweep_spec(
        spec={"dataset": DATASET, "task": "classify"}, objective={"metric": "accuracy"}, early_stopping=None
    )
    trials = [trial(0, 0.5), trial(1, 0.75), trial(2, float("nan")), trial(3)]
    shelf = sweep_shelf(trials, spec)
    assert [one.number for one in sweep_view.ordered(shelf.report, trials, "best")] == [1, 0, 2, 3]


def test_score_that_is_no_number_is_no_invalid_json() -> None:
    assert json.loads(sweep_view.drawn(trial(0, float("inf"))))["score"] is None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"name": "it's; rm -rf /", "replicates": 2, "max_parallel": 3, "promote_to": "prod"},
        {"search": {"method": "random", "seed": 7}, "budget": {"max_worker_seconds": 90.5, "max_seconds": 60}},
        {"early_stopping": {"min_steps": 100, "factor": 4}, "objective": {"metric": "validation_loss"}},
        {
            "parameters": {
                "train.batch_size": {"min": 8, "max": 64, "step": 8},
                "train.weight_decay": {"min": 1e-7, "max": 0.1, "log": True},
                "train.max_epochs": {"values": [1, None]},
                "model.tie_weights": {"values": [True, False]},
            }
        },
        {"spec": {"dataset": DATASET, "name": "a b", "metadata": {"k": "v"}, "model": {"cell": "gru"}, "priority": 3}},
    ],
)
def test_command_asks_for_the_same_sweep(changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    spec = sweep_spec(**changes)
    said = shlex.split(sweep_view.command(spec))
    asked: dict[str, Any] = {}

    class Sweeps:
        def create(self, *, idempotency_key: str | None, **body: Any) -> Any:
            asked.update(body)
            raise unroll.NotFoundError("heard")

    class Client:
        sweeps = Sweeps()

        def __enter__(self) -> "Client":
            return self

        def __exit__(self, *_: object) -> None:
            """Nothing to close."""

    monkeypatch.setattr(unroll, "Client", Client, raising=False)
    CliRunner().invoke(app, said[1:])
    assert SweepSpec.model_validate(asked) == spec


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata": {"a": "b"}},
        {"name": "evil\u202e"},
        {"parameters": {"init_from": {"values": ["a,b", "c"]}}},
        {"objective": {"goal": "maximize"}},
    ],
)
def test_what_flags_cannot_say_is_asked_for_by_a_file(changes: dict[str, Any]) -> None:
    spec = sweep_spec(**changes)
    assert sweep_view.command(spec) == "unroll sweep --spec sweep.json"
    assert SweepSpec.model_validate(sweep_view.asked_for(spec)) == spec


def test_form_offers_every_number_and_choice_of_a_job_with_its_bounds() -> None:
    offered = {field.path: field for field in fields.searchable()}
    spec = JobSpec(dataset=DATASET)
    parts = {"model": spec.model, "train": spec.train, "resources": spec.resources}
    known = {f"{section}.{name}" for section, part in parts.items() for name in type(part).model_fields}
    assert known - offered.keys() == {"train.sample_prompts"}
    assert {path for path in offered if "." not in path} == {"priority", "timeout_seconds", "max_attempts"}
    assert (offered["train.learning_rate"].low, offered["train.learning_rate"].high) == (0, 10)
    assert offered["model.cell"].choices == ("rnn", "lstm", "gru")
    assert offered["model.tie_weights"].choices == ("true", "false")
    assert (offered["train.max_steps"].kind, offered["train.max_seconds"].kind) == ("whole", "number")


@pytest.mark.parametrize(
    ("summary", "told"),
    [
        (
            RowSummary(
                kind="labelled",
                num_rows=3,
                num_steps=50,
                shortest=5,
                longest=30,
                inputs=SymbolTable(symbols=("a", "b"), ranks=(0, 0)),
                targets=SymbolTable(symbols=("x",), ranks=(0,)),
            ),
            ["3 rows", "50", "5 to 30 steps", "2", "1"],
        ),
        (
            RowSummary(
                kind="sequences", num_rows=3, num_steps=50, shortest=5, longest=30, num_channels=2, num_targets=1
            ),
            ["3 rows", "50", "5 to 30 steps", "2", "1"],
        ),
        (SeriesSummary(num_rows=1461, columns=("rain", "tmax"), target="tmax"), ["1,461 rows", "2", "tmax"]),
    ],
)
def test_data_of_every_shape_are_summed_up(summary: Any, told: list[str]) -> None:
    assert [value for _, value in datasets.facts(summary)] == told


def test_data_set_shows_its_symbols_its_beginning_and_who_reads_it() -> None:
    fake = furnished()
    job = job_record("job-00000000000000aa", name="reader")
    fake.shelves.of_datasets = [dataset_shelf(uses=1, preview="a\x1b\u202eb\n")._replace(jobs=[job])]
    found = words(fake, f"/datasets/{DATASET}")
    assert "a⟨U+001B⟩⟨U+202E⟩b" in found
    assert after(found, "by their first place", 6) == ["F", "i", "space", "newline", "x", "⟨U+202E⟩"]
    assert "reader" in found
    assert "In use by 1 unfinished job or sweep: it cannot be deleted until they have ended." in found
    assert f'href="/submit?dataset={DATASET}"' in ask(fake, "GET", "/datasets", cookie=session()).text


def test_model_tells_what_it_is_and_where_it_comes_from() -> None:
    fake = furnished()
    answer = ask(fake, "GET", "/models/prod", cookie=session())
    found = [word.strip() for word in read(answer).words if word.strip()]
    assert after(found, "Parameters", 1) == ["8,385"]
    assert after(found, "Network", 1) == ["lstm 320x1"]
    assert "unroll sample prod --prompt 'Once upon a time' --max-tokens 400" in found
    assert any(word.startswith("curl http://unroll/v1/completions -H") for word in found)
    for link in ("/playground?model=prod", "/v1/models/prod/export?format=onnx", f"/datasets/{DATASET}"):
        assert f'href="{link}"' in answer.text


def test_queue_says_who_waits_for_what_and_how_long() -> None:
    fake = furnished()
    place = QueuePlace(
        position=2, reason="larger_job", blocked_by=["job-00000000000000c1", "job-x", "job-y", "job-z"], eta_seconds=95
    )
    fake.shelves.of_line = fake.shelves.of_line.model_copy(
        update={"waiting": [in_line("job-00000000000000b2", name="next", num_workers=4, queue=place)], "num_waiting": 9}
    )
    fake.shelves.of_shares = [Tenant(id="tenant-1", weight=2, max_running=3, running=1, stored_bytes=1500)]
    found = words(fake, "/queue")
    line = " ".join(found)
    assert "free workers are kept for a larger job" in line
    assert "a job of others, a job of others and 1 more" in line
    assert "job-x" not in line
    assert "about 1 min" in line
    assert "8 more wait behind these." in line
    assert after(found, "Stored", 5) == ["tenant-1", "2", "1", "of 3", "0"]


def test_drained_service_says_so_where_people_wait() -> None:
    fake = furnished()
    fake.shelves.told_drained = "the service takes up no jobs since noon"
    for path in ("/queue", "/workers"):
        assert "the service takes up no jobs since noon" in words(fake, path)


def test_workers_are_told_by_node_with_shares_gangs_and_the_jobs_of_others_as_a_number() -> None:
    fake = furnished()
    gang, part = Occupant(job="job-gang"), Occupant(job="job-part", share=0.25)
    fake.shelves.of_workers = [
        worker("trainer-b-0", gang, host="host-2"),
        worker("trainer-a-0", gang),
        worker("trainer-a-1", part, kind="gpu", num_jobs=3, is_drained=True),
        worker("trainer-a-2", state="starting", utilisation=0.0),
    ]
    line = " ".join(words(fake, "/workers"))
    assert line.index("host-1") < line.index("trainer-a-2") < line.index("host-2") < line.index("trainer-b-0")
    assert "job-gang one of 2 workers" in line
    assert "job-part 25 % of it , 2 jobs of others" in line
    assert "busy, drained" in line
    assert "Busy 3 of 4 Idle 0 Starting 1" in line
