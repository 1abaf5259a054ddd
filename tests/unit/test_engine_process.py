import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from loopback import eventually

from chatbot.engine import llama_server
from chatbot.engine.llama_child import ModelSpec
from chatbot.engine.llama_server import LlamaServer
from chatbot.errors import GenerationError

pytestmark = pytest.mark.unit

STAND_IN = Path(__file__).with_name("engine_worker_stand_in.py")
WARM_UP = [{"role": "user", "content": "hello"}]
posix = pytest.mark.skipif(os.name != "posix", reason="signals")


def never() -> bool:
    return False


@contextmanager
def server_that(
    wrong: str, folder: Path, *, start_timeout_s: float = 20, memory_limit_mib: int = 0
) -> Iterator[LlamaServer]:
    spec = ModelSpec(folder / f"{wrong}.gguf", memory_limit_mib=memory_limit_mib)
    server = LlamaServer(spec, start_timeout_s=start_timeout_s, warm_up=WARM_UP, worker=STAND_IN)
    try:
        yield server
    finally:
        server.close()


def starts(folder: Path) -> list[str]:
    return [word for file in folder.glob("*.gguf") for word in file.read_text().split()]


def asked(server: LlamaServer, path: str = "/count") -> int:
    endpoint = server.acquire(20, never)
    try:
        headers = {"Authorization": f"Bearer {endpoint.key}"}
        return httpx.post(endpoint.url + path, json={}, headers=headers, timeout=10).status_code
    finally:
        server.release(endpoint)


def test_it_starts_in_the_background_and_answers_with_its_key_alone(tmp_path):
    with server_that("works", tmp_path) as server:
        assert asked(server) == 200
        assert httpx.post(server.acquire(5, never).url, json={}, timeout=5).status_code == 401
        assert server.state == "ready"


def test_the_key_is_in_no_process_list_and_no_environment(tmp_path):
    with server_that("works", tmp_path) as server:
        endpoint = server.acquire(20, never)
        process = psutil.Process(server.pid)
        assert endpoint.key not in " ".join(process.cmdline())
        assert endpoint.key not in str(process.environ())


def test_secrets_of_the_environment_are_not_handed_on(tmp_path, monkeypatch):
    monkeypatch.setenv("HEALTHFAQ_API_KEY", "secret-of-the-clinic")
    with server_that("works", tmp_path) as server:
        server.acquire(20, never)
        assert "secret-of-the-clinic" not in str(psutil.Process(server.pid).environ())


def test_closing_ends_the_process_and_whoever_waits_is_told(tmp_path):
    with server_that("works", tmp_path) as server:
        server.acquire(20, never)
        pid = server.pid
    assert not psutil.pid_exists(pid)
    with pytest.raises(GenerationError, match="closed"):
        server.acquire(5, never)


@posix
def test_a_killed_process_is_started_again_and_the_next_one_waits_for_it(tmp_path):
    with server_that("works", tmp_path) as server:
        server.acquire(20, never)
        os.kill(server.pid, signal.SIGKILL)
        assert eventually(lambda: len(starts(tmp_path)) == 2)
        assert asked(server) == 200


@posix
def test_a_frozen_process_is_replaced(tmp_path):
    with server_that("works", tmp_path) as server:
        endpoint = server.acquire(20, never)
        frozen = server.pid
        os.kill(frozen, signal.SIGSTOP)
        start = time.monotonic()
        server.release(endpoint)
        assert eventually(lambda: server.pid not in (frozen, None))
        assert time.monotonic() - start < 5
        assert asked(server) == 200
        assert not psutil.pid_exists(frozen)


def test_a_process_that_does_not_answer_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(llama_server, "MISSED_LIMIT", 1)
    with server_that("deaf", tmp_path) as server:
        assert eventually(lambda: len(starts(tmp_path)) == 2)
        assert asked(server) == 200


