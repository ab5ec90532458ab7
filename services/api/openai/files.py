"""`/v1/files`: data sets as OpenAI's clients know files. A file and its data set have one id."""

from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import FormData, UploadFile

from rnncore.datasets.recognise import HEAD_BYTES, recognised
from rnncore.datasets.scan import make_scan
from rnncore.datasets.summaries import DatasetKind
from rnncore.errors import InvalidInput
from rnncore.vocabulary import VocabularyKind
from services.api.datasets import DatasetAnswer, described, options_of
from services.api.rooms import After, Deleted, InRooms, Page, Tenant, errors, page
from services.api.uploading import check_body, form_in, is_form, pieces_of, store
from services.jobqueue.records import Dataset

router = APIRouter(prefix="/v1/files", tags=["openai"])

PURPOSE: Literal["fine-tune"] = "fine-tune"
_MOST_ON_PAGE = 1000
_LONGEST_NAME = 200


class File(BaseModel):
    """OpenAI's file object; `unroll` is the data set."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: Literal["fine-tune"] = PURPOSE
    status: Literal["processed"] = Field("processed", description="An upload is read as it comes, and refused if bad.")
    unroll: DatasetAnswer


@router.post("", responses=errors(413, 415, 507), openapi_extra={
    "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": {
        "type": "object",
        "required": ["file", "purpose"],
        "properties": {
            "file": {"type": "string", "format": "binary"},
            "purpose": {"type": "string", "const": PURPOSE},
            "kind": {"type": "string", "enum": list(get_args(DatasetKind)), "description": "Recognised unless named."},
            "vocabulary": {"type": "string", "enum": list(get_args(VocabularyKind)), "description": "Of a text."},
            "target": {"type": "string", "maxLength": 200, "description": "Of a series: the column to forecast."},
        },
        "additionalProperties": False,
    }}}}
})  # fmt: skip
async def create_file(request: Request, rooms: InRooms, tenant: Tenant) -> File:
    """Stores a data set: of the kind that is named, else of the one that the first row's columns tell, else text."""
    await check_body(request, rooms, tenant)
    if not is_form(request):
        raise InvalidInput("the body must be multipart/form-data with `file` and `purpose`", param="file")
    async with form_in(request, rooms) as (form, file):
        fields = _fields(form)
        name = (file.filename or "")[:_LONGEST_NAME]
        kind = fields.kind or recognised(name, await _head(file))
        scan = make_scan(kind, vocabulary=fields.vocabulary, target=fields.target)
        options = options_of(fields.vocabulary, fields.target)
        return _file(await store(rooms, tenant, pieces_of(file), scan=scan, options=options, name=name or None))


@router.get("", responses=errors(404))
def list_files(
    rooms: InRooms,
    tenant: Tenant,
    limit: Annotated[int, Query(ge=1, le=10_000, description="At most so many; a page has 1,000 at most.")] = 10_000,
    after: After = None,
    order: Annotated[Literal["asc", "desc"], Query(description="By the time of creation.")] = "desc",
    purpose: Annotated[str | None, Query(max_length=100, description="Only fine-tune has any.")] = None,
) -> Page[File]:
    """Data sets as files."""
    if purpose not in (None, PURPOSE):
        return page([], False, [])
    found, has_more = rooms.queue.datasets.list(
        tenant, limit=min(limit, _MOST_ON_PAGE), after=after, oldest_first=order == "asc"
    )
    return page([_file(dataset) for dataset in found], has_more, [dataset.id for dataset in found])


@router.get("/{file_id}", responses=errors(404))
def get_file(file_id: str, rooms: InRooms, tenant: Tenant) -> File:
    """One file."""
    return _file(rooms.queue.datasets.get(tenant, file_id, param="file_id")[0])


@router.get(
    "/{file_id}/content",
    response_class=StreamingResponse,
    responses=errors(404) | {200: {"content": {"application/octet-stream": {}}}},
)
def get_file_content(file_id: str, rooms: InRooms, tenant: Tenant) -> StreamingResponse:
    """The bytes as they were uploaded."""
    _, blob = rooms.queue.datasets.get(tenant, file_id, param="file_id")
    return StreamingResponse(rooms.storage.read_pieces(blob), media_type="application/octet-stream")


@router.delete("/{file_id}", responses=errors(404, 409))
def delete_file(file_id: str, rooms: InRooms, tenant: Tenant) -> Deleted:
    """Deletes a file that no unfinished job reads."""
    rooms.storage.discard(rooms.queue.datasets.delete(tenant, file_id, param="file_id"))
    return Deleted(id=file_id, object="file")


class _Fields(BaseModel):
    """What a form says besides its file."""

    model_config = ConfigDict(extra="forbid")

    purpose: Literal["fine-tune"]
    kind: DatasetKind | None = None
    vocabulary: VocabularyKind | None = None
    target: Annotated[str, Field(max_length=200)] | None = None


def _fields(form: FormData) -> _Fields:
    try:
        return _Fields.model_validate({name: value for name, value in form.items() if name != "file"})
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error


async def _head(file: UploadFile) -> bytes:
    head = await file.read(HEAD_BYTES)
    await file.seek(0)
    return head


def _file(dataset: Dataset) -> File:
    return File(
        id=dataset.id,
        bytes=dataset.num_bytes,
        created_at=int(dataset.created_at),
        filename=dataset.name or dataset.id,
        unroll=described(dataset),
    )
