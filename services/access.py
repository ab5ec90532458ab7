"""Who may come in: API keys. Keys are stored as HMACs alone; the first one is made when the service first starts."""

import hashlib
import hmac

from services.jobqueue.queue import ApiKey, JobQueue
from services.settings import Settings, private_value

KEY_PREFIX = "unroll-"
DEFAULT_TENANT = "default"


class Access:
    """Tells what an API key may do."""

    def __init__(self, queue: JobQueue, secret: bytes) -> None:
        self._queue = queue
        self._secret = secret

    def check(self, key: str) -> ApiKey | None:
        """What `key` may do; None for one that is not, or no longer, valid. Raises Unavailable."""
        # The queue finds a digest, not a key: comparing it gives nothing away about keys that exist.
        return self._queue.key(key_digest(self._secret, key))

    def admit_first_key(self, settings: Settings) -> None:
        """Lets in the key in UNROLL_HOME/api_key, which is made if there is none."""
        key = private_value(settings.root / "api_key", prefix=KEY_PREFIX)
        self._queue.put_key(key_digest(self._secret, key), ApiKey(id="first", tenant=DEFAULT_TENANT))


def key_digest(secret: bytes, key: str) -> str:
    """What is stored of an API key."""
    return hmac.new(secret, b"api-key:" + key.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def sampler_token(secret: bytes) -> str:
    """What the public process shows to the sampler; nobody else can make it."""
    return hmac.new(secret, b"sampler", hashlib.sha256).hexdigest()
