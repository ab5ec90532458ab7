"""`/v1/datasets`: upload, list, describe, read back, delete."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from rnncore.corpus import TextSummary
from rnncore.datasets.scan import make_scan
from rnncore.datasets.summaries import DatasetKind, SeriesSummary, Summary
from rnncore.vocabulary import VocabularyKind
from services.api.rooms import After, Deleted, InRooms, Limit, Page, Tenant, errors, page
from services.api.uploading import check_body, form_in, is_form, pieces_of, store
from services.jobqueue.records import Dataset

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

_PREVIEW_BYTES = 4_000


class TextFacts(BaseModel):
    """What is known of a text."""

    vocabulary: VocabularyKind
    num_symbols: int
    num_distinct: int


class RowFacts(BaseModel):
    """What is known of independent rows. Lengths are those of inputs, in steps; 0 distinct: numbers."""

    num_rows: int
    num_steps: int
    shortest: int
    longest: int
    num_distinct_inputs: int
    num_distinct_targets: int
    num_channels: int
    num_target_numbers: int


class SeriesFacts(BaseModel):
    """What is known of one long series."""

    num_rows: int
    columns: list[str]
    target: str


class DatasetAnswer(BaseModel):
    """One data set. `uses` counts the unfinished jobs that read it."""

    id: str
    object: Literal["dataset"] = "dataset"
    kind: DatasetKind
    name: str | None
    created_at: float
    num_bytes: int
    sha256: str
    summary: TextFacts | RowFacts | SeriesFacts
    uses: int


class Preview(BaseModel):
    """The beginning of a file."""

    text: str


@router.post("", responses=errors(413, 415, 507), openapi_extra={
    "requestBody": {"required": True, "content": {
        "text/plain": {"schema": {"type": "string"}},
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {"schema": {"type": "object", "required": ["file"], "properties": {
            "file": {"type": "string", "format": "binary"}}}},
    }}
})  # fmt: skip
async def upload_dataset(
    request: Request,
    rooms: InRooms,
    tenant: Tenant,
    kind: Annotated[DatasetKind, Query(description="What the file holds.")] = "text",
    vocabulary: Annotated[
        VocabularyKind | None, Query(description="What one symbol of a text is; characters unless named.")
    ] = None,
    target: Annotated[
        str | None, Query(max_length=200, description="Column of a series to forecast; the last unless named.")
    ] = None,
    name: Annotated[str | None, Query(max_length=200, description="A name for people.")] = None,
) -> DatasetAnswer:
    """Stores a file, from the raw body or the multipart field `file`. Equal bytes of one kind are one data set."""
    scan = make_scan(kind, vocabulary=vocabulary, target=target)
    options = options_of(vocabulary, target)
    await check_body(request, rooms, tenant)
    if not is_form(request):
        return described(await store(rooms, tenant, request.stream(), scan=scan, options=options, name=name))
    async with form_in(request, rooms) as (_, file):
        return described(await store(rooms, tenant, pieces_of(file), scan=scan, options=options, name=name))


@router.get("", responses=errors(404))
def list_datasets(rooms: InRooms, tenant: Tenant, limit: Limit = 20, after: After = None) -> Page[DatasetAnswer]:
    """Data sets, newest first."""
    found, has_more = rooms.queue.datasets.list(tenant, limit=limit, after=after)
    return page([described(dataset) for dataset in found], has_more, [dataset.id for dataset in found])


@router.get("/{dataset_id}", responses=errors(404))
def get_dataset(dataset_id: str, rooms: InRooms, tenant: Tenant) -> DatasetAnswer:
    """One data set."""
    return described(rooms.queue.datasets.get(tenant, dataset_id)[0])


@router.get(
    "/{dataset_id}/content",
    response_class=StreamingResponse,
    responses=errors(404) | {200: {"content": {"application/octet-stream": {}}}},
)
def get_content(dataset_id: str, rooms: InRooms, tenant: Tenant) -> StreamingResponse:
    """The bytes as they were uploaded."""
    _, blob = rooms.queue.datasets.get(tenant, dataset_id)
    return StreamingResponse(rooms.storage.read_pieces(blob), media_type="application/octet-stream")


@router.get("/{dataset_id}/preview", responses=errors(404))
def get_preview(dataset_id: str, rooms: InRooms, tenant: Tenant) -> Preview:
    """The beginning of the file; bytes that are not UTF-8 appear as U+FFFD."""
    _, blob = rooms.queue.datasets.get(tenant, dataset_id)
    first = rooms.storage.get(blob, most_bytes=_PREVIEW_BYTES)
    return Preview(text=first.decode("utf-8", "replace").rstrip("\N{REPLACEMENT CHARACTER}"))


@router.delete("/{dataset_id}", responses=errors(404, 409))
def delete_dataset(dataset_id: str, rooms: InRooms, tenant: Tenant) -> Deleted:
    """Deletes a data set that no unfinished job reads."""
    rooms.storage.discard(rooms.queue.datasets.delete(tenant, dataset_id))
    return Deleted(id=dataset_id, object="dataset")


def options_of(vocabulary: VocabularyKind | None, target: str | None) -> str:
    """What of an upload, besides its bytes and its kind, makes it another data set."""
    return vocabulary or target or ""


def described(dataset: Dataset) -> DatasetAnswer:
    """What is told of a data set."""
    facts = _facts(dataset.summary).model_dump()
    return DatasetAnswer.model_validate(dataset.model_dump(exclude={"summary", "tenant"}) | {"summary": facts})


def _facts(summary: Summary) -> TextFacts | RowFacts | SeriesFacts:
    if isinstance(summary, TextSummary):
        distinct = len(summary.symbols) if summary.vocabulary == "characters" else 256
        return TextFacts(vocabulary=summary.vocabulary, num_symbols=summary.num_symbols, num_distinct=distinct)
    if isinstance(summary, SeriesSummary):
        return SeriesFacts(num_rows=summary.num_rows, columns=list(summary.columns), target=summary.target)
    return RowFacts(
        num_rows=summary.num_rows,
        num_steps=summary.num_steps,
        shortest=summary.shortest,
        longest=summary.longest,
        num_distinct_inputs=len(summary.inputs.symbols) if summary.inputs else 0,
        num_distinct_targets=len(summary.targets.symbols) if summary.targets else 0,
        num_channels=summary.num_channels,
        num_target_numbers=summary.num_targets,
    )