def test_a_process_that_gets_no_more_memory_is_replaced_although_it_says_that_it_is_well(tmp_path):
    with server_that("starved", tmp_path) as server:
        endpoint = server.acquire(20, never)
        with pytest.raises(httpx.HTTPError):
            httpx.post(
                endpoint.url + "/starve", json={}, headers={"Authorization": f"Bearer {endpoint.key}"}, timeout=8
            )
        server.release(endpoint)
        assert eventually(lambda: len(starts(tmp_path)) == 2, 4)
        assert asked(server) == 200


def test_a_process_that_computes_for_nobody_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(llama_server, "STUCK_S", 0.3)
    with server_that("stuck", tmp_path) as server:
        assert eventually(lambda: len(starts(tmp_path)) == 2)
        assert asked(server) == 200


def test_a_process_that_grew_is_replaced_once_it_is_idle(tmp_path, monkeypatch):
    monkeypatch.setattr(llama_server, "MEMORY_EVERY_S", 0.2)
    with server_that("works", tmp_path, memory_limit_mib=150) as server:
        endpoint = server.acquire(20, never)
        headers = {"Authorization": f"Bearer {endpoint.key}"}
        httpx.post(endpoint.url + "/grow", json={}, headers=headers, timeout=20)
        time.sleep(0.6)
        assert len(starts(tmp_path)) == 1  # somebody is being served
        server.release(endpoint)
        assert eventually(lambda: len(starts(tmp_path)) == 2)
        assert asked(server) == 200


@posix
def test_a_processor_that_promises_too_much_gets_plain_kernels(tmp_path):
    with server_that("crashes", tmp_path) as server:
        assert asked(server) == 200
        assert starts(tmp_path) == ["usual", "plain"]
        os.kill(server.pid, signal.SIGKILL)
        assert eventually(lambda: len(starts(tmp_path)) == 3)
        assert starts(tmp_path)[-1] == "plain"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("dies", "died while loading (no such instruction)"),
        ("refuses", "ValueError: unknown architecture"),
        ("hangs", "took too long to load"),
    ],
)
def test_a_process_that_cannot_start_leaves_one_line_and_a_model_that_is_unavailable(
    tmp_path, monkeypatch, wrong: str, reason: str
):
    monkeypatch.setattr(llama_server, "FIRST_PAUSE_S", 0.01)
    with server_that(wrong, tmp_path, start_timeout_s=0.4 if wrong == "hangs" else 20) as server:
        assert eventually(lambda: server.state == "unavailable")
        assert reason in server.reason
        assert "\n" not in server.reason
        start = time.monotonic()
        with pytest.raises(GenerationError, match="unavailable"):
            server.acquire(30, never)
        assert time.monotonic() - start < 1


@posix
def test_one_that_always_crashes_is_given_up_with_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(llama_server, "FIRST_PAUSE_S", 0.01)
    with server_that("always-crashes", tmp_path) as server:
        assert eventually(lambda: server.state == "unavailable")
        assert "first prompt" in server.reason


def test_a_patient_who_leaves_does_not_wait_for_the_start(tmp_path):
    with server_that("hangs", tmp_path) as server:
        start = time.monotonic()
        with pytest.raises(GenerationError, match="not ready in time"):
            server.acquire(30, lambda: True)
        assert time.monotonic() - start < 1


PARENT = """
import sys, time
from pathlib import Path
from chatbot.engine.llama_child import ModelSpec
from chatbot.engine.llama_server import LlamaServer
server = LlamaServer(ModelSpec(Path(sys.argv[1])), worker=Path(sys.argv[2]))
server.acquire(20, lambda: False)
print(server.pid, flush=True)
time.sleep(60)
"""


@posix
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_process_ends_with_its_parent_however_that_ends(tmp_path, how: signal.Signals):
    project = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", PARENT, str(tmp_path / "works.gguf"), str(STAND_IN)]
    parent = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=project,
        # A shell's background jobs ignore Ctrl+C, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    child = int(parent.stdout.readline())
    os.kill(parent.pid, how)
    parent.wait(10)
    assert eventually(lambda: not psutil.pid_exists(child), 5)
