"""The yardstick of the chaos runs, held against small histories whose lateness is known."""

import json
from pathlib import Path
from typing import Any

from tests.chaos.lateness import (
    Deed,
    Late,
    accepted_after_a_higher_epoch,
    claims_of,
    late_deeds,
    read_deeds,
    table,
)
from tests.chaos.redis_proxy import Call


def claim(job: str, epoch: int, at: float) -> Call:
    return Call("claim", 7, ("token", "3000", "1", "0"), [[job, "tenant", str(epoch), "token"]], at - 0.25, at)


def call(script: str, job: str, epoch: int, sent_at: float, answer: Any = "ok") -> Call:
    return Call(script, 11, (job, str(epoch), "token"), answer, sent_at, sent_at + 0.5)


def deed(at: float, epoch: int, what: str = "step", *, job: str = "job-a", pid: int = 11) -> Deed:
    return Deed(at, pid, job, epoch, what, "")


HANDED_OVER = {"job-a": [(10.0, 1), (20.0, 2)], "job-b": [(15.0, 3)]}


def test_only_claims_that_found_a_job_are_claims() -> None:
    nothing = Call("claim", 7, ("token",), [], 1.0, 2.0)
    calls = [claim("job-a", 1, 10.0), nothing, call("beat", "job-a", 1, 12.0), claim("job-a", 2, 20.0)]
    assert claims_of(calls) == {"job-a": [(10.0, 1), (20.0, 2)]}


def test_write_of_an_epoch_accepted_after_the_next_was_claimed_is_found_whatever_it_is() -> None:
    scripts = ("beat", "finish", "fail", "suspend", "release", "lose")
    late = [call(script, "job-a", 1, 20.5) for script in scripts]
    found = accepted_after_a_higher_epoch([claim("job-a", 1, 10.0), claim("job-a", 2, 20.0), *late])
    assert found == [f'{script} of job-a, epoch 1: "ok"' for script in scripts]


def test_write_that_a_cancel_answered_was_accepted_too() -> None:
    calls = [claim("job-a", 2, 20.0), call("beat", "job-a", 1, 21.0, answer="cancel")]
    assert accepted_after_a_higher_epoch(calls) == ['beat of job-a, epoch 1: "cancel"']


def test_write_that_was_refused_or_sent_before_or_is_of_the_present_epoch_or_another_job_is_no_fault() -> None:
    calls = [
        claim("job-a", 1, 10.0),
        call("beat", "job-a", 1, 19.75),  # its answer comes after the claim's
        claim("job-a", 2, 20.0),
        call("finish", "job-a", 1, 21.0, answer="lost"),
        call("beat", "job-a", 2, 22.0),
        call("beat", "job-b", 1, 23.0),
        call("submit", "job-a", 1, 24.0),
    ]
    assert accepted_after_a_higher_epoch(calls) == []


def test_deed_is_late_from_the_first_higher_claim_on() -> None:
    late = late_deeds([deed(22.0, 1), deed(35.0, 1)], {"job-a": [(10.0, 1), (30.0, 3), (20.0, 2)]}, [])
    assert late == [Late(deed(22.0, 1), 2.0), Late(deed(35.0, 1), 15.0)]


def test_deed_before_the_claim_or_of_the_present_epoch_or_another_job_is_not_late() -> None:
    in_time = [deed(19.0, 1), deed(25.0, 2), deed(25.0, 3, job="job-b"), deed(25.0, 1, job="job-c")]
    assert late_deeds(in_time, HANDED_OVER, []) == []


def test_process_that_stood_still_is_late_by_what_it_ran_alone() -> None:
    pauses = [
        (11, 14.0, 18.0),  # all before the claim: no excuse
        (11, 19.0, 23.0),  # from 20 on: 3 s
        (13, 23.0, 24.0),  # another process
        (11, 25.0, 25.5),
        (11, 27.0, 40.0),  # all after the deed
    ]
    assert late_deeds([deed(26.0, 1)], HANDED_OVER, pauses) == [Late(deed(26.0, 1), 26.0 - 20.0 - 3.0 - 0.5)]


def test_deed_in_the_midst_of_a_pause_excuses_no_more_than_has_passed() -> None:
    assert late_deeds([deed(22.0, 1)], HANDED_OVER, [(11, 21.0, 30.0)]) == [Late(deed(22.0, 1), 1.0)]


def test_notes_of_all_processes_are_read_but_for_a_line_that_a_kill_cut_short(tmp_path: Path) -> None:
    first, second, third = deed(1.5, 1), deed(2.5, 2, "publish", pid=13), deed(3.5, 2, "delete", pid=13)
    (tmp_path / "11.jsonl").write_text(json.dumps(first) + "\n" + json.dumps(deed(9.0, 1))[:-3])
    (tmp_path / "13.jsonl").write_text(f"{json.dumps(second)}\n{json.dumps(third)}\n")
    (tmp_path / "notes.txt").write_text("[not ours]\n")
    assert sorted(read_deeds(tmp_path)) == [first, second, third]


def test_table_counts_each_kind_and_tells_the_longest_run() -> None:
    deeds = [deed(21.0, 1), deed(22.5, 1), deed(22.0, 2), deed(23.0, 1, "publish")]
    late = late_deeds(deeds, HANDED_OVER, [])
    assert table(late, deeds) == {
        "step": {"seen": 3, "late": 2, "after_seconds": 2.5},
        "publish": {"seen": 1, "late": 1, "after_seconds": 3.0},
        "delete": {"seen": 0, "late": 0, "after_seconds": 0.0},
    }
