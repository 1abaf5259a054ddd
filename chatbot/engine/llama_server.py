"""Keeps one language model running in a process of its own, and ends it with this one.

A crash, a leak or a hang of the model never reaches the page: the process is started again.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from chatbot.engine.llama_child import WORKER, Child, Endpoint, ModelSpec, StartError
from chatbot.errors import GenerationError

LOOK_EVERY_S = 0.25
HEALTH_EVERY_S = 1.0
MISSED_LIMIT = 3  # health checks without an answer before the process counts as hung
STUCK_S = 5.0  # busy so long although nobody is being served: hung in the middle of a computation
MEMORY_EVERY_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
FAILURES_UNTIL_UNAVAILABLE = 3

log = logging.getLogger(__name__)


State = Literal["starting", "ready", "unavailable", "closed"]


class LlamaServer:
    """Starts, watches, restarts and ends the model's process. Safe to use from many threads.

    Args:
        spec: The model and how to run it.
        start_timeout_s: A start that takes longer counts as failed.
        warm_up: Messages whose beginning every prompt shares; evaluated at each start.
        worker: The program to run, another one in tests.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        start_timeout_s: float = 60,
        warm_up: Sequence[dict[str, str]] = (),
        worker: Path = WORKER,
    ) -> None:
        self._spec = spec
        self._worker = worker
        self._start_timeout_s = start_timeout_s
        self._warm_up = list(warm_up)
        self._changed = threading.Condition()
        self._state: State = "starting"
        self._reason = ""
        self._endpoint: Endpoint | None = None
        self._child: Child | None = None
        self._serving = 0
        self._idle_since = time.monotonic()
        self._plain_kernels = False
        self._suspected = False
        self.starts = 0
        # One thread for the process's whole life: on Linux the child is told to end with the thread that started it.
        self._thread = threading.Thread(target=self._run, name="llama-server", daemon=True)
        self._thread.start()

    @property
    def state(self) -> State:
        """Whether a reply could be written now."""
        return self._state

    @property
    def several(self) -> bool:
        """There is one process; what it leaves unfinished nobody else goes on with."""
        return False

    @property
    def unavailable(self) -> str:
        """Why there is no model now, in one line; empty when there is one or one is starting."""
        return (self._reason or self._state) if self._state in ("unavailable", "closed") else ""

    @property
    def reason(self) -> str:
        """Why the last start failed, in one line; empty after a good one."""
        return self._reason

    @property
    def pid(self) -> int | None:
        """The process's number, or None between two of them."""
        child = self._child
        return child.popen.pid if child else None

    def acquire(self, timeout_s: float, stopped: Callable[[], bool]) -> Endpoint:
        """Return where the model listens, waiting for a start that is under way; ``release`` it afterwards.

        Raises:
            GenerationError: It is not there in time, or cannot be started.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while True:
                if self._state == "ready" and self._endpoint is not None and not self._suspected:
                    self._serving += 1
                    return self._endpoint
                if self._state in ("unavailable", "closed"):
                    raise GenerationError(f"the model is {self._state}: {self._reason}")
                if stopped() or time.monotonic() >= deadline:
                    raise GenerationError("the model was not ready in time")
                self._changed.wait(0.05)

    def release(self, endpoint: Endpoint, *, failed: bool = False) -> None:
        """Say that a reply is over; ``failed`` has the process looked at before anybody else gets it."""
        with self._changed:
            self._serving -= 1
            self._idle_since = time.monotonic()
            if failed and endpoint is self._endpoint:
                self._suspected = True
            self._changed.notify_all()

    def close(self) -> None:
        """End the process; returns when it has ended."""
        with self._changed:
            self._state = "closed"
            self._changed.notify_all()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        failures = 0
        while not self._is_closed():
            try:
                child = self._started()
            except (StartError, OSError, ValueError) as error:  # no memory for a process, no sense in its answer
                failures += 1
                self._reason = str(error)
                if failures >= FAILURES_UNTIL_UNAVAILABLE:
                    self._become("unavailable")
                log.warning("the model's process did not start (%d times): %s", failures, error)
                self._pause(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            if child is None:
                break
            failures, pause_s, self._reason = 0, FIRST_PAUSE_S, ""
            self._endpoint = child.endpoint
            self._suspected = False
            self._become("ready")
            why = self._watch(child)
            if not self._is_closed():
                log.warning("the model's process is started again: %s", why)
                self._endpoint = None
                self._become("starting")
            child.kill()
            self._child = None

    def _is_closed(self) -> bool:
        return self._state == "closed"

    def _become(self, state: State) -> None:
        with self._changed:
            if not self._is_closed():
                self._state = state
            self._changed.notify_all()

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(self._is_closed, timeout=seconds)

    def _started(self) -> Child | None:
        self.starts += 1
        child = Child(self._spec, self._worker, plain_kernels=self._plain_kernels)
        self._child = child
        deadline = time.monotonic() + self._start_timeout_s
        try:
            child.wait_until_listening(deadline, self._is_closed)
            if self._warm_up:
                child.warm_up(self._warm_up, deadline - time.monotonic())
        except StartError as error:
            died = child.kill()
            self._child = None
            if self._is_closed():
                return None
            if died < 0 and not self._plain_kernels:
                # Killed by a signal while computing: try once without the processor's special units, and stay there.
                self._plain_kernels = True
                raise StartError(f"{error} (signal {-died}); trying again with plain kernels") from error
            raise
        child.note_memory()
        return child

    def _watch(self, child: Child) -> str:
        """Return why the process must be replaced; comes back only then, or at the close."""
        next_health = next_memory = 0.0
        missed = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed() or self._suspected, timeout=LOOK_EVERY_S)
                idle_s = time.monotonic() - self._idle_since if not self._serving else 0.0
                suspected = self._suspected
            if self._is_closed():
                return "closed"
            if (code := child.popen.poll()) is not None:
                return f"it ended with status {code}"
            if child.stopped():
                return "it was frozen"
            if child.out_of_memory:
                return "it gets no more memory"
            now = time.monotonic()
            if now >= next_health or suspected:
                health = child.health()
                next_health = now + HEALTH_EVERY_S
                missed = 0 if health else missed + 1
                if missed >= MISSED_LIMIT or (suspected and missed >= 2):
                    return "it does not answer"
                if health and health["busy_s"] > STUCK_S and idle_s > STUCK_S:
                    return "it computes for nobody"
                if health and suspected:
                    with self._changed:
                        self._suspected = False
                        self._changed.notify_all()
            if now >= next_memory:
                next_memory = now + MEMORY_EVERY_S
                if idle_s > 0 and self._retired_for_memory(child):
                    return f"it holds {child.memory_mib()} MiB"

    def _retired_for_memory(self, child: Child) -> bool:
        limit = self._spec.memory_limit_mib or int(1.5 * child.first_mib) + 512
        if child.memory_mib() <= limit:
            return False
        with self._changed:
            if self._serving:  # somebody came in between; the next look decides
                return False
            self._endpoint = None
            self._state = "closed" if self._is_closed() else "starting"
            return True
