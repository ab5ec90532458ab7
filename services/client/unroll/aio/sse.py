"""A stream of server-sent events that comes back after a lost connection. Knows no job."""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable

from unroll.aio.transport import AsyncTransport
from unroll.answers import backoff_seconds
from unroll.errors import ServerUnreachableError, ServiceUnavailableError, WaitTimeoutError
from unroll.frames import DONE, ERROR, FrameParser, ServerSentEvent

SILENCE_SECONDS = 60.0


async def parse(chunks: AsyncIterable[bytes]) -> AsyncIterator[ServerSentEvent | None]:
    """The events in a body, however it is cut; None for each comment (a keep-alive). A cut-off event is dropped."""
    parser = FrameParser()
    async for chunk in chunks:
        for event in parser.feed(chunk):
            yield event
    for event in parser.close():
        yield event


async def follow(
    transport: AsyncTransport,
    path: str,
    *,
    last_event_id: str | None = None,
    patience_seconds: float = 60.0,
    timeout_seconds: float | None = None,
    on_outage: Callable[[str], None] | None = None,
) -> AsyncGenerator[ServerSentEvent | None, None]:
    """The events of `path` up to its `[DONE]`, None for each keep-alive; after a lost connection it goes on behind the
    last event seen. `on_outage` is told once when contact is lost and once when it is back.

    Raises ServerUnreachableError after `patience_seconds` without contact, WaitTimeoutError after `timeout_seconds`
    altogether (noticed at the next event, keep-alive or silence), and the APIError of a refusal.
    """
    tell = on_outage or (lambda _: None)
    deadline = None if timeout_seconds is None else transport.clock() + timeout_seconds
    contact, attempt = transport.clock(), 0
    while True:
        try:
            headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_event_id} if last_event_id else {})}
            silence = _allowed_silence(transport, deadline, timeout_seconds)
            async with transport.stream("GET", path, headers=headers, timeout_seconds=silence) as body:
                async for event in parse(body):
                    if event is not None and event.event == ERROR:
                        break
                    if attempt:
                        tell("connected again")
                    contact, attempt = transport.clock(), 0
                    if event is not None and event.data == DONE:
                        return
                    last_event_id = event.id if event is not None and event.id else last_event_id
                    yield event
                    _allowed_silence(transport, deadline, timeout_seconds)
            reason = f"{transport.url} ended the stream early"
        except (ServerUnreachableError, ServiceUnavailableError) as error:
            reason = str(error)
        _allowed_silence(transport, deadline, timeout_seconds)
        if transport.clock() - contact > patience_seconds:
            raise ServerUnreachableError(f"gave up after {patience_seconds:.0f} s: {reason}")
        if attempt == 0:
            tell(f"{reason}; trying again for {patience_seconds:.0f} s")
        await transport.sleep(backoff_seconds(attempt))
        attempt += 1


def _allowed_silence(transport: AsyncTransport, deadline: float | None, timeout_seconds: float | None) -> float:
    if deadline is None:
        return SILENCE_SECONDS
    left = deadline - transport.clock()
    if left <= 0:
        raise WaitTimeoutError(f"still not finished after {timeout_seconds:g} s")
    return min(SILENCE_SECONDS, left)
