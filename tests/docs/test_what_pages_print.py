"""What the commands of the pages print is what the pages say of it."""

import json
import re
from collections.abc import Callable

import pytest

from tests.docs.conftest import READ_BY, Read, check_whole
from tests.docs.pages import page
from tests.running_service import Service

# A page is read whole by the first test that asks for it.
pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

ReadPage = Callable[[str], Read]


@pytest.mark.parametrize("name", [name for name, test in READ_BY.items() if test == "test_what_pages_print.py"])
def test_commands_of_the_page_run(read: ReadPage, name: str) -> None:
    check_whole(read, name)


def test_openais_client_trains_watches_names_and_samples(read: ReadPage) -> None:
    _, printed = read("docs/how-to/openai.md")
    (program,) = printed[1:]
    told = re.findall(r"^(?:info|warn|error) .*\n", program, re.MULTILINE)
    rest = program.removeprefix("".join(told))
    assert told[0] == "info The job is succeeded: finished\n"
    assert told[-1] == "info The job is queued: submitted\n"
    assert any(line.startswith("info Step 100, train_loss ") for line in told)
    job = re.match(r"(job-[0-9a-f]{16}):step-100 \d\.\d+\n", rest)
    assert job is not None
    written, models = rest[job.end() :].rstrip("\n").rsplit("\n", 1)
    assert len(written) == 80
    assert models.startswith("['")
    assert "'favourite'" in models
    assert f"'{job[1]}'" in models


def test_conversations_fork_and_texts_are_scored(read: ReadPage) -> None:
    _, printed = read("docs/how-to/sampling.md")
    *texts, bits = printed[-1].splitlines()
    assert [len(written) for written in texts] == [40, 40, 40]
    assert texts[1] != texts[2]
    assert 0 < float(bits.removesuffix(" bits per character")) < 6


def test_search_finds_a_good_trial_and_stops_poor_ones(read: ReadPage, service: Service) -> None:
    reader, printed = read("docs/how-to/sweeps.md")
    command = page("docs/how-to/sweeps.md").steps[0]
    sweep, *lines = printed[0].splitlines()
    assert "go on with: unroll sample job-" in reader.said(command)
    assert {line.split()[1] for line in lines} == {str(number) for number in range(8)}
    shown = service.api.get(f"/v1/sweeps/{sweep}").json()
    trials = service.api.get(f"/v1/sweeps/{sweep}/trials").json()["data"]
    assert (shown["state"], shown["num_trials"]) == ("succeeded", 8)
    assert shown["num_stopped_early"] >= 1
    assert shown["best"]["value"] == min(trial["value"] for trial in trials)


def test_grid_tells_mean_and_spread_of_three_seeds(read: ReadPage) -> None:
    _, printed = read("docs/how-to/sweeps.md")
    rows = [line.split() for line in printed[1].splitlines()]
    assert sorted(row[0] for row in rows) == ["0.001", "0.01"]
    assert [row[4] for row in rows] == ["3", "3"]
    means = [float(row[1]) for row in rows]
    assert means == sorted(means), "the best first"
    assert all(float(row[3]) > 0 for row in rows)


def test_curl_and_python_of_the_readme_train_follow_and_sample(read: ReadPage) -> None:
    _, printed = read("README.md")
    curl = next(text for text in printed if '"object":"text_completion"' in text)
    assert "data: [DONE]" in curl
    assert json.loads(curl.splitlines()[-1])["object"] == "text_completion"
    steps = [line.split()[0] for line in printed[-1].splitlines() if re.match(r"^\d+ \d+\.\d+$", line)]
    assert (steps[0], steps[-1]) == ("1", "100")
