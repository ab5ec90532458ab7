"""Work whose result one client waits for: given up when that client hangs up. Plain ASGI; knows no route."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

T = TypeVar("T")


async def while_awaited(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """What `work` answers. Cancels it and raises ClientDisconnect when the client leaves; its body is read already."""
    task, hangup = asyncio.ensure_future(work), asyncio.ensure_future(_hangup(receive))
    try:
        await asyncio.wait((task, hangup), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for one in (task, hangup):
            one.cancel()
        await asyncio.gather(task, hangup, return_exceptions=True)


async def _hangup(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
