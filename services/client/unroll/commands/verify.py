"""`verify`: run a job again and compare. Knows no arithmetic: the server's hashes speak."""

import typer

import unroll
from unroll.commands.arguments import AsJson, JobId
from unroll.help_text import JOBS, add_command
from unroll.terminal import note, print_json


def register(app: typer.Typer) -> None:
    add_command(app, "verify", verify, panel=JOBS, examples=("unroll verify job-7c1e...",))


def verify(
    job: JobId,
    as_json: AsJson = False,
) -> None:
    """Run a job again and compare the parameters bit for bit.

    Exit 0 when they are equal, 1 when they differ or cannot be compared: equality is promised for the same versions,
    kind of processor and number of threads.
    """
    with unroll.Client() as client:
        first = client.jobs.get(job)
        second = client.jobs.verify(job)
        note(f"running {job} again as {second.id}")
        second = client.jobs.wait(second.id)
    differing = _differing(first.placement or {}, second.placement or {})
    verdict = "equal" if first.parameters_sha256 == second.parameters_sha256 else "different"
    if verdict == "different" and differing:
        verdict = "not comparable"
    if as_json:
        hashes = {record.id: record.parameters_sha256 for record in (first, second)}
        print_json({"verdict": verdict, "parameters_sha256": hashes, "differing": differing})
    else:
        for record in (first, second):
            typer.echo(f"{record.id}  {record.parameters_sha256}")
        because = f": another {', '.join(differing)}" if verdict == "not comparable" else ""
        typer.echo(verdict + because)
    if verdict != "equal":
        raise typer.Exit(1)


def _differing(first: dict[str, object], second: dict[str, object]) -> list[str]:
    ours, theirs = first.get("environment"), second.get("environment")
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        return []
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
