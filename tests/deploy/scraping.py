"""A real Prometheus that scrapes a running service, with the configuration and the rules that are deployed."""

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from services.processes import Child, free_port
from services.settings import embedded_socket
from tests.running_service import Service, wait_for

SAMPLER_SOCKET = "sampler.sock"
INTERVAL_SECONDS = 2


class Prometheus:
    """Its answers, and when it began to ask."""

    def __init__(self, url: str, bodies: dict[str, str]) -> None:
        self.api = httpx.Client(base_url=f"{url}/api/v1", timeout=30)
        self.urls = bodies
        self.began_at = time.time()

    def ask(self, path: str, **params: Any) -> Any:
        return self.api.get(path, params=params).raise_for_status().json()["data"]

    def values(self, expression: str) -> list[float]:
        """All that an expression has come to since the beginning, but for what is no number."""
        found = self.ask("/query_range", query=expression, start=self.began_at, end=time.time(), step=1)["result"]
        return [value for series in found for _, raw in series["values"] if (value := float(raw)) == value]


@contextmanager
def scraping(service: Service, binary: str, deployed: Path, folder: Path) -> Iterator[Prometheus]:
    """Prometheus at work on the three processes of `service`, asking every other second."""
    port = free_port("127.0.0.1")
    with _on_tcp(embedded_socket(service.home).with_name(SAMPLER_SOCKET)) as sampler:
        targets = {
            "app": str(service.api.base_url.netloc.decode()),
            "sampler": sampler,
            "dispatcher": f"127.0.0.1:{_dispatcher_port(service)}",
            "prometheus": f"127.0.0.1:{port}",
        }
        config = folder / "prometheus.yml"
        config.write_text(yaml.safe_dump(_config(deployed, service, targets)))
        (folder / "rules").symlink_to(deployed / "rules")
        command = [
            binary,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        child = Child("prometheus", command, {}, folder / "prometheus.log")
        child.start()
        try:
            prometheus = Prometheus(f"http://127.0.0.1:{port}", {job: f"http://{at}" for job, at in targets.items()})
            wait_for(lambda: _has_asked_twice(prometheus), 30, lambda: f"Prometheus: {child.log_tail()}")
            yield prometheus
        finally:
            prometheus.api.close()
            child.stop()


def _has_asked_twice(prometheus: Prometheus) -> bool:
    """Whether a rate can be told of whatever happens from now on."""
    try:
        found = prometheus.ask("/query", query="min(count_over_time(up[1m])) >= 2 and sum(up) == 4")["result"]
    except httpx.HTTPError:  # it starts
        return False
    return bool(found)


def _config(deployed: Path, service: Service, targets: dict[str, str]) -> dict[str, Any]:
    """What is deployed, but for where to ask, how often, and where the key lies."""
    config: dict[str, Any] = yaml.safe_load((deployed / "prometheus.yml").read_text())
    config["global"] = dict.fromkeys(
        ("scrape_interval", "scrape_timeout", "evaluation_interval"), f"{INTERVAL_SECONDS}s"
    )
    for one in config["scrape_configs"]:
        one["static_configs"] = [{"targets": [targets[one["job_name"]]]}]
        if "authorization" in one:
            one["authorization"]["credentials_file"] = str(service.home / "api_key")
    return config


def _dispatcher_port(service: Service) -> str:
    (dispatcher,) = (one for one in service.family() if "workers.dispatcher" in one.cmdline())
    return dispatcher.environ()["UNROLL_DISPATCHER_METRICS_PORT"]


@contextmanager
def _on_tcp(path: Path) -> Iterator[str]:
    """What the sampler answers on its unix socket, which Prometheus cannot ask, at an address that it can."""

    class Passing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://sampler") as client:
                answer = client.get(self.path)
            with contextlib.suppress(ConnectionError):  # on a busy machine Prometheus waits no longer
                self.send_response(answer.status_code)
                self.send_header("content-type", answer.headers["content-type"])
                self.end_headers()
                self.wfile.write(answer.content)

        def log_message(self, format: str, *arguments: object) -> None:
            """Says nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Passing) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
