"""A stand-in for an OpenAI-compatible server on loopback: it says what a test scripted, and remembers who asked."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Script = Callable[["Connection"], None]


class Connection:
    """One request, and how it is answered."""

    def __init__(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        self._handler = handler
        self.body = body
        self.headers = handler.headers

    def status(self, status: int, content_type: str = "text/event-stream") -> None:
        self._handler.send_response(status)
        self._handler.send_header("Content-Type", content_type)
        self._handler.end_headers()

    def raw(self, content: bytes) -> None:
        self._handler.wfile.write(content)
        self._handler.wfile.flush()

    def say(self, text: str) -> None:
        self.raw(event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}))

    def end(self, reason: str = "stop") -> None:
        self.raw(event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}) + b"data: [DONE]\n\n")


def event(content: object) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def says(*pieces: str, pause_s: float = 0.0, reason: str = "stop") -> Script:
    """Return a script that says the pieces and ends."""

    def script(connection: Connection) -> None:
        connection.status(200)
        for piece in pieces:
            connection.say(piece)
            time.sleep(pause_s)
        connection.end(reason)

    return script


class StandIn:
    """The server; ``script`` may be changed while it runs."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.hung_up = threading.Event()
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stand_in.requests.append(body)
                stand_in.keys.append(self.headers.get("Authorization"))
                try:
                    stand_in.script(Connection(self, body))
                except OSError:
                    stand_in.hung_up.set()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=lambda: self._server.serve_forever(0.01), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def stand_in(script: Script) -> Iterator[StandIn]:
    server = StandIn(script)
    try:
        yield server
    finally:
        server.close()
