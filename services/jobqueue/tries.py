"""Which submissions are one and the same, where a client that repeats a request says only that it does."""

import secrets

from services.jobqueue.scripts import RedisScripts

# How long after a try the next one is taken for a repetition of it.
WINDOW_SECONDS = 60


class Tries:
    """Tries to submit, by API key and hash of the body. Every method raises Unavailable while Redis does not answer."""

    def __init__(self, scripts: RedisScripts) -> None:
        self._scripts = scripts

    def idempotency_key(self, key_id: str, body_hash: str, *, is_repeated: bool) -> str:
        """The idempotency key to submit with: that of the try before, where this one can only be its repetition.

        It gets a new one if it is a first try, if none with this hash came within the last WINDOW_SECONDS, or if two
        first tries did, so that nobody can tell whose repetition it is: a job too many is better than another's job.
        """
        key: str = self._scripts.run(
            "recognise", key_id, body_hash, f"try-{secrets.token_hex(16)}", int(is_repeated), WINDOW_SECONDS
        )
        return key
