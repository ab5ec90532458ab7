"""`sweep`, `sweeps [list|show|watch|cancel]`: a search for the best values. Knows no default."""

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import unroll
from unroll.commands.asked import dataset_of, put, read_spec, setting
from unroll.commands.service import AsJson
from unroll.terminal import dump, moment, note, number, one_line, print_json, print_table

if TYPE_CHECKING:
    from unroll.types import Sweep, SweepReport, Trial

INTERRUPTED = 130
SweepId = Annotated[str, typer.Argument(metavar="SWEEP", show_default=False)]
_EXAMPLE = (
    "Example: unroll sweep book.txt --log-range train.learning_rate=0.0005..0.05 --values model.cell=lstm,gru "
    "--trials 24 --halving 100 --set train.max_steps=900 --set train.validate_every_steps=100 --watch"
)


def register(app: typer.Typer) -> None:
    app.command("sweep", epilog=_EXAMPLE)(sweep)
    family = typer.Typer(rich_markup_mode=None, invoke_without_command=True)
    family.callback()(sweeps)
    family.command("list")(list_sweeps)
    family.command("show")(show)
    family.command("watch")(watch)
    family.command("cancel")(cancel)
    app.add_typer(family, name="sweeps")


def sweep(
    source: Annotated[
        str | None, typer.Argument(metavar="[FILE|DATASET]", help="A file, `-` for stdin, or a data set's id.")
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--values", metavar="FIELD=A,B,C", help="Values of a field: model.cell=lstm,gru; repeatable."),
    ] = None,
    ranges: Annotated[
        list[str] | None,
        typer.Option("--range", metavar="FIELD=MIN..MAX[..STEP]", help="A range of numbers; repeatable."),
    ] = None,
    log_ranges: Annotated[
        list[str] | None,
        typer.Option("--log-range", metavar="FIELD=MIN..MAX", help="A range searched by its logarithm; repeatable."),
    ] = None,
    method: Annotated[str | None, typer.Option(help="grid, random or tpe.")] = None,
    trials: Annotated[int | None, typer.Option(help="Make so many trials.")] = None,
    worker_seconds: Annotated[float | None, typer.Option(help="Use so much time of workers.")] = None,
    seconds: Annotated[float | None, typer.Option(help="End after so many seconds.")] = None,
    parallel: Annotated[int | None, typer.Option(help="Unfinished trials at once.")] = None,
    replicates: Annotated[int | None, typer.Option(help="Trials of each point, with seeds of their own.")] = None,
    halving: Annotated[
        int | None, typer.Option(metavar="STEP", help="Stop the worse trials from this step on (successive halving).")
    ] = None,
    factor: Annotated[int | None, typer.Option(help="Of --halving: each rung keeps one of so many.")] = None,
    metric: Annotated[str | None, typer.Option(help="What is to be best: validation_loss, accuracy, rmse, ...")] = None,
    fuse: Annotated[str | None, typer.Option(help="auto: train small trials together; never.")] = None,
    promote_to: Annotated[str | None, typer.Option(metavar="ALIAS", help="Name for the best model in the end.")] = None,
    name: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    search_seed: Annotated[int | None, typer.Option(help="Seed of the search.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=JSON", help="Any field of every job: train.max_steps=900; repeatable."),
    ] = None,
    spec: Annotated[Path | None, typer.Option(metavar="FILE", help="A SweepSpec in JSON; flags go before it.")] = None,
    watch: Annotated[bool, typer.Option("--watch/--no-watch", help="Watch the sweep until it ends.")] = False,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key answers the same sweep again.")] = None,
    as_json: AsJson = False,
) -> None:
    """Start a search for the best values of any fields of a job, and print the sweep's id."""
    asked: dict[str, Any] = {
        "name": name,
        "search.method": method,
        "search.seed": search_seed,
        "budget.max_trials": trials,
        "budget.max_worker_seconds": worker_seconds,
        "budget.max_seconds": seconds,
        "max_parallel": parallel,
        "replicates": replicates,
        "early_stopping.min_steps": halving,
        "early_stopping.factor": factor,
        "objective.metric": metric,
        "fuse": fuse,
        "promote_to": promote_to,
    }
    body = read_spec(spec)
    for field, value in asked.items():
        if value is not None:
            put(body, field, value)
    for field, value in map(setting, settings or []):
        put(body, f"spec.{field}", value)
    parameters = body.setdefault("parameters", {})
    parameters |= dict(map(_choices, values or []))
    parameters |= dict(_range(text, "--range") for text in ranges or [])
    parameters |= {
        field: {**found, "log": True} for field, found in (_range(t, "--log-range") for t in log_ranges or [])
    }
    if not parameters:
        raise typer.BadParameter("name at least one range or list of values", param_hint="--range")
    with unroll.Client() as client:
        if source is not None:
            put(body, "spec.dataset", dataset_of(client, source, {}))
        made = client.sweeps.create(idempotency_key=idempotency_key, **body)
        if as_json:
            print_json(dump(made), is_line=watch)
        else:
            typer.echo(made.id)
        if watch:
            _watch(client, made.id, as_json=as_json)
        else:
            note(f"{made.state}; watch it with: unroll sweeps watch {made.id}")


def sweeps(context: typer.Context, as_json: AsJson = False) -> None:
    """List, show, watch or cancel sweeps. `unroll sweep` starts one."""
    if context.invoked_subcommand is None:
        list_sweeps(as_json=as_json)


