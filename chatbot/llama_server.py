"""Keeps one language model running in a process of its own, and ends it with this one.

A crash, a leak or a hang of the model never reaches the page: the process is started again.
"""

import contextlib
import json
import logging
import os
import secrets
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import httpx
import psutil

from chatbot.errors import GenerationError

WORKER = Path(__file__).with_name("llama_worker.py")
NICENESS = 5
LOOK_EVERY_S = 0.25
HEALTH_EVERY_S = 1.0
HEALTH_TIMEOUT_S = 2.0
MISSED_LIMIT = 5  # health checks without an answer before the process counts as hung
STUCK_S = 5.0  # busy so long although nobody is being served: hung in the middle of a computation
MEMORY_EVERY_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
FAILURES_UNTIL_UNAVAILABLE = 3

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What the process is started with. Files are checked before (see ``gguf_file``)."""

    model: Path
    lora: Path | None = None
    threads: int = 0  # 0: every processor
    context_tokens: int = 2048
    batch_tokens: int = 256
    memory_limit_mib: int = 0  # 0: half as much again as after its first reply, and 512 MiB


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one OpenAI-compatible server listens."""

    url: str
    key: str = ""


State = Literal["starting", "ready", "unavailable", "closed"]


class LlamaServer:
    """Starts, watches, restarts and ends the model's process. Safe to use from many threads.

    Args:
        spec: The model and how to run it.
        start_timeout_s: A start that takes longer counts as failed.
        warm_up: Messages whose beginning every prompt shares; evaluated at each start.
    """

    def __init__(self, spec: ModelSpec, *, start_timeout_s: float = 60, warm_up: Sequence[dict[str, str]] = ()) -> None:
        self._spec = spec
        self._start_timeout_s = start_timeout_s
        self._warm_up = list(warm_up)
        self._changed = threading.Condition()
        self._state: State = "starting"
        self._reason = ""
        self._endpoint: Endpoint | None = None
        self._child: _Child | None = None
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
        while self._state != "closed":
            try:
                child = self._started()
            except _StartError as error:
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
            if self._state != "closed":
                log.warning("the model's process is started again: %s", why)
                self._endpoint = None
                self._become("starting")
            child.kill()
            self._child = None

    def _become(self, state: State) -> None:
        with self._changed:
            if self._state != "closed":
                self._state = state
            self._changed.notify_all()

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._state == "closed", timeout=seconds)

    def _started(self) -> "_Child | None":
        self.starts += 1
        child = _Child(self._spec, plain_kernels=self._plain_kernels)
        self._child = child
        deadline = time.monotonic() + self._start_timeout_s
        try:
            child.wait_until_listening(deadline, lambda: self._state == "closed")
            if self._warm_up:
                child.warm_up(self._warm_up, deadline - time.monotonic())
        except _StartError as error:
            died = child.kill()
            self._child = None
            if self._state == "closed":
                return None
            if died < 0 and not self._plain_kernels:
                # Killed by a signal while computing: try once without the processor's special units, and stay there.
                self._plain_kernels = True
                raise _StartError(f"{error} (signal {-died}); trying again with plain kernels") from error
            raise
        child.note_memory()
        return child

    def _watch(self, child: "_Child") -> str:
        """Return why the process must be replaced; comes back only then, or at the close."""
        next_health = next_memory = 0.0
        missed = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._state == "closed" or self._suspected, timeout=LOOK_EVERY_S)
                idle_s = time.monotonic() - self._idle_since if not self._serving else 0.0
                suspected = self._suspected
            if self._state == "closed":
                return "closed"
            if (code := child.popen.poll()) is not None:
                return f"it ended with status {code}"
            if child.stopped():
                return "it was frozen"
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

    def _retired_for_memory(self, child: "_Child") -> bool:
        limit = self._spec.memory_limit_mib or int(1.5 * child.first_mib) + 512
        if child.memory_mib() <= limit:
            return False
        with self._changed:
            if self._serving:  # somebody came in between; the next look decides
                return False
            self._endpoint = None
            self._state = "starting" if self._state != "closed" else "closed"
            return True


class _StartError(Exception):
    """The process did not come up."""


