"""`/v1/datasets`: upload, list, describe, read back, delete."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from rnncore.corpus import TextSummary
from rnncore.datasets.scan import make_scan
from rnncore.datasets.summaries import DatasetKind, SeriesSummary, Summary
from rnncore.errors import InvalidInput, Overloaded, Unsupported
from rnncore.vocabulary import VocabularyKind
from services.api.rooms import After, Deleted, InRooms, Limit, Page, Tenant, errors, page
from services.datasets import Upload, check_size
from services.jobqueue.records import Dataset

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

_PIECE_BYTES = 1 << 20
_PREVIEW_BYTES = 4_000
# What a form may hold besides its file.
_FORM_BYTES = 1 << 16


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
    limit = rooms.settings.max_upload_bytes
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Unsupported("compressed uploads are not read; send the plain bytes", param="content-encoding")
    is_form = request.headers.get("content-type", "").startswith("multipart/form-data")
    declared = request.headers.get("content-length", "")
    if declared.isdigit():
        check_size(int(declared) - is_form * _FORM_BYTES, limit)
    await run_in_threadpool(rooms.storage.check_space)
    upload = await run_in_threadpool(
        Upload,
        rooms.storage,
        tenant=tenant,
        scan=make_scan(kind, vocabulary=vocabulary, target=target),
        options=vocabulary or target or "",
        name=name,
        secret=rooms.settings.secret,
        max_bytes=limit,
    )
    try:
        async for piece in _file_in_form(request, limit) if is_form else request.stream():
            await run_in_threadpool(upload.feed, piece)
        made, blob = await run_in_threadpool(upload.commit)
    except BaseException as error:
        await run_in_threadpool(upload.abort, error)
        raise
    try:
        kept, kept_blob = await run_in_threadpool(rooms.queue.put_dataset, made, blob)
    except Overloaded:  # for certain not registered; after any other failure it may be, so its blob has to stay
        await run_in_threadpool(rooms.storage.delete, blob)
        raise
    if kept_blob != blob:
        await run_in_threadpool(rooms.storage.delete, blob)
    return _answer(kept)


@router.get("", responses=errors(404))
def list_datasets(rooms: InRooms, tenant: Tenant, limit: Limit = 20, after: After = None) -> Page[DatasetAnswer]:
    """Data sets, newest first."""
    found, has_more = rooms.queue.datasets(tenant, limit=limit, after=after)
    return page([_answer(dataset) for dataset in found], has_more, [dataset.id for dataset in found])


@router.get("/{dataset_id}", responses=errors(404))
def get_dataset(dataset_id: str, rooms: InRooms, tenant: Tenant) -> DatasetAnswer:
    """One data set."""
    return _answer(rooms.queue.dataset(tenant, dataset_id)[0])


@router.get(
    "/{dataset_id}/content",
    response_class=StreamingResponse,
    responses=errors(404) | {200: {"content": {"application/octet-stream": {}}}},
)
def get_content(dataset_id: str, rooms: InRooms, tenant: Tenant) -> StreamingResponse:
    """The bytes as they were uploaded."""
    _, blob = rooms.queue.dataset(tenant, dataset_id)
    return StreamingResponse(rooms.storage.read_pieces(blob), media_type="application/octet-stream")


@router.get("/{dataset_id}/preview", responses=errors(404))
def get_preview(dataset_id: str, rooms: InRooms, tenant: Tenant) -> Preview:
    """The beginning of the file; bytes that are not UTF-8 appear as U+FFFD."""
    _, blob = rooms.queue.dataset(tenant, dataset_id)
    first = next(iter(rooms.storage.read_pieces(blob, _PREVIEW_BYTES)), b"")
    return Preview(text=first.decode("utf-8", "replace").rstrip("\N{REPLACEMENT CHARACTER}"))


@router.delete("/{dataset_id}", responses=errors(404, 409))
def delete_dataset(dataset_id: str, rooms: InRooms, tenant: Tenant) -> Deleted:
    """Deletes a data set that no unfinished job reads."""
    rooms.storage.delete(rooms.queue.delete_dataset(tenant, dataset_id))
    return Deleted(id=dataset_id, object="dataset")


def _answer(dataset: Dataset) -> DatasetAnswer:
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


async def _file_in_form(request: Request, limit: int) -> AsyncIterator[bytes]:
    parser = MultiPartParser(request.headers, _within(request.stream(), limit), max_files=1, max_fields=8)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InvalidInput(f"the multipart body cannot be read: {error.message}", param="file") from error
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise InvalidInput("the multipart body has no file field named 'file'", param="file")
        while piece := await file.read(_PIECE_BYTES):
            yield piece
    finally:
        await form.close()


async def _within(stream: AsyncIterator[bytes], limit: int) -> AsyncGenerator[bytes, None]:
    """A form is read as a whole before its file is; this ends one that never ends."""
    num_bytes = 0
    async for piece in stream:
        num_bytes += len(piece)
        check_size(num_bytes - _FORM_BYTES, limit)
        yield piece