def list_sweeps(
    limit: Annotated[int, typer.Option(min=1, help="Print at most so many.")] = 20, as_json: AsJson = False
) -> None:
    """List sweeps, newest first."""
    with unroll.Client() as client:
        found = list(client.sweeps.list(limit=limit))
    if as_json:
        print_json([dump(one) for one in found])
        return
    print_table(("ID", "STATE", "NAME", "METHOD", "TRIALS", "CREATED"), map(_row, found))


def show(sweep: SweepId, as_json: AsJson = False) -> None:
    """Show one sweep: how it stands, its points with mean and spread, its trials."""
    with unroll.Client() as client:
        report, trials = client.sweeps.retrieve(sweep), list(client.sweeps.trials(sweep))
    if as_json:
        print_json({**dump(report), "all_trials": [dump(trial) for trial in trials]})
        return
    for name, value in _facts(report):
        if value is not None:
            typer.echo(f"{name:<12} {one_line(value)}")
    if any(len(point.trials) > 1 for point in report.points):
        typer.echo()
        print_table(
            ("POINT", "MEAN", "SPREAD", "TRIALS", "VALUES"),
            (
                (one.point, number(one.mean, 4), number(one.spread, 4), len(one.trials), values_line(one.parameters))
                for one in report.points
            ),
        )
    typer.echo()
    print_table(("TRIAL", "STATE", "STEP", "VALUE", "JOB", "VALUES"), map(_trial_row, trials))


def watch(
    sweep: SweepId,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Give up watching after so long: exit 7.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Watch a sweep until it ends. Ctrl-C detaches: the sweep goes on.

    Exit 0 when it succeeded, 3 when it failed, 8 when it was cancelled.
    """
    with unroll.Client() as client:
        _watch(client, sweep, as_json=as_json, timeout_seconds=timeout)


def cancel(sweep: SweepId, as_json: AsJson = False) -> None:
    """Make no trial more and cancel those that have not ended. A sweep that has ended stays as it is."""
    with unroll.Client() as client:
        found = client.sweeps.cancel(sweep)
    if as_json:
        print_json(dump(found))
    else:
        typer.echo("cancelled, ends with its trials" if found.state == "running" else found.state)


def values_line(parameters: dict[str, Any]) -> str:
    """`train.learning_rate=0.00312 model.cell=gru`."""
    shown = ((path, f"{value:.4g}" if isinstance(value, float) else value) for path, value in parameters.items())
    return " ".join(f"{path}={value}" for path, value in shown)


def trial_state(trial: "Trial") -> str:
    """`stopped at rung 1` for what the sweep stopped itself."""
    if trial.stopped_early == "halving":
        return f"stopped at rung {len(trial.rungs) - 1}"
    return "stopped by budget" if trial.stopped_early else trial.state


def _watch(client: "unroll.Client", sweep: str, *, as_json: bool, timeout_seconds: float | None = None) -> None:
    watching = importlib.import_module("unroll.watch_sweep")  # here, because it loads Rich
    try:
        watching.run(client, sweep, as_json=as_json, timeout_seconds=timeout_seconds)
    except KeyboardInterrupt as error:
        note(f"\ndetached; the sweep goes on. Come back with: unroll sweeps watch {sweep}")
        raise typer.Exit(INTERRUPTED) from error


def _choices(text: str) -> tuple[str, dict[str, Any]]:
    field, equals, listed = text.partition("=")
    if not field or not equals or not listed:
        raise typer.BadParameter(f"{text!r} is not FIELD=A,B,C", param_hint="--values")
    return field, {"values": [_value(one) for one in listed.split(",")]}


def _value(text: str) -> Any:
    """JSON where it is some (3, 0.1, true, null); every other text is itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _range(text: str, hint: str) -> tuple[str, dict[str, Any]]:
    field, _, ends = text.partition("=")
    try:
        numbers = [float(one) for one in ends.split("..")]
        names = {2: ("min", "max"), 3: ("min", "max", "step")}[len(numbers)]
    except (ValueError, KeyError) as error:
        raise typer.BadParameter(f"{text!r} is not FIELD=MIN..MAX", param_hint=hint) from error
    return field, dict(zip(names, numbers, strict=True))


def _row(one: "Sweep") -> tuple[object, ...]:
    spec = one.spec or {}
    method = spec.get("search", {}).get("method")
    return one.id, one.state, spec.get("name"), method, one.num_trials, moment(one.created_at)


def _facts(report: "SweepReport") -> list[tuple[str, Any]]:
    best = report.best
    counts = ", ".join(f"{count} {state}" for state, count in report.trials.items())
    return [
        ("id", report.id),
        ("name", (report.spec or {}).get("name")),
        ("state", report.state),
        ("error", report.error),
        ("warning", report.warning),
        ("created", moment(report.created_at)),
        ("finished", moment(report.finished_at)),
        ("trials", f"{report.num_trials} ({counts}; {report.num_stopped_early} stopped early)" if counts else 0),
        ("worker time", f"{report.worker_seconds:,.0f} s"),
        ("best", f"{number(best.value, 4)} with {values_line(best.parameters)}: {best.job}" if best else None),
    ]


def _trial_row(trial: "Trial") -> tuple[object, ...]:
    shown = trial.error.message if trial.error else values_line(trial.parameters)
    return trial.number, trial_state(trial), trial.step, number(trial.value, 4), trial.job, shown
