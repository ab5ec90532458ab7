"""The help says what there is, and its examples are commands that would run."""

import os
import shlex
import subprocess
import sys
import time

import pytest
import typer
from fake_unroll_server import JOB, answer, dataset, listed, record
from unroll.cli import app

ROOT = typer.main.get_command(app)


def commands():
    for name, command in ROOT.commands.items():
        yield (name,), command
        for part, below in getattr(command, "commands", {}).items():
            yield (name, part), below


COMMANDS = list(commands())


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
def test_every_command_says_what_it_does_and_has_an_example_that_parses(path, command):
    assert command.help
    examples = (command.epilog or "").splitlines()
    assert examples
    for example in examples:
        words = [word for word in shlex.split(example.rpartition("| ")[2]) if not word.startswith("UNROLL_")]
        assert (words[0], words[1]) == ("unroll", path[0])
        rest, found = words[1:], ROOT
        while rest and rest[0] in getattr(found, "commands", {}):
            found, rest = found.commands[rest[0]], rest[1:]
        assert found is command or found in command.commands.values()
        found.make_context("unroll", rest)


def test_help_shows_every_command_under_its_heading_and_cuts_no_sentence(unroll_command):
    said = unroll_command("--help").stdout
    headings = [line.rstrip(":") for line in said.splitlines() if line[:1].isalpha() and line.endswith(":")]
    assert headings == [
        "Jobs",
        "Sweeps",
        "Models",
        "Data sets",
        "Service",
        "This machine",
        "Administration",
        "Options",
        "Examples",
    ]
    rows = [line for line in said.partition("Options:")[0].splitlines() if line.startswith("  ") and "  " in line[2:]]
    assert [row for row in rows if row.endswith("...") and not row.endswith("translate, ...")] == []
    assert {row.split()[0] for row in rows} >= set(ROOT.commands)


def test_help_of_a_command_groups_its_options_and_ends_with_examples(unroll_command):
    said = unroll_command("submit", "--help").stdout
    places = [said.index(f"\n{heading}:\n") for heading in ("Arguments", "The file", "The network", "Training")]
    assert places == sorted(places)
    assert said.rstrip().splitlines()[-1] == "  unroll submit --spec job.json --set train.seed=3"
    assert "\x1b" not in said


def test_help_answers_within_its_time():
    started = time.process_time(), os.times().children_user + os.times().children_system
    subprocess.run([sys.executable, "-m", "unroll.cli", "--help"], check=True, capture_output=True, timeout=60)
    used = os.times().children_user + os.times().children_system - started[1]
    assert used < 0.4, "seconds of processor, so that a busy machine does not matter"


def complete(words, **environment):
    done = subprocess.run(
        [sys.executable, "-m", "unroll.cli"],
        env={
            **os.environ,
            "_PYTHON_M_UNROLL.CLI_COMPLETE": "",
            "_UNROLL_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_shell_completes_ids_from_the_server(server):
    server.on("GET", "/v1/jobs", listed(record("running"), record("succeeded", id="job-77")))
    server.on("GET", "/v1/datasets", listed(dataset()))
    server.on("GET", "/v1/models", listed({"id": "best", "created": 1}, {"id": JOB, "created": 1}))
    assert complete("unroll watch job-7") == ["job-77"]
    assert complete("unroll sample b") == ["best"]
    assert complete("unroll datasets show ds-") == [dataset()["id"]]
    assert complete("unroll submit --cell l") == ["lstm"]
    assert complete("unroll comp") == ["compare"]


def test_completion_without_a_server_offers_nothing_and_says_nothing(server):
    server.on("GET", "/v1/jobs", answer({"error": {"message": "no"}}, status=401))
    assert complete("unroll watch job-") == []
    assert complete("unroll watch job-", UNROLL_URL="http://127.0.0.1:9") == []
