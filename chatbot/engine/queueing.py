"""A fair queue in front of the language model: first come first served, one place per reply it can write at once."""

import threading
import time
from collections import Counter, deque
from types import TracebackType

from chatbot.errors import GenerationError


class QueueFullError(GenerationError):
    """There is no place for this reply now, or none that would be served in time."""


class FairQueue:
    """Hands out places. Safe to use from many threads.

    Args:
        slots: Replies that are written at once.
        length: Replies that may wait beyond those.
        per_patient: Places one named patient may hold at a time; 0 for no limit. The page names nobody: a tab has one
            turn at a time, and its next question must find the place of the one before free at once.
    """

    def __init__(self, *, slots: int, length: int, per_patient: int = 0) -> None:
        self._slots = max(1, slots)
        self._length = length
        self._per_patient = per_patient
        self._lock = threading.Lock()
        self._waiting: deque[Place] = deque()
        self._running: set[Place] = set()
        self._held: Counter[str] = Counter()
        self._mean_s = 0.0  # how long a place is kept, as a moving average; 0 until one was given back

    def enter(self, *, patient: str = "", patience_s: float = float("inf")) -> "Place":
        """Return a place at the end of the queue.

        Args:
            patient: Whoever asks, for the limit on each; empty: not counted.
            patience_s: How long the patient can wait for the place's turn.

        Raises:
            QueueFullError: The queue or the patient's share of it is full, or the turn would come too late.
        """
        with self._lock:
            if patient and self._per_patient and self._held[patient] >= self._per_patient:
                raise QueueFullError("this patient's earlier question is still being answered")
            if len(self._running) >= self._slots or self._waiting:
                if len(self._waiting) >= self._length:
                    raise QueueFullError(f"{len(self._waiting)} replies are waiting already")
                if (expected_s := self._expected_s(len(self._waiting))) > patience_s:
                    raise QueueFullError(f"the turn would come in about {expected_s:.0f} s")
            place = Place(self, patient)
            self._held[patient] += 1
            self._waiting.append(place)
            self._call_next()
            return place

    def resize(self, slots: int) -> None:
        """Let so many be served at once from now on; whoever is being served is not disturbed."""
        with self._lock:
            self._slots = max(1, slots)
            self._call_next()

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        with self._lock:
            return len(self._waiting)

    @property
    def running(self) -> int:
        """How many are being served."""
        with self._lock:
            return len(self._running)

    def before(self, place: "Place") -> int:
        """Return how many must finish before this place's turn, or 0 when it has come."""
        with self._lock:
            if place not in self._waiting:
                return 0
            ahead = self._waiting.index(place) + len(self._running)
            return max(1, ahead - self._slots + 1)

    def leave(self, place: "Place") -> None:
        """Give the place up, served or not; a second time does nothing."""
        with self._lock:
            if place in self._running:
                self._running.discard(place)
                took_s = time.monotonic() - place.called_at
                self._mean_s = took_s if not self._mean_s else 0.8 * self._mean_s + 0.2 * took_s
            elif place in self._waiting:
                self._waiting.remove(place)
            else:
                return
            self._held[place.patient] -= 1
            if self._held[place.patient] <= 0:
                del self._held[place.patient]
            self._call_next()

    def _expected_s(self, ahead: int) -> float:
        return self._mean_s * (ahead + 1) / self._slots

    def _call_next(self) -> None:
        while self._waiting and len(self._running) < self._slots:
            place = self._waiting.popleft()
            self._running.add(place)
            place.called_at = time.monotonic()
            place.called.set()


class Place:
    """One reply's place in the queue; leaves it at the end of a ``with`` block."""

    def __init__(self, queue: FairQueue, patient: str) -> None:
        self._queue = queue
        self.patient = patient
        self.called = threading.Event()
        self.called_at = 0.0

    @property
    def before(self) -> int:
        """How many must finish first; 0: it is this place's turn."""
        return self._queue.before(self)

    def __enter__(self) -> "Place":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.leave(self)
