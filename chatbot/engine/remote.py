"""Model servers elsewhere: drafts are spread over them, and one that fails is left alone for a while."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chatbot.engine.llama_child import Endpoint
from chatbot.errors import GenerationError

FIRST_REST_S, LONGEST_REST_S = 1.0, 30.0


@dataclass(slots=True)
class _Server:
    endpoint: Endpoint
    serving: int = 0
    failures: int = 0  # in a row
    rests_until: float = 0.0  # monotonic seconds

    def up(self, now: float) -> bool:
        return now >= self.rests_until


class RemoteServers:
    """Hands out the server with the fewest replies under way, and the next where one failed.

    Args:
        urls: OpenAI-compatible servers, with or without ``/v1`` at the end.
        key: Sent to each of them as a bearer token; empty: none.
        slots: Replies that each writes at once.
        on_capacity: Told how many replies can be written at once, each time that changes.
    """

    def __init__(
        self, urls: Sequence[str], *, key: str = "", slots: int = 1, on_capacity: Callable[[int], None] = lambda _: None
    ) -> None:
        self._servers = [_Server(Endpoint(url.rstrip("/").removesuffix("/v1"), key)) for url in urls]
        self._slots = slots
        self._on_capacity = on_capacity
        self._lock = threading.Lock()
        on_capacity(slots * len(self._servers))

    @property
    def several(self) -> bool:
        """Whether another server can go on where one broke off."""
        return len(self._servers) > 1

    @property
    def unavailable(self) -> str:
        """Why there is none now, in one line: all of them failed a moment ago."""
        now = time.monotonic()
        with self._lock:
            return "" if any(server.up(now) for server in self._servers) else "no server of engine.urls answers"

    def acquire(self, timeout_s: float, stopped: Callable[[], bool]) -> Endpoint:
        """Return the least busy server that is not resting; with all of them resting, the one that rests the shortest.

        Raises:
            GenerationError: There is no time left, or the patient has gone.
        """
        if timeout_s <= 0 or stopped():
            raise GenerationError("no time left to write a reply")
        now = time.monotonic()
        with self._lock:
            up = [server for server in self._servers if server.up(now)]
            if up:
                # Among equals the one that failed least recently often comes first.
                best = min(up, key=lambda server: (server.serving, server.failures))
            else:
                best = min(self._servers, key=lambda server: server.rests_until)
            best.serving += 1
            capacity = self._capacity(now)
        self._on_capacity(capacity)
        return best.endpoint

    def release(self, endpoint: Endpoint, *, failed: bool = False) -> None:
        """Give the server back; one that failed rests, twice as long each time in a row."""
        now = time.monotonic()
        with self._lock:
            server = next(server for server in self._servers if server.endpoint is endpoint)
            server.serving -= 1
            if failed:
                server.failures += 1
                server.rests_until = now + min(FIRST_REST_S * 2 ** (server.failures - 1), LONGEST_REST_S)
            else:
                server.failures = 0
            capacity = self._capacity(now)
        self._on_capacity(capacity)

    def close(self) -> None:
        """Nothing of ours runs there."""

    def _capacity(self, now: float) -> int:
        return self._slots * max(1, sum(server.up(now) for server in self._servers))
