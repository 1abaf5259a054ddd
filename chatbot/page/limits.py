"""How often somebody may ask: a bucket of requests for each key, refilled at a steady pace."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable


class RateLimit:
    """Counts requests by key. Safe to use from several threads; keeps nothing but a number and a time for each key.

    Args:
        burst: How many requests may come at once.
        per_s: How many more may come in each second after that.
        most: How many keys are remembered; the one unused for longest is forgotten first.
        now_s: The clock, in seconds.
    """

    def __init__(
        self, *, burst: int, per_s: float, most: int = 5000, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst = float(burst)
        self._per_s = per_s
        self._most = most
        self._now_s = now_s
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests left, and when that was so

    def wait_s(self, key: str) -> float:
        """Count one request; return 0 when it may go on, else after how many seconds the next one may come."""
        with self._lock:
            now_s = self._now_s()
            left, then_s = self._left.pop(key, (self._burst, now_s))
            left = min(self._burst, left + (now_s - then_s) * self._per_s)
            wait_s = 0.0 if left >= 1 else (1 - left) / self._per_s
            self._left[key] = (left if wait_s else left - 1, now_s)
            while len(self._left) > self._most:
                self._left.popitem(last=False)
            return wait_s
