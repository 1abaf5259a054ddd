"""A stand-in for an OpenAI-compatible server on loopback, and an engine in front of it.

It says what a test scripted, and remembers who asked.
"""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from loopback import Loopback, QuietHandler

from chatbot.engine.queueing import FairQueue
from chatbot.engine.remote import RemoteServers
from chatbot.engine.writer import Engine, Unavailable
from chatbot.errors import GenerationError
from chatbot.reply import Waiting

MESSAGES = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Fever?"}]

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


class StandIn(Loopback):
    """The server; ``script`` may be changed while it runs."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.hung_up = threading.Event()
        stand_in = self

        class Handler(QuietHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stand_in.requests.append(body)
                stand_in.keys.append(self.headers.get("Authorization"))
                try:
                    stand_in.script(Connection(self, body))
                except OSError:
                    stand_in.hung_up.set()

        super().__init__(Handler)


@contextmanager
def engine_for(
    *servers: StandIn | str,
    slots: int = 1,
    length: int = 10,
    deadline_s: float = 5,
    key: str = "",
    silence_s: float = 5,
    per_patient: int = 0,
    control_tokens: tuple[str, ...] = (),
) -> Iterator[Engine]:
    places = FairQueue(slots=1, length=length, per_patient=per_patient)
    urls = [server if isinstance(server, str) else server.url for server in servers]
    remote = RemoteServers(urls, key=key, slots=slots, on_capacity=places.resize)
    engine = Engine(
        "a model", remote, places, deadline_s=deadline_s, silence_s=silence_s, control_tokens=control_tokens
    )
    try:
        yield engine
    finally:
        engine.close()


def never() -> bool:
    return False


def refusing_url() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def read(engine: Engine | Unavailable, stopped: Callable[[], bool] = never) -> tuple[str, str]:
    """Return the draft's text, and the error it ended with."""
    text = ""
    try:
        for piece in engine.draft(MESSAGES, stopped):
            text += "" if isinstance(piece, Waiting) else piece
    except GenerationError as error:
        return text, str(error)
    return text, ""


def read_at_once(engine: Engine, count: int, meanwhile: Callable[[], None] = lambda: None) -> list[tuple[str, str]]:
    """Return what so many patients read who ask at the same moment."""
    results: list[tuple[str, str]] = []
    threads = [threading.Thread(target=lambda: results.append(read(engine))) for _ in range(count)]
    for thread in threads:
        thread.start()
    meanwhile()
    for thread in threads:
        thread.join(15)
    return results


def slow(connection: Connection) -> None:
    """A script that goes on for 20 seconds."""
    connection.status(200)
    for _ in range(1000):
        connection.say("word ")
        time.sleep(0.02)