class _Child:
    """One started process."""

    def __init__(self, spec: ModelSpec, *, plain_kernels: bool) -> None:
        self.first_mib = 0
        self.key = secrets.token_urlsafe(24)
        self.endpoint = Endpoint("", self.key)
        self._answer: str = ""
        self._answered = threading.Event()
        self._complaints: deque[str] = deque(maxlen=5)
        self.popen = subprocess.Popen(
            [sys.executable, "-P", str(WORKER)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment(),
        )  # fmt: skip
        with contextlib.suppress(psutil.Error):
            self._process = psutil.Process(self.popen.pid)
        for target in (self._read_answer, self._read_complaints):
            threading.Thread(target=target, daemon=True).start()
        config = {
            "parent": os.getpid(),
            "key": self.key,
            "model": str(spec.model),
            "lora": str(spec.lora) if spec.lora else None,
            "threads": spec.threads or os.cpu_count() or 1,
            "context_tokens": spec.context_tokens,
            "batch_tokens": spec.batch_tokens,
            "plain_kernels": plain_kernels,
            "niceness": NICENESS,
        }
        with contextlib.suppress(OSError):
            _pipe(self.popen.stdin).write(json.dumps(config) + "\n")
            _pipe(self.popen.stdin).flush()

    def _read_answer(self) -> None:
        self._answer = _pipe(self.popen.stdout).readline()
        self._answered.set()

    def _read_complaints(self) -> None:
        for line in _pipe(self.popen.stderr):
            self._complaints.append(" ".join(line.split())[:200])

    def wait_until_listening(self, deadline: float, closed: Callable[[], bool]) -> None:
        """Return when the model is loaded and its address known."""
        while not self._answered.wait(0.05):
            if closed():
                raise _StartError("closed")
            if time.monotonic() > deadline:
                raise _StartError("it took too long to load")
        if not self._answer:
            raise _StartError("its process died while loading" + self._last_words())
        answer = json.loads(self._answer)
        if "error" in answer:
            raise _StartError(" ".join(str(answer["error"]).split()) + self._last_words())
        self.endpoint = Endpoint(f"http://127.0.0.1:{answer['port']}", self.key)

    def _last_words(self) -> str:
        return f" ({self._complaints[-1]})" if self._complaints else ""

    def warm_up(self, messages: Sequence[dict[str, str]], timeout_s: float) -> None:
        """Evaluate what every prompt begins with, and so prove that the model computes."""
        body = {"messages": list(messages), "max_tokens": 2, "stream": True}
        try:
            with self._client(max(1.0, timeout_s)) as client:
                answer = client.post("/v1/chat/completions", json=body)
        except httpx.HTTPError as error:
            time.sleep(0.2)  # the process's end shows a moment after its connection's
            raise _StartError(f"it failed at its first prompt ({type(error).__name__})") from error
        if answer.status_code != httpx.codes.OK:
            raise _StartError(f"it refused its first prompt (status {answer.status_code})")

    def health(self) -> dict[str, Any] | None:
        """Return what the process says of itself, or None without an answer in time."""
        try:
            with self._client(HEALTH_TIMEOUT_S) as client:
                return dict(client.get("/health").json())
        except (httpx.HTTPError, ValueError):
            return None

    def _client(self, timeout_s: float) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=self.endpoint.url, headers=headers, timeout=timeout_s, trust_env=False)

    def stopped(self) -> bool:
        """Return whether somebody froze the process (SIGSTOP)."""
        try:
            return bool(self._process.status() == psutil.STATUS_STOPPED)
        except psutil.Error:
            return False

    def note_memory(self) -> None:
        """Remember what the process holds after its first prompt."""
        self.first_mib = self.memory_mib()

    def memory_mib(self) -> int:
        """Return the memory that is this process's own share, swapped pages included."""
        try:
            usage = self._process.memory_full_info()
        except psutil.Error:
            return 0
        held = getattr(usage, "pss", 0) + getattr(usage, "swap", 0) or usage.rss
        return int(held // 2**20)

    def kill(self) -> int:
        """End the process at once and return its exit status; negative: the signal that had killed it before."""
        code = self.popen.poll()
        if code is None:
            self.popen.kill()
            self.popen.wait()
            code = 0
        for pipe in (self.popen.stdin, self.popen.stdout):
            with contextlib.suppress(OSError, ValueError):
                _pipe(pipe).close()
        return code


def _environment() -> dict[str, str]:
    """Return this process's environment without anything secret in it."""
    private = ("KEY", "TOKEN", "SECRET", "PASSWORD")
    return {name: value for name, value in os.environ.items() if not any(word in name.upper() for word in private)}


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise AssertionError("all three are pipes")
    return pipe
