"""One started process of ``engine/llama_worker.py``: its first words, its health, its memory, its end."""

import contextlib
import json
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
from typing import IO, Any

import httpx
import psutil

WORKER = Path(__file__).with_name("llama_worker.py")
NICENESS = 5
HEALTH_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What the process is started with. Files are checked before (see ``gguf_file``)."""

    model: Path
    lora: Path | None = None
    threads: int = 0  # 0: as many as there are cores that nobody else uses
    context_tokens: int = 2048
    batch_tokens: int = 128
    memory_limit_mib: int = 0  # 0: half as much again as after its first reply, and 512 MiB


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one OpenAI-compatible server listens."""

    url: str
    key: str = ""


class StartError(Exception):
    """The process did not come up."""


class Child:
    """One started process."""

    def __init__(self, spec: ModelSpec, worker: Path, *, plain_kernels: bool) -> None:
        self.first_mib = 0
        self.key = secrets.token_urlsafe(24)
        self.endpoint = Endpoint("", self.key)
        self._answer: str = ""
        self._answered = threading.Event()
        self._complaints: deque[str] = deque(maxlen=5)
        self.out_of_memory = False
        self.popen = subprocess.Popen(
            [sys.executable, "-P", str(worker)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=_environment(),
        )
        self._process = psutil.Process(self.popen.pid)
        self._http: httpx.Client | None = None  # once the address is known
        for target in (self._read_answer, self._read_complaints):
            threading.Thread(target=target, daemon=True).start()
        config = {
            "parent": os.getpid(),
            "key": self.key,
            "model": str(spec.model),
            "lora": str(spec.lora) if spec.lora else None,
            "threads": spec.threads,
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
            # A thread that gets no memory ends before its first line and can tell nobody else: its client waits for
            # ever, while older threads go on saying that all is well.
            self.out_of_memory = self.out_of_memory or line.startswith("MemoryError")

    def wait_until_listening(self, deadline: float, closed: Callable[[], bool]) -> None:
        """Return when the model is loaded and its address known."""
        while not self._answered.wait(0.05):
            if closed():
                raise StartError("closed")
            if time.monotonic() > deadline:
                raise StartError("it took too long to load")
        if not self._answer:
            raise StartError("its process died while loading" + self._last_words())
        answer = json.loads(self._answer)
        if "error" in answer:
            raise StartError(" ".join(str(answer["error"]).split()) + self._last_words())
        self.endpoint = Endpoint(f"http://127.0.0.1:{answer['port']}", self.key)
        headers = {"Authorization": f"Bearer {self.key}"}
        # No proxy of the environment, and no certificates to load for an address on this machine.
        self._http = httpx.Client(base_url=self.endpoint.url, headers=headers, trust_env=False, verify=False)

    def _last_words(self) -> str:
        return f" ({self._complaints[-1]})" if self._complaints else ""

    def warm_up(self, messages: Sequence[dict[str, str]], timeout_s: float) -> None:
        """Evaluate what every prompt begins with, and so prove that the model computes."""
        if self._http is None:
            raise StartError("it does not listen yet")
        body = {"messages": list(messages), "max_tokens": 2, "stream": True}
        try:
            answer = self._http.post("/v1/chat/completions", json=body, timeout=max(1.0, timeout_s))
        except httpx.HTTPError as error:
            time.sleep(0.2)  # the process's end shows a moment after its connection's
            raise StartError(f"it failed at its first prompt ({type(error).__name__})") from error
        if answer.status_code != httpx.codes.OK:
            raise StartError(f"it refused its first prompt (status {answer.status_code})")

    def health(self) -> dict[str, Any] | None:
        """Return what the process says of itself, or None without an answer in time."""
        if self._http is None:
            return None
        try:
            return dict(self._http.get("/health", timeout=HEALTH_TIMEOUT_S).json())
        except (httpx.HTTPError, ValueError):
            return None

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
        """Return the memory that is this process's own share, swapped pages included; 0 once it has ended."""
        try:
            return self._held_bytes() // 2**20
        except psutil.NoSuchProcess:
            return 0

    def _held_bytes(self) -> int:
        try:
            usage = self._process.memory_full_info()
        except psutil.AccessDenied:  # some systems tell only this much
            return int(self._process.memory_info().rss)
        return int(getattr(usage, "pss", 0) + getattr(usage, "swap", 0) or usage.rss)

    def kill(self) -> int:
        """End the process at once and return its exit status; negative: the signal that had killed it before."""
        code = self.popen.poll()
        if code is None:
            self.popen.kill()
            self.popen.wait()
            code = 0
        if self._http is not None:
            self._http.close()
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
