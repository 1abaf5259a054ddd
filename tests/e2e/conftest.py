"""Real server processes, a real browser, and a stand-in for a model server that writes what a test tells it to."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, Page, expect, sync_playwright

PROJECT = Path(__file__).resolve().parents[2]
ARTEFACTS = PROJECT / "artefacts"
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
CHROMIUM_ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@dataclass
class StandInModel:
    """An OpenAI-compatible server on loopback. ``pieces`` are streamed with a pause before each."""

    pieces: list[str] = field(default_factory=list)
    pause_s: float = 0.0
    asked: int = 0
    hung_up: int = 0  # replies whose reader went away before the end
    open: int = 0
    url: str = ""

    def start(self) -> ThreadingHTTPServer:
        model = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if not self.path.endswith("/chat/completions"):
                    self.send_error(404)
                    return
                model.asked += 1
                model.open += 1
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                try:
                    for piece in list(model.pieces):
                        time.sleep(model.pause_s)
                        self._send({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
                    self._send({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
                    self.wfile.write(b"data: [DONE]\n\n")
                except OSError:
                    model.hung_up += 1
                finally:
                    model.open -= 1
                    self.close_connection = True

            def _send(self, chunk: dict[str, object]) -> None:
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                self.wfile.flush()

            def log_message(self, *arguments: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        return server


@pytest.fixture(scope="session")
def stand_in() -> Iterator[StandInModel]:
    model = StandInModel()
    server = model.start()
    yield model
    server.shutdown()


@pytest.fixture(autouse=True)
def quiet_stand_in(stand_in: StandInModel) -> None:
    """Let every test start with a model that writes nothing."""
    stand_in.pieces, stand_in.pause_s = [], 0.0


@dataclass(frozen=True)
class Served:
    """A running ``healthfaq serve``."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    staff_url: str = ""

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """Return a function that starts a server with these settings and waits until its page is there."""
    started: list[Served] = []
    state = tmp_path_factory.mktemp("state")  # shared, so that the index is built once

    def start(*, arguments: tuple[str, ...] = (), port: int | None = None, **settings: object) -> Served:
        folder = tmp_path_factory.mktemp("serve")
        port, staff_port = port or free_port(), free_port()
        chosen = {"knowledge": str(PROJECT / "knowledge"), "state": str(state), "port": port, "staff_port": staff_port}
        chosen |= settings
        (folder / "settings.yaml").write_text(yaml.safe_dump(chosen), encoding="utf-8")
        command = [sys.executable, "-m", "chatbot", "serve", "--settings", str(folder / "settings.yaml"), *arguments]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, env=_environment())
        served = Served(f"http://127.0.0.1:{port}", process, folder / "log", f"http://127.0.0.1:{staff_port}")
        started.append(served)
        _wait_until_up(served)
        return served

    yield start
    for served in started:
        served.process.terminate()
    for served in started:
        try:
            served.process.wait(15)
        except subprocess.TimeoutExpired:
            served.process.kill()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(PROJECT), "NO_PROXY": "127.0.0.1"}


def _wait_until_up(served: Served) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        if served.process.poll() is not None:
            raise AssertionError(f"serve ended with {served.process.returncode}:\n{served.output()}")
        try:
            with urllib.request.urlopen(served.url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"serve did not come up:\n{served.output()}")


@pytest.fixture(scope="session")
def verbatim(serve: Callable[..., Served]) -> Served:
    """Return a server without a model."""
    return serve(mode="verbatim")


@pytest.fixture(scope="session")
def guided(serve: Callable[..., Served], stand_in: StandInModel) -> Served:
    """Return a server whose model is the stand-in."""
    return serve(engine={"urls": [stand_in.url], "reply_timeout_s": 20})


expect.set_options(timeout=20_000)  # a busy machine is slow, not wrong


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine; install Debian's package chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Return an empty page that notes outside requests and script errors, and leaves a screenshot behind."""
    context = browser.new_context(viewport={"width": 820, "height": 1180})
    page = context.new_page()
    outside: list[str] = []
    errors: list[str] = []
    page.on("request", lambda r: None if _is_own(r.url) else outside.append(r.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{request.node.name}.png", full_page=True)
    context.close()
    assert outside == [], "the page asked another host"
    assert errors == [], "a script of the page failed"


def _is_own(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "data:", "blob:", "about:"))
