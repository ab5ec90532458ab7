"""Arguments and options that several commands share."""

from typing import Annotated

import typer

from unroll.completion import dataset_ids, job_ids, model_names, sweep_ids

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JobId = Annotated[str, typer.Argument(metavar="JOB", show_default=False, autocompletion=job_ids)]
JobIds = Annotated[list[str], typer.Argument(metavar="JOB...", show_default=False, autocompletion=job_ids)]
ModelName = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="JOB, JOB:latest, JOB:step-800 or an alias.",
        show_default=False,
        autocompletion=model_names,
    ),
]
DatasetId = Annotated[str, typer.Argument(metavar="DATASET", show_default=False, autocompletion=dataset_ids)]
SweepId = Annotated[str, typer.Argument(metavar="SWEEP", show_default=False, autocompletion=sweep_ids)]
Watched = Annotated[bool, typer.Option("--watch/--no-watch", help="Watch the job until it ends.")]
Timeout = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="Give up watching after so long: exit 7.", show_default=False)
]
