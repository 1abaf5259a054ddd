"""Work that arrives while other work is under way is done in one batch, by whichever thread comes next."""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

ArgumentT = TypeVar("ArgumentT")
ResultT = TypeVar("ResultT")


class _Waiting(Generic[ArgumentT, ResultT]):
    __slots__ = ("argument", "error", "is_done", "result")

    def __init__(self, argument: ArgumentT) -> None:
        self.argument = argument
        self.result: ResultT | None = None
        self.error: Exception | None = None
        self.is_done = False


class Together(Generic[ArgumentT, ResultT]):
    """Calls a function that is cheaper for many at once. One thread works at a time, nobody waits for company.

    Args:
        work: Returns one result for each argument, in order.
        lock: Held while it works; other work that must not run beside it may take it too.
        most: So many arguments in one call at most.
    """

    def __init__(
        self, work: Callable[[list[ArgumentT]], Sequence[ResultT]], lock: threading.Lock, *, most: int = 16
    ) -> None:
        self._work = work
        self._lock = lock
        self._most = most
        self._queue: list[_Waiting[ArgumentT, ResultT]] = []
        self._queue_lock = threading.Lock()

    def __call__(self, argument: ArgumentT) -> ResultT:
        """Return the result for one argument; what the work raises is raised for everybody in its batch."""
        waiting: _Waiting[ArgumentT, ResultT] = _Waiting(argument)
        with self._queue_lock:
            self._queue.append(waiting)
        while not waiting.is_done:
            with self._lock:
                if not waiting.is_done:
                    self._do_some()
        if waiting.error is not None:
            raise waiting.error
        assert waiting.result is not None
        return waiting.result

    def _do_some(self) -> None:
        with self._queue_lock:
            batch, self._queue = self._queue[: self._most], self._queue[self._most :]
        try:
            results = self._work([one.argument for one in batch])
        except Exception as error:  # told to everybody who waits for this batch
            for one in batch:
                one.error = error
        else:
            for one, result in zip(batch, results, strict=True):
                one.result = result
        finally:
            for one in batch:
                one.is_done = True
