"""Writes the dashboards that Grafana is given: `python -m deploy.grafana.build`. What they show stands in `boards`."""

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.boards.infrastructure import infrastructure
from deploy.grafana.boards.overview import overview
from deploy.grafana.boards.sampling import sampling
from deploy.grafana.boards.training import training

FOLDER = Path(__file__).parent / "dashboards"


def dashboards() -> dict[str, str]:
    """Name of the file -> its JSON."""
    made = (overview(), training(), sampling(), infrastructure())
    return {f"{str(board.uid).removeprefix('unroll-')}.json": _json(board) for board in made}


def _json(board: Dashboard) -> str:
    return JSONEncoder(sort_keys=True, indent=1).encode(board) + "\n"


if __name__ == "__main__":
    for name, text in dashboards().items():
        (FOLDER / name).write_text(text)
