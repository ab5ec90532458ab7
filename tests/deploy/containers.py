"""docker-compose.yml without containers: its very commands, environments and health checks as processes from here.

What a container engine would do is done by rewriting words: a volume becomes a folder below `folder`, as do the secrets
of each service, a service's name becomes the loopback address, and each port of each service a free one. A path that is
not handed in to a service lies in `absent`, where nothing is.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from services.processes import Child, free_port

LOOPBACK = "127.0.0.1"
_PORT = re.compile(r"(?<![\w.])(?:6379|6380|6381|8000|8001|9090|9101)(?![\w.])")
_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


class Containers:
    """Services of one compose file, started and stopped by name. `folder` needs a short path, for Ray's sockets."""

    def __init__(self, compose: dict[str, Any], root: Path, folder: Path) -> None:
        self._services: dict[str, Any] = dict(compose["services"])
        self._root = root
        self._folder = folder
        self._children: dict[str, Child] = {}
        self._ports: dict[tuple[str, str], int] = {}
        self._volumes = self._lay_out(compose)

    def lay_over(self, other: dict[str, Any]) -> None:
        """Changes the services that another compose file names."""
        for name, definition in other["services"].items():
            self._services[name] = laid_over(self._services[name], definition)
            self._hand_in_secrets(name)

    def address(self, service: str, port: str) -> str:
        """Where the port of a service is found from here."""
        return f"{LOOPBACK}:{self._port(service, port)}"

    def here(self, path: str) -> Path:
        """Where a path of a container lies on this machine."""
        return Path(self.translated("", path))

    def configuration(self, service: str, path: str) -> Path:
        """A file that the service reads, its words made those of this machine; may be edited before `start`."""
        file = self.here(path)
        file.write_text(self.translated(service, file.read_text()))
        return file

    def start(self, service: str, *entrypoint: str) -> Child:
        """Runs the service's command with its environment alone, as a container would; `entrypoint` is the image's."""
        words = [self.translated(service, word.replace("$$", "$")) for word in self._services[service]["command"]]
        log_path = self._folder / f"{service}.log"
        child = Child(service, [*entrypoint, *words], self.environment(service), log_path)
        child.start()
        self._children[service] = child
        return child

    def is_healthy(self, service: str) -> bool:
        """Runs the service's own health check once."""
        kind, *words = self._services[service]["healthcheck"]["test"]
        words = [self.translated(service, word.replace("$$", "$")) for word in words]
        command = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
        done = subprocess.run(
            command, env=self.environment(service), check=False, capture_output=True, timeout=30, cwd=self._folder
        )
        return done.returncode == 0

    def environment(self, service: str) -> dict[str, str]:
        """What the service's process sees."""
        given = self._services[service].get("environment", {})
        return {
            "PATH": f"{Path(sys.executable).parent}:{_SYSTEM_PATH}",
            "TMPDIR": str(self._temporary(service)),
            **{name: self.translated(service, value) for name, value in given.items()},
        }

    def translated(self, service: str, text: str) -> str:
        """`text` as it reads in `service`, with addresses and paths of this machine."""
        text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)
        for name in self._services:
            text = re.sub(rf"\b{name}:(\d+)\b", lambda found, name=name: self.address(name, found[1]), text)
        if service:
            given = {str(port) for (name, _), port in self._ports.items()}
            text = _PORT.sub(lambda found: found[0] if found[0] in given else str(self._port(service, found[0])), text)
        paths = self._paths(service) | {"0.0.0.0": LOOPBACK, "/tmp": self._temporary(service)}
        longest_first = "|".join(re.escape(path) for path in sorted(paths, key=len, reverse=True))
        return re.sub(rf"(?<![\w/.])(?:{longest_first})(?![\w-])", lambda found: str(paths[found[0]]), text)

    def stop(self, *services: str) -> None:
        """Ends the services, or all of them, last started first, with all that a container's end would take along."""
        for name in [name for name in reversed(self._children) if name in services or not services]:
            child = self._children.pop(name)
            child.stop()
            while left := _session_of(child.pid):
                for process in left:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                psutil.wait_procs(left, timeout=1)

    def _temporary(self, service: str) -> Path:
        """The service's own /tmp, by its first letter: Ray adds 80 bytes to the path of a socket."""
        folder = self._folder / service[:1]
        folder.mkdir(exist_ok=True)
        return folder

    def _port(self, service: str, port: str) -> int:
        return self._ports.setdefault((service, port), free_port(LOOPBACK))

    def _paths(self, service: str) -> dict[str, Path]:
        """Container path -> path here, as the service sees it; all of them for no service."""
        mounted = {volume.split(":")[1] for volume in self._services.get(service, {}).get("volumes", [])}
        absent = self._folder / "absent"
        seen = {
            target: path if target in mounted or not service else absent / path.name
            for target, path in self._volumes.items()
        }
        return seen | {"/run/secrets": self._secrets(service)}

    def _secrets(self, service: str) -> Path:
        return self._folder / "s" / service

    def _lay_out(self, compose: dict[str, Any]) -> dict[str, Path]:
        """Makes the volumes and hands in the secrets; container path of a volume -> path here."""
        paths = {}
        for definition in self._services.values():
            for volume in definition.get("volumes", []):
                source, target = volume.split(":")[:2]
                paths[target] = self._folder / "v" / source.replace("/", "-")
                if source in compose["volumes"]:
                    paths[target].mkdir(parents=True, exist_ok=True)
                else:
                    shutil.copytree(self._root / source, paths[target])
        self._volumes = paths
        for name in self._services:
            self._hand_in_secrets(name)
        return paths

    def _hand_in_secrets(self, service: str) -> None:
        self._secrets(service).mkdir(parents=True, exist_ok=True)
        for secret in self._services[service].get("secrets", []):
            if isinstance(secret, str):
                target = self._secrets(service) / secret
            else:
                target = self._volumes[str(Path(secret["target"]).parent)] / Path(secret["target"]).name
            target.unlink(missing_ok=True)
            shutil.copy(self._folder / "secrets" / (secret if isinstance(secret, str) else secret["source"]), target)


def laid_over(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The service `one` as `docker compose -f ... -f ...` makes it with `other`: mappings merge, these lists grow."""
    merged = one | other
    for name in ("environment", "depends_on"):
        merged[name] = one.get(name, {}) | other.get(name, {})
    for name in ("networks", "secrets", "volumes"):
        merged[name] = [*one.get(name, []), *other.get(name, [])]
    return merged


def _session_of(leader: int) -> list[psutil.Process]:
    """Every process in the session that `leader` began, those included that it no longer is a parent of."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
