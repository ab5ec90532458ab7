"""Environment variables -> Settings, read once at the door of each process. Knows no room."""

import hashlib
import ipaddress
import os
import secrets
import stat
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MEGABYTE = 1 << 20


class Settings(BaseSettings):
    """Every setting of the server. The field's environment variable is its alias."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    home: Path = Field(
        Path("~/.unroll"),
        validation_alias="UNROLL_HOME",
        description="Where everything of one installation lies.",
    )
    host: str = Field(
        "127.0.0.1",
        validation_alias="UNROLL_HOST",
        description="Address the public process listens on.",
    )
    port: int = Field(
        8000,
        ge=0,
        le=65535,
        validation_alias="UNROLL_PORT",
        description="Its port; 0: any free one.",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        validation_alias="UNROLL_ALLOWED_HOSTS",
        description="Host headers answered besides the loopback's, comma separated.",
    )
    redis_password_file: Path | None = Field(
        None,
        validation_alias="REDIS_PASSWORD_FILE",
        description="File with the password that REDIS_URL leaves out.",
    )
    redis_url: str | None = Field(
        None,
        validation_alias="REDIS_URL",
        description="Redis to use; unset: an embedded one.",
    )
    redis_durability: Literal["checked", "external"] = Field(
        "checked",
        validation_alias="UNROLL_REDIS_DURABILITY",
        description="external: a Redis that forbids CONFIG is known to be durable.",
    )
    ray_address: str | None = Field(
        None,
        validation_alias="RAY_ADDRESS",
        description="Ray cluster to use; unset: a local one.",
    )
    storage: str | None = Field(
        None,
        validation_alias="UNROLL_STORAGE",
        description="fsspec URL of data sets and checkpoints; unset: under UNROLL_HOME.",
    )
    cache: Path | None = Field(
        None,
        validation_alias="UNROLL_CACHE",
        description="Folder for copies of what lies in a storage elsewhere; unset: under UNROLL_HOME.",
    )
    cache_bytes: int = Field(
        10_240 * MEGABYTE,
        ge=0,
        validation_alias="UNROLL_CACHE_BYTES",
        description="Size of those copies on one machine; what is in use may exceed it.",
    )
    sampler_url: str | None = Field(
        None,
        validation_alias="UNROLL_SAMPLER_URL",
        description="Sampler process; unset: a unix socket of this machine.",
    )
    sampler_host: str = Field(
        "127.0.0.1",
        validation_alias="UNROLL_SAMPLER_HOST",
        description="Address the sampler listens on where it has a URL.",
    )
    sampler: Literal["process", "serve"] = Field(
        "process",
        validation_alias="UNROLL_SAMPLER",
        description="How `unroll up` runs the sampler: serve: as Ray Serve replicas on the cluster.",
    )
    sampler_min_replicas: int = Field(
        1,
        ge=1,
        le=1024,
        validation_alias="UNROLL_SAMPLER_MIN_REPLICAS",
        description="Replicas that are always there, one CPU each.",
    )
    sampler_max_replicas: int = Field(
        4,
        ge=1,
        le=1024,
        validation_alias="UNROLL_SAMPLER_MAX_REPLICAS",
        description="Replicas that there may be while much is asked.",
    )
    sampler_precision: Literal["fp32", "bf16", "int8"] = Field(
        "fp32",
        validation_alias="UNROLL_SAMPLER_PRECISION",
        description="What language models of 192 units or more are sampled in; int8 (CPUs with AVX-512 VNNI) is the "
        "fastest with many texts at once, bf16 with few.",
    )
    state_seconds: float = Field(
        86_400.0,
        gt=0,
        le=31_536_000,
        validation_alias="UNROLL_STATE_SECONDS",
        description="How long a state handle of a completion can be gone on from.",
    )
    secret_file: Path | None = Field(
        None,
        validation_alias="UNROLL_SECRET_FILE",
        description="Secret that signs keys and checkpoints; unset: under UNROLL_HOME.",
    )
    lease_seconds: float = Field(
        15.0,
        ge=1,
        le=600,
        validation_alias="UNROLL_LEASE_SECONDS",
        description="A job whose trainer is silent so long runs again.",
    )
    reserve_bytes: int = Field(
        256 * MEGABYTE,
        ge=0,
        validation_alias="UNROLL_RESERVE_BYTES",
        description="Space on the disk that uploads, submissions and checkpoints leave free.",
    )
    stall_seconds: float = Field(
        900.0,
        ge=1,
        validation_alias="UNROLL_STALL_SECONDS",
        description="A trainer that tells nothing of its job so long is stuck: it is ended, the job runs again.",
    )
    max_upload_bytes: int = Field(
        512 * MEGABYTE,
        ge=1,
        validation_alias="UNROLL_MAX_UPLOAD_BYTES",
        description="Largest data set accepted.",
    )
    retention_days: float = Field(
        90,
        gt=0,
        validation_alias="UNROLL_RETENTION_DAYS",
        description="Days an ended job is kept; an idempotency key lives 30 of them at most.",
    )
    webhooks: Literal["off", "on"] = Field(
        "off",
        validation_alias="UNROLL_WEBHOOKS",
        description="on: users may have the ends of jobs told at URLs of theirs.",
    )
    webhook_networks: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        validation_alias="UNROLL_WEBHOOK_NETWORKS",
        description="Networks that webhooks may reach although they are not public (10.1.0.0/16), comma separated.",
    )
    dispatcher_metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        validation_alias="UNROLL_DISPATCHER_METRICS_PORT",
        description="Port of the dispatcher's /metrics; 0: none.",
    )
    dispatcher_host: str = Field(
        "127.0.0.1",
        validation_alias="UNROLL_DISPATCHER_HOST",
        description="Address the dispatcher's /metrics listens on.",
    )
    trainers: int = Field(
        1,
        ge=1,
        le=256,
        validation_alias="UNROLL_TRAINERS",
        description="Warm trainers kept on each node without a GPU.",
    )
    fuse: bool = Field(
        True,
        validation_alias="UNROLL_FUSE",
        description="0: no worker trains several trials of a sweep together; 1: where it is faster.",
    )
    max_workers: int = Field(
        0,
        ge=0,
        le=10_000,
        validation_alias="UNROLL_MAX_WORKERS",
        description="Workers that the Ray cluster may grow to by its autoscaler, which is told how many jobs wait for; "
        "0: it does not grow.",
    )

    @field_validator("allowed_hosts", "webhook_networks", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("webhook_networks")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ipaddress.ip_network(network)
        return networks

    @field_validator("sampler_max_replicas")
    @classmethod
    def _at_least_the_fewest(cls, most: int, info: ValidationInfo) -> int:
        fewest: int | None = info.data.get("sampler_min_replicas")
        if fewest is not None and most < fewest:
            raise ValueError(f"is less than UNROLL_SAMPLER_MIN_REPLICAS={fewest}; raise it, or lower that one")
        return most

    @field_validator("redis_url")
    @classmethod
    def _with_password(cls, url: str | None, info: ValidationInfo) -> str | None:
        """The one place where the password of REDIS_PASSWORD_FILE joins the URL that everybody connects to."""
        file: Path | None = info.data.get("redis_password_file")
        if url is None or file is None:
            return url
        scheme, _, rest = url.partition("://")
        if "@" in rest:
            raise ValueError("holds a user or password already; leave it out or unset REDIS_PASSWORD_FILE")
        return f"{scheme}://:{quote(file.read_text().strip(), safe='')}@{rest}"

    @cached_property
    def root(self) -> Path:
        """UNROLL_HOME, absolute, existing, private."""
        root = self.home.expanduser().absolute()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        return root

    @cached_property
    def sampler_socket(self) -> Path:
        """Where the sampler listens on one machine: in a short private folder, for socket paths end at 107 bytes."""
        return socket_folder(self.root) / "sampler.sock"

    @cached_property
    def storage_url(self) -> str:
        return self.storage or str(self.root / "storage")

    @cached_property
    def cache_folder(self) -> Path:
        """Where copies lie; made when there are some."""
        return (self.cache or self.home / "cache").expanduser().absolute()

    @cached_property
    def secret(self) -> bytes:
        """The signing secret; made at the first use where nobody gave one."""
        return private_value(self.secret_file or self.root / "secret").encode()


def socket_folder(root: Path) -> Path:
    """A private folder with a short path that belongs to the home `root`."""
    name = hashlib.sha256(str(root).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"unroll-{os.getuid()}-{name}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a private folder of this user; remove it")
    return folder


def embedded_socket(root: Path) -> Path:
    """Where the embedded Redis of the home `root` listens."""
    return socket_folder(root) / "redis.sock"


def embedded_url(root: Path) -> str:
    """REDIS_URL of the embedded Redis of the home `root`."""
    return f"unix://{embedded_socket(root)}"


def private_value(path: Path, prefix: str = "") -> str:
    """The random value in `path`, made once, readable by its owner alone; one value however many processes ask."""
    if not path.exists():
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(prefix + secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()
