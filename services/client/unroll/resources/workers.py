"""Workers and the line before them, over HTTP. Knows no rule of who is next."""

from unroll.transport import Transport
from unroll.types import Line, Worker


def list_workers(transport: Transport) -> list[Worker]:
    """Every worker, by host."""
    return list(transport.pages(Worker, "/v1/workers"))


def read_line(transport: Transport) -> Line:
    """Who waits and who runs."""
    return transport.parse(Line, transport.decode(transport.request("GET", "/v1/queue")))
