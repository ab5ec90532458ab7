"""Uploads: bytes in, validated as they come; a stored blob and its description out. Knows no queue and no HTTP."""

import hashlib
import hmac
import secrets
import time
from contextlib import ExitStack

from rnncore.datasets.scan import Scan
from rnncore.errors import TooLarge
from services import layout
from services.jobqueue.records import Dataset
from services.storage import Storage


class Upload:
    """One file on its way in. `feed` every piece, then `commit`; `abort` leaves nothing behind."""

    def __init__(
        self,
        storage: Storage,
        *,
        tenant: str,
        scan: Scan,
        options: str,
        name: str | None,
        secret: bytes,
        max_bytes: int,
    ) -> None:
        self._storage = storage
        self._tenant = tenant
        self._name = name
        self._secret = secret
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._sha256 = hashlib.sha256()
        self._scan = scan
        self._options = options
        self._blob = layout.dataset_blob(tenant, secrets.token_hex(16))
        self._stack = ExitStack()
        self._file = self._stack.enter_context(storage.writing(self._blob))

    def feed(self, piece: bytes) -> None:
        """Takes the next bytes. Raises TooLarge, or InvalidText at the first fault."""
        self._num_bytes += len(piece)
        check_size(self._num_bytes, self._max_bytes)
        self._scan.feed(piece)
        self._sha256.update(piece)
        self._file.write(piece)

    def commit(self) -> tuple[Dataset, str]:
        """The data set and its blob, durable. Raises InvalidText if the file as a whole breaks a rule, Unavailable."""
        summary = self._scan.summary()
        self._stack.close()
        digest = self._sha256.hexdigest()
        identity = f"{self._tenant}:{summary.kind}:{self._options}:{digest}".encode()
        dataset = Dataset(
            id="ds-" + hmac.new(self._secret, identity, hashlib.sha256).hexdigest()[:32],
            kind=summary.kind,
            name=self._name,
            tenant=self._tenant,
            created_at=time.time(),
            num_bytes=self._num_bytes,
            sha256=digest,
            summary=summary,
        )
        return dataset, self._blob

    def abort(self, error: BaseException) -> None:
        """Removes what has arrived."""
        self._stack.__exit__(type(error), error, error.__traceback__)
        self._storage.discard(self._blob)


def check_size(num_bytes: int, max_bytes: int) -> None:
    """Raises TooLarge over the limit."""
    if num_bytes > max_bytes:
        raise TooLarge(
            f"the upload is over {max_bytes} bytes (UNROLL_MAX_UPLOAD_BYTES); split it, or raise the limit",
            param="file",
        )
