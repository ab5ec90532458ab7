"""How many answers one key may wait for at once: whoever opens a hundred streams keeps nobody else waiting."""

from collections import Counter
from collections.abc import Callable

from rnncore.errors import TooManyRequests


class Turnstile:
    """Counts who is inside. For one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside: Counter[str] = Counter()

    def enter(self, key_id: str) -> Callable[[], None]:
        """Lets one more in and answers how it leaves; leaving twice counts once. Raises TooManyRequests."""
        if self._inside[key_id] >= self._most:
            raise TooManyRequests(
                f"this key waits for {self._most} answers of models at once already; wait for one to end", retry_after=1
            )
        self._inside[key_id] += 1
        is_inside = True

        def leave() -> None:
            nonlocal is_inside
            if is_inside:
                is_inside = False
                self._inside[key_id] -= 1
                self._inside += Counter()  # forgets who has left altogether

        return leave
