"""What a backup file is made of: names of its members, its header and its manifest. Opens no file."""

import hashlib
import hmac
import json
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rnncore.errors import InvalidInput
from services.jobqueue.keys import SCHEMA_VERSION

HEADER = "unroll-backup.json"
MANIFEST = "manifest.json"
REDIS = "redis.jsonl"
STORED = "storage/"
FORMAT = 1
_ROOTS = ("datasets", "jobs")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Raises InvalidInput where `raw` is something else."""
        try:
            return cls.model_validate_json(raw)
        except ValidationError as error:
            raise InvalidInput(f"this is no backup that this version reads: {error.errors()[0]['msg']}") from error


class Header(_Part):
    """The first member: whose backup it is. `secrets` maps names of private files of the home to what they hold."""

    format: int = FORMAT
    schema_version: int = SCHEMA_VERSION
    created_at: float
    secret_check: str
    secrets: dict[str, str] = Field(default_factory=dict)

    def check_version(self) -> None:
        """Raises InvalidInput where it takes another version of the program to restore it."""
        if (self.format, self.schema_version) != (FORMAT, SCHEMA_VERSION):
            raise InvalidInput(
                f"the backup has format {self.format} and schema version {self.schema_version}, this program reads "
                f"{FORMAT} and {SCHEMA_VERSION}; restore it with the version of Unroll that made it, then upgrade"
            )


class Manifest(_Part):
    """The last member. `files` maps members to their SHA-256; `damaged`, paths in storage to why they are not there."""

    created_at: float
    jobs: int
    datasets: int
    checkpoints: int
    files: dict[str, str]
    damaged: dict[str, str]
    signature: str = ""

    def signed(self, secret: bytes) -> Self:
        return self.model_copy(update={"signature": self._hmac(secret)})

    def is_signed(self, secret: bytes) -> bool:
        return hmac.compare_digest(self.signature.encode(), self._hmac(secret).encode())

    def _hmac(self, secret: bytes) -> str:
        fields = json.dumps(self.model_dump(mode="json", exclude={"signature"}), sort_keys=True)
        return hmac.new(secret, b"backup\n" + fields.encode(), hashlib.sha256).hexdigest()


def secret_check(secret: bytes) -> str:
    """Tells whether a secret is the one of a backup, and nothing else of it."""
    return hmac.new(secret, b"secret of a backup", hashlib.sha256).hexdigest()


def is_stored_path(path: str) -> bool:
    """Whether `path` is one that the service makes in its storage: nothing above it, nothing beside it."""
    first, *rest = path.split("/")
    return first in _ROOTS and bool(rest) and not {"", ".", ".."} & set(rest) and "\0" not in path
