"""The one way a file gets in, from whatever body it comes. Knows no route and no kind of data set."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from rnncore.datasets.scan import Scan
from rnncore.errors import InvalidInput, Overloaded, StorageQuotaExceeded, Unsupported
from services.api.rooms import Rooms
from services.datasets import Upload, check_size
from services.jobqueue.records import Dataset

_PIECE_BYTES = 1 << 20
# What a form may hold besides its file.
_FORM_BYTES = 1 << 16


async def check_body(request: Request, rooms: Rooms, tenant: str) -> None:
    """Refuses by its headers alone what would be refused in the end; and everything where the disk is nearly full.

    Raises Unsupported, TooLarge, StorageFull, StorageQuotaExceeded.
    """
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Unsupported("compressed uploads are not read; send the plain bytes", param="content-encoding")
    declared = request.headers.get("content-length", "")
    coming = int(declared) - is_form(request) * _FORM_BYTES if declared.isdigit() else 0
    check_size(coming, rooms.settings.max_upload_bytes)
    await run_in_threadpool(rooms.tenants.check_room, tenant, max(0, coming))
    await run_in_threadpool(rooms.storage.check_space)


def is_form(request: Request) -> bool:
    """Whether the body is a form with a file in it, rather than the file."""
    return request.headers.get("content-type", "").startswith("multipart/form-data")


async def store(
    rooms: Rooms, tenant: str, pieces: AsyncIterator[bytes], *, scan: Scan, options: str, name: str | None
) -> Dataset:
    """The data set made of `pieces`, or the equal one that is there already.

    Raises InvalidText, TooLarge, StorageQuotaExceeded, Unavailable.
    """
    upload = await run_in_threadpool(
        Upload,
        rooms.storage,
        tenant=tenant,
        scan=scan,
        options=options,
        name=name,
        secret=rooms.settings.secret,
        max_bytes=rooms.settings.max_upload_bytes,
    )
    try:
        async for piece in pieces:
            await run_in_threadpool(upload.feed, piece)
        made, blob = await run_in_threadpool(upload.commit)
    except BaseException as error:
        await run_in_threadpool(upload.abort, error)
        raise
    try:
        kept, kept_blob = await run_in_threadpool(rooms.queue.datasets.put, made, blob)
    # For certain not registered; after any other failure it may be, so its blob has to stay.
    except (Overloaded, StorageQuotaExceeded):
        await run_in_threadpool(rooms.storage.discard, blob)
        raise
    if kept_blob != blob:
        await run_in_threadpool(rooms.storage.discard, blob)
    return kept


@asynccontextmanager
async def form_in(request: Request, rooms: Rooms) -> AsyncIterator[tuple[FormData, UploadFile]]:
    """The fields of a form and its file. Raises InvalidInput naming `file` where it cannot be read or has none."""
    limited = _within(request.stream(), rooms.settings.max_upload_bytes)
    parser = MultiPartParser(request.headers, limited, max_files=1, max_fields=8)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise InvalidInput(f"the multipart body cannot be read: {error.message}", param="file") from error
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise InvalidInput("the multipart body has no file field named 'file'", param="file")
        yield form, file
    finally:
        await form.close()


async def pieces_of(file: UploadFile) -> AsyncIterator[bytes]:
    """The bytes of a file in a form."""
    while piece := await file.read(_PIECE_BYTES):
        yield piece


async def _within(stream: AsyncIterator[bytes], limit: int) -> AsyncGenerator[bytes, None]:
    """A form is read as a whole before its file is; this ends one that never ends."""
    num_bytes = 0
    async for piece in stream:
        num_bytes += len(piece)
        check_size(num_bytes - _FORM_BYTES, limit)
        yield piece
