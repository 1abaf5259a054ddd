import os
import socket
import subprocess
import sys
import time
from collections import namedtuple

import pytest

from chatbot.engine import llama_worker
from chatbot.engine.llama_worker import FreeCores

pytestmark = pytest.mark.unit


class Clock:
    """A machine's clocks, set by hand."""

    def __init__(self) -> None:
        self.now = self.own = self.busy = 0.0

    def monotonic(self) -> float:
        return self.now

    def process_time(self) -> float:
        return self.own

    def pass_second(self, *, own: float, others: float) -> None:
        self.now += 1
        self.own += own
        self.busy += own + others


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(llama_worker, "time", clock)
    monkeypatch.setattr(FreeCores, "_busy", lambda self: clock.busy)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    return clock


def test_alone_it_takes_all_it_may(clock: Clock):
    cores = FreeCores(3)
    clock.pass_second(own=3, others=0.1)
    assert cores.count() == 3


@pytest.mark.parametrize(("others", "left"), [(0.3, 4), (1.0, 3), (2.2, 2), (3.9, 1), (4.0, 1)])
def test_it_leaves_the_cores_that_others_use(clock: Clock, others: float, left: int):
    cores = FreeCores(4)
    clock.pass_second(own=4 - others, others=others)
    assert cores.count() == left


def test_a_number_that_was_set_stays(clock: Clock):
    cores = FreeCores(2, least=2)
    clock.pass_second(own=1, others=3)
    assert cores.count() == 2


def test_it_comes_back_when_the_others_have_gone(clock: Clock):
    cores = FreeCores(4)
    clock.pass_second(own=1, others=3)
    assert cores.count() == 1
    clock.pass_second(own=1, others=0)
    assert cores.count() == 4


def test_it_does_not_look_at_every_token(clock: Clock):
    cores = FreeCores(4)
    clock.now += llama_worker.COUNT_EVERY_S / 2
    clock.busy += 4
    assert cores.count() == 4


def test_a_client_that_hangs_up_is_noticed_and_one_that_is_quiet_is_not():
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        connection, _ = server.accept()
        gone = llama_worker._hung_up(connection)
        assert not gone()
        client.close()
        deadline = time.monotonic() + 5
        while not gone() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert gone()
        connection.close()


def test_without_a_parent_there_is_no_worker():
    """A worker whose parent ended before it came up ends as well, at whatever it was doing."""
    config = b'{"parent": 1, "key": "k", "model": "none.gguf"}\n'
    worker = subprocess.Popen(
        [sys.executable, "-P", llama_worker.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    out, _ = worker.communicate(config, timeout=30)
    assert out == b"" or b"error" in out
    assert worker.returncode == 0


def test_waiting_for_a_disk_is_not_work(monkeypatch: pytest.MonkeyPatch):
    times = namedtuple("times", "user system idle iowait")(10.0, 5.0, 100.0, 3.0)
    monkeypatch.setattr(llama_worker.psutil, "cpu_times", lambda: times)
    assert FreeCores(2)._busy() == 15.0
