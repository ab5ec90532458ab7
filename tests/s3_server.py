"""An S3 of the tests' own: moto's server in a process, and a line to it that can be cut and mended."""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from services.processes import Child, free_port
from tests.running_service import wait_for

BUCKET = "unroll"


class Line:
    """Passes bytes on between a port of its own and the server's, while it is not cut."""

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self._open: list[socket.socket] = []
        self.port = free_port("127.0.0.1")
        self.mend()

    def cut(self) -> None:
        """Who talks is cut off, who comes is refused."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._accepting.join()
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def mend(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                near = self._listening.accept()[0]
                far = socket.create_connection(self._to)
            except OSError:
                return
            self._open += [near, far]
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=_pass_on, args=(source, target), daemon=True).start()


class S3Server:
    """A running server with an empty bucket. `environment` is what its clients need."""

    def __init__(self, folder: Path) -> None:
        port = free_port("127.0.0.1")
        command = [sys.executable, "-m", "moto.server", "-p", str(port)]
        self.process = Child("s3", command, dict(os.environ), folder / "s3.log")
        self.process.start()
        wait_for(lambda: self._answers(port), 60, lambda: f"S3 to answer: {self.process.log_tail()}")
        assert httpx.put(f"http://127.0.0.1:{port}/{BUCKET}").status_code == 200
        self.line = Line(port)
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.line.port}",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "secret of the tests",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def _answers(self, port: int) -> bool:
        assert not self.process.has_ended(), self.process.log_tail()
        try:
            return httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        self.line.cut()
        self.process.stop()


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    server = S3Server(folder)
    yield server
    server.stop()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with source, suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
        target.shutdown(socket.SHUT_RDWR)
