"""`unroll lecture` end to end, made as small as it goes: every job of it through the service."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import unroll
from unroll.lecture.experiments import run_lecture
from unroll.lecture.results import CELLS, QUICK, Results

from tests.running_service import Service

pytestmark = pytest.mark.system

TINY = QUICK.model_copy(
    update={
        "seeds": 1,
        "adding_steps": 20,
        "adding_sequences": 450,
        "adding_updates": 24,
        "adding_rates": (1e-2, 3e-2),
        "adding_windows": (5,),
        "text_updates": 12,
        "text_rates": (4e-3,),
        "text_windows": (16,),
    }
)


@pytest.fixture(scope="module")
def client(service: Service):
    key = (service.home / "api_key").read_text().strip()
    with unroll.Client(str(service.api.base_url), key) as client:
        yield client


@pytest.fixture(scope="module")
def results(client, text) -> Results:
    return run_lecture(client, TINY, text=text, text_name="counting", say=lambda line: None)


def test_hello_is_learned_and_its_walk_by_hand_agrees_with_the_server(results: Results):
    assert results.hello.written == "hello"
    # The server answers probabilities of four digits.
    assert results.hello.largest_difference < 1e-4
    assert [max(step.p) == step.p[results.hello.alphabet.index(step.target)] for step in results.hello.steps] == [
        True
    ] * 4


def test_rows_are_what_the_jobs_say(results: Results, client):
    for comparison, metric in ((results.adding, "rmse"), (results.language, None)):
        for row in (*comparison.rows, *comparison.truncated, comparison.gru_with_lstm_rate):
            for value, job in zip(row.values, row.jobs, strict=True):
                record = client.jobs.get(job)
                assert value == (record.best.metrics[metric] if metric else record.best.validation_loss)
                assert record.spec.model["cell"] == row.cell
                assert record.spec.train["learning_rate"] == row.learning_rate
                assert record.spec.train["tbptt_steps"] == row.tbptt_steps


def test_every_cell_has_the_rate_that_was_best_for_it(results: Results):
    for cell in CELLS:
        searched = results.adding.searched[cell]
        assert set(searched) == {"0.01", "0.03"}
        assert results.adding.row(cell).learning_rate == float(min(searched, key=lambda rate: searched[rate]))
    assert results.adding.gru_with_lstm_rate.learning_rate == results.adding.row("lstm").learning_rate


def test_sizes_are_equal_within_two_percent(results: Results):
    for comparison in (results.adding, results.language):
        counts = [row.parameters for row in comparison.rows]
        assert max(counts) / min(counts) < 1.03


def test_gradients_are_followed_before_and_after(results: Results):
    kinds = [("rnn", "hidden"), ("lstm", "hidden"), ("lstm", "cell"), ("gru", "hidden")]
    for comparison, lags in ((results.adding, 19), (results.language, 99)):
        for found in (comparison.before, comparison.after):
            assert [(gradient.cell, gradient.state) for gradient in found] == kinds
            for gradient in found:
                assert len(gradient.norms) == lags + 1
                assert all(math.isfinite(norm) and norm > 0 for norm in gradient.norms)
        before, after = (found[0].norms for found in (comparison.before, comparison.after))
        assert before != after


def test_asked_again_it_runs_no_job_twice(results: Results, client, text):
    before = {job.id for job in client.jobs.list()}
    again = run_lecture(client, TINY, text=text, text_name="counting", say=lambda line: None)
    assert {job.id for job in client.jobs.list()} == before
    assert again.adding.rows == results.adding.rows
    assert again.language.rows == results.language.rows


def test_command_refuses_a_text_too_short_to_compare_on(tmp_path: Path):
    short = tmp_path / "short.txt"
    short.write_text("too short")
    command = [str(Path(sys.executable).with_name("unroll")), "lecture", "--text", str(short)]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "has 9 characters, too few to compare networks on; need 50000" in done.stderr
    assert done.stdout == ""
