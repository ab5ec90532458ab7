"""The pages of data sets: `/datasets` and `/datasets/{id}`."""

import re
from typing import get_args

from fastapi import Request
from fastapi.responses import Response

from rnncore.corpus import TextSummary
from rnncore.datasets.summaries import TASKS_OF_KIND, DatasetKind, SeriesSummary, Summary
from services.web import text
from services.web.site import Site, Visitor

_ID = re.compile(r"ds-[0-9a-f]{32}")
_SYMBOLS_SHOWN = 400
KINDS: tuple[str, ...] = get_args(DatasetKind)


def add(site: Site) -> None:
    """The list with its upload; `/parts/datasets`, the list alone; one data set."""

    def listed(template: str, request: Request, visitor: Visitor) -> Response:
        after = request.query_params.get("after")
        found, has_more = site.sources.shelves.datasets(visitor.tenant, after)
        next_page = found[-1].id if has_more else None
        return site.render(
            template,
            visitor,
            datasets=found,
            next_page=next_page,
            after=after,
            kinds=KINDS,
            tasks=TASKS_OF_KIND,
            length=length,
        )

    @site.page("/datasets")
    def datasets(request: Request, visitor: Visitor) -> Response:
        return listed("datasets.html", request, visitor)

    @site.part("/parts/datasets")
    def datasets_part(request: Request, visitor: Visitor) -> Response:
        return listed("datasets_table.html", request, visitor)

    @site.page("/datasets/{dataset_id}")
    def dataset(request: Request, visitor: Visitor) -> Response:
        dataset_id = request.path_params["dataset_id"]
        shelf = site.sources.shelves.dataset(visitor.tenant, dataset_id) if _ID.fullmatch(dataset_id) else None
        if shelf is None:
            return site.not_found(visitor, f"data set {dataset_id}")
        return site.render(
            "dataset.html",
            visitor,
            shelf=shelf,
            facts=facts(shelf.dataset.summary),
            symbols=symbols(shelf.dataset.summary),
            tasks=TASKS_OF_KIND[shelf.dataset.kind],
            length=length,
        )


def length(summary: Summary) -> str:
    """`1,115,394 symbols` of a text; else rows."""
    if isinstance(summary, TextSummary):
        unit = "bytes" if summary.vocabulary == "bytes" else "symbols"
        return f"{text.count(summary.num_symbols)} {unit}"
    return f"{text.count(summary.num_rows)} rows"


def facts(summary: Summary) -> list[tuple[str, str]]:
    """What is known of the whole, in words and numbers."""
    if isinstance(summary, TextSummary):
        distinct = 256 if summary.vocabulary == "bytes" else len(summary.symbols)
        return [("Length", length(summary)), ("Vocabulary", f"{text.count(distinct)} {summary.vocabulary}")]
    if isinstance(summary, SeriesSummary):
        columns = text.count(len(summary.columns))
        return [("Length", length(summary)), ("Columns", columns), ("Target", text.visible_line(summary.target))]
    found = [
        ("Length", length(summary)),
        ("Steps in all", text.count(summary.num_steps)),
        ("Shortest and longest", f"{text.count(summary.shortest)} to {text.count(summary.longest)} steps"),
    ]
    if summary.inputs:
        found.append(("Input symbols", text.count(len(summary.inputs.symbols))))
    else:
        found.append(("Channels", text.count(summary.num_channels)))
    if summary.targets:
        found.append(("Target symbols", text.count(len(summary.targets.symbols))))
    else:
        found.append(("Numbers of a target", text.count(summary.num_targets)))
    return found


def symbols(summary: Summary) -> dict[str, list[str]]:
    """The vocabularies by what they are of, each symbol made visible, the first ones alone."""
    if isinstance(summary, TextSummary):
        found = {"Symbols": tuple(summary.symbols)}
    elif isinstance(summary, SeriesSummary):
        found = {"Columns": summary.columns}
    else:
        found = {
            words: table.symbols
            for words, table in (("Input symbols", summary.inputs), ("Target symbols", summary.targets))
            if table
        }
    return {words: [_symbol(one) for one in listed[:_SYMBOLS_SHOWN]] for words, listed in found.items() if listed}


def _symbol(symbol: str) -> str:
    return {" ": "space", "\n": "newline", "\t": "tab", "\f": "form feed"}.get(symbol) or text.visible_line(symbol)
