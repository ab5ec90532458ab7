"""Hosts of their own network on this machine: namespaces joined by a cable that can fall silent. Needs root."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from services.processes import Child

_NOBODY = "02:00:00:00:00:01"  # a hardware address that no interface bears


class Host:
    """One namespace with one interface. Processes in it share the files of this machine and nothing else."""

    def __init__(self, ip: str, name: str, address: str) -> None:
        self._ip = ip
        self.name = name
        self.address = address
        self._children: list[Child] = []

    def start(self, name: str, command: list[str], environment: Mapping[str, str], folder: Path) -> Child:
        """Runs `command` on this host."""
        inside = [self._ip, "netns", "exec", self.name, *command]
        child = Child(name, inside, dict(environment), folder / f"{self.name}-{name}.log")
        child.start()
        self._children.append(child)
        return child

    def pids(self) -> set[int]:
        """Every process on this host."""
        return {int(pid) for pid in self.run("netns", "pids", self.name).split()}

    def lose_power(self) -> None:
        """kill -9 of everything at once."""
        processes = []
        for pid in self.pids():
            with contextlib.suppress(psutil.NoSuchProcess):
                processes.append(psutil.Process(pid))
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=10)
        while self._children:
            self._children.pop().stop()

    def run(self, *words: str) -> str:
        return subprocess.run([self._ip, *words], check=True, capture_output=True, text=True).stdout


class Cable:
    """What joins two hosts. Silent, it swallows every packet and tells neither end."""

    def __init__(self, one: Host, other: Host) -> None:
        self._ends = ((one, other), (other, one))

    def fall_silent(self) -> None:
        for here, there in self._ends:
            entry = ("neigh", "replace", there.address, "lladdr", _NOBODY, "dev", "cable", "nud", "permanent")
            here.run("-n", here.name, *entry)

    def heal(self) -> None:
        for here, there in self._ends:
            here.run("-n", here.name, "neigh", "del", there.address, "dev", "cable")


@contextmanager
def two_hosts(ip: str) -> Iterator[tuple[Host, Host, Cable]]:
    """Two hosts and the cable between them. Raises PermissionError where this machine makes no namespaces."""
    one = Host(ip, f"unroll-{os.getpid()}-near", "198.51.100.1")
    other = Host(ip, f"unroll-{os.getpid()}-far", "198.51.100.2")
    hosts = (one, other)
    try:
        one.run("netns", "add", one.name)
    except subprocess.CalledProcessError as error:
        raise PermissionError(error.stderr.strip()) from error
    try:
        other.run("netns", "add", other.name)
        ends = ("peer", "name", "cable", "netns", other.name)
        one.run("-n", one.name, "link", "add", "cable", "type", "veth", *ends)
        for host in hosts:
            host.run("-n", host.name, "address", "add", f"{host.address}/24", "dev", "cable")
            for link in ("lo", "cable"):
                host.run("-n", host.name, "link", "set", link, "up")
        yield one, other, Cable(one, other)
    finally:
        for host in hosts:
            with contextlib.suppress(subprocess.CalledProcessError):
                host.lose_power()
                host.run("netns", "del", host.name)
