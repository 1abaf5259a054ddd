"""The language model in a process of its own: a small OpenAI-compatible server around one GGUF file.

Started by ``engine/llama_server.py``, never by hand: ``python -P llama_worker.py``. The first line of standard input is the
configuration as JSON (key included, so that it is in no process list); when standard input ends, the parent is
gone and this process ends too. The first line of standard output says ``{"port": …}`` or ``{"error": "…"}``.

llama-cpp-python's own server was measured first (``tests/measurements/engine.md``): a prompt that it evaluates cannot
be cancelled, counting tokens waits behind the running reply, and a prompt that is too long closes the connection
without a word. This file does those three things, and nothing else that it does not need.

It imports nothing of this project, so that it starts in the time that loading the model takes.
"""

import codecs
import contextlib
import ctypes
import hmac
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psutil

SOCKET_TIMEOUT_S = 10.0  # a reader slower than this loses its place: the model is for the next patient
LOOK_EVERY_S = 0.03  # how often the client's socket is asked whether anybody is still there
COUNT_EVERY_S = 0.2
MAX_REQUEST_BYTES = 4 * 1024 * 1024
OUT_OF_MEMORY = 71  # exit status


Reply = Generator[tuple[str, str | None], None, None]


class Cancelled(Exception):
    """The client hung up."""


class FreeCores:
    """How many processors nobody else is using: what a computation should be spread over, and no more.

    Its threads wait for each other hundreds of times a token, spinning. On a core that something else uses too, the
    one that has to wait for its turn holds up all of them: two threads on two busy cores wrote a fifth as many tokens
    a second as one thread did.

    Args:
        most: Never more than this.
        least: Never fewer; the same number for one that never changes.
    """

    def __init__(self, most: int, least: int = 1) -> None:
        self._most = most
        self._least = least
        self._now = most
        self._look()

    def _look(self) -> None:
        self._looked_at, self._busy_s, self._own_s = time.monotonic(), self._busy(), time.process_time()

    def count(self) -> int:
        """Return the number for now; it looks at most every ``COUNT_EVERY_S``."""
        passed_s = time.monotonic() - self._looked_at
        if passed_s >= COUNT_EVERY_S:
            own_s = time.process_time() - self._own_s
            others = max(0.0, self._busy() - self._busy_s - own_s) / passed_s
            self._now = max(self._least, min(self._most, round((os.cpu_count() or 1) - others)))
            self._look()
        return self._now

    def _busy(self) -> float:
        """Return the seconds that all processors together have worked since the machine started."""
        times = psutil.cpu_times()
        return float(
            sum(times) - times.idle - sum(getattr(times, name, 0) for name in ("iowait", "guest", "guest_nice"))
        )


class Model:
    """One GGUF file, one context, one reply at a time."""

    def __init__(self, config: dict[str, Any]) -> None:
        import llama_cpp  # noqa: PLC0415 - after the watch on the parent is up
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter  # noqa: PLC0415

        self._api = llama_cpp
        if config["plain_kernels"]:
            _use_plain_kernels(llama_cpp)
        threads = config["threads"] or os.cpu_count() or 1
        self._llama = llama_cpp.Llama(
            config["model"],
            lora_path=config["lora"],
            n_ctx=config["context_tokens"],
            n_batch=config["batch_tokens"],
            n_ubatch=config["batch_tokens"],
            n_threads=threads,
            n_threads_batch=threads,
            verbose=False,
        )
        if config["lora"] and not self._llama._lora_adapter:  # a null pointer is not None to the library
            raise RuntimeError("the adapter could not be loaded")
        template = self._llama.metadata["tokenizer.chat_template"]
        # The file's own template, always: the library prefers a built-in look-alike when it thinks it knows one.
        self._formatter = Jinja2ChatFormatter(template, self._text_of("eos"), self._text_of("bos"))
        self._vocab = llama_cpp.llama_model_get_vocab(self._llama.model)
        self._gone: Callable[[], bool] = lambda: False
        self._cores = FreeCores(threads, least=config["threads"] or 1)
        self._threads = threads
        self._stop_evaluating = llama_cpp.llama_cpp.ggml_abort_callback(lambda _: self.look_up())
        self._never = llama_cpp.llama_cpp.ggml_abort_callback()

    def _text_of(self, kind: str) -> str:
        token = getattr(self._llama, f"token_{kind}")()
        return self._llama._model.token_get_text(token) if token != -1 else ""

    def prompt(self, messages: list[dict[str, str]]) -> list[int]:
        """Return the rendered messages as tokens, the start of the reply included."""
        rendered = self._formatter(messages=messages, enable_thinking=False)
        add_bos = not rendered.added_special
        return list(self._llama.tokenize(rendered.prompt.encode(), add_bos=add_bos, special=True))

    def count(self, text: str) -> int:
        """Return the text's length in tokens. Needs no turn: the vocabulary never changes."""
        return len(self._llama.tokenize(text.encode(), add_bos=False, special=False))

    def reply(self, request: dict[str, Any], gone: Callable[[], bool]) -> Reply:
        """Yield pieces of text, and at last an empty piece with the reason for the end.

        Raises:
            ValueError: The prompt and the reply together do not fit the context.
            Cancelled: ``gone`` said True, while evaluating the prompt or between two tokens.
        """
        tokens = self.prompt(request["messages"])
        limit = int(request.get("max_tokens") or 256)
        if len(tokens) + limit > self._llama.n_ctx():
            raise ValueError(f"{len(tokens)} + {limit} tokens exceed the context of {self._llama.n_ctx()}")
        if not request.get("cache_prompt", True):
            self._llama.reset()
        self._llama.set_seed(int(request.get("seed") or 0))
        self._gone = gone
        self.look_up()
        self._watch(self._stop_evaluating)
        text_of = codecs.getincrementaldecoder("utf-8")("replace")
        generation = self._llama.generate(
            tokens,
            temp=float(request.get("temperature") or 0.0),
            repeat_penalty=float(request.get("repeat_penalty") or 1.0),
        )
        last: list[int] = []
        try:
            for made, token in enumerate(self._until_cancelled(generation)):
                if made == 0:
                    self._watch(self._never)  # one token is quick, and asking at every step of it is not free
                if self._api.llama_vocab_is_eog(self._vocab, token):
                    yield text_of.decode(b"", final=True), None
                    yield "", "stop"
                    return
                if piece := text_of.decode(self._llama.detokenize([token], prev_tokens=last)):
                    yield piece, None
                last = [token]
                if made + 1 >= limit:
                    yield "", "length"
                    return
                if self.look_up():
                    raise Cancelled
        finally:
            generation.close()

    def look_up(self) -> bool:
        """Spread what is computed next over the cores that are free; return whether nobody waits for it."""
        if (threads := self._cores.count()) != self._threads:
            self._threads = threads
            self._api.llama_set_n_threads(self._llama.ctx, threads, threads)
        return self._gone()

    def _until_cancelled(self, generation: Iterator[int]) -> Iterator[int]:
        try:
            yield from generation
        except RuntimeError as error:
            if "returned 2" in str(error):  # llama_decode: aborted; whole batches before it stay good for the next one
                raise Cancelled from error
            raise

    def _watch(self, callback: Any) -> None:
        self._api.llama_cpp.llama_set_abort_callback(self._llama.ctx, callback, None)


def _use_plain_kernels(llama_cpp: Any) -> None:
    """Do without the processor's special matrix units, which some virtual machines announce but do not have."""
    defaults = llama_cpp.llama_cpp.llama_model_default_params

    def plain() -> Any:
        params = defaults()
        params.use_extra_bufts = False
        return params

    llama_cpp.llama_cpp.llama_model_default_params = llama_cpp.llama_model_default_params = plain


class Handler(BaseHTTPRequestHandler):
    """The few routes that the client uses."""

    model: Model
    key: str
    turn = threading.Lock()
    busy_since: float = 0.0
    protocol_version = "HTTP/1.1"
    timeout = 600  # seconds an idle connection may stay open

    def do_GET(self) -> None:
        """Say how it is; answered in the middle of a reply too."""
        if self.path != "/health":
            return self._json(404, {"error": {"message": "no such route"}})
        if Handler.turn.acquire(blocking=False):
            self.model.look_up()  # so that a reply starts on as many cores as are free by then
            Handler.turn.release()
        since = Handler.busy_since
        self._json(200, {"status": "ok", "busy_s": time.monotonic() - since if since else 0.0})
        return None

    def do_POST(self) -> None:
        """Answer one request."""
        length = int(self.headers.get("Content-Length") or 0)
        sent = (self.headers.get("Authorization") or "").encode()
        if length > MAX_REQUEST_BYTES or not hmac.compare_digest(sent, f"Bearer {self.key}".encode()):
            self.close_connection = True
            return self._json(401, {"error": {"message": "wrong key or too long"}})
        try:
            request = json.loads(self.rfile.read(length))
            match self.path:
                case "/v1/chat/completions":
                    self._stream(request)
                case "/extras/tokenize/count":
                    self._json(200, {"count": self.model.count(request["input"])})
                case "/extras/prompt":
                    self._json(200, {"tokens": self.model.prompt(request["messages"])})
                case _:
                    self._json(404, {"error": {"message": "no such route"}})
        except (ValueError, KeyError, TypeError) as error:
            self._json(400, {"error": {"message": type(error).__name__}})
        return None

    def _stream(self, request: dict[str, Any]) -> None:
        self.close_connection = True
        self.connection.settimeout(SOCKET_TIMEOUT_S)
        gone = _hung_up(self.connection)
        while not Handler.turn.acquire(timeout=LOOK_EVERY_S):
            if gone():
                return
        pieces = self.model.reply(request, gone)
        try:
            Handler.busy_since = time.monotonic()
            first = next(pieces)  # anything wrong with the request shows here, while a status can still be sent
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self._event(*first)
            for piece, reason in pieces:
                self._event(piece, reason)
            self.wfile.write(b"data: [DONE]\n\n")
        except (Cancelled, OSError):
            return
        finally:
            pieces.close()
            Handler.busy_since = 0.0
            Handler.turn.release()

    def _event(self, piece: str, reason: str | None) -> None:
        delta = {"content": piece} if piece else {}
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        self.wfile.write(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")

    def _json(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: what patients ask stays out of every log."""


class Server(ThreadingHTTPServer):
    """Quiet about clients that hang up."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report only what is not a lost connection."""
        error = sys.exc_info()[1]
        if isinstance(error, MemoryError) or "start new thread" in str(error):
            os._exit(OUT_OF_MEMORY)
        if not isinstance(error, OSError):
            super().handle_error(request, client_address)


def _hung_up(connection: socket.socket) -> Callable[[], bool]:
    """Return a function that says whether the client closed its end; it looks at most every ``LOOK_EVERY_S``."""
    next_look = 0.0
    gone = False

    def ask() -> bool:
        nonlocal next_look, gone
        if gone or time.monotonic() < next_look:
            return gone
        next_look = time.monotonic() + LOOK_EVERY_S
        try:
            if select.select([connection], [], [], 0)[0]:
                gone = connection.recv(1, socket.MSG_PEEK) == b""
        except (OSError, ValueError):
            gone = True
        return gone

    return ask


def end_with_parent(parent: int) -> None:
    """End this process when the parent ends, however it ends."""

    def watch() -> None:
        with contextlib.suppress(OSError, ValueError):
            while sys.stdin.buffer.read(4096):
                pass
        os._exit(0)

    if sys.platform == "linux":
        # Also reaches a process that is stopped; needs the starting thread to live as long as its process.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123 - no import
            file.write("500")  # out of memory: the model goes first, not the page
        if os.getppid() != parent:
            os._exit(0)
    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Load the model, say where it listens, serve until the parent ends."""
    config = json.loads(sys.stdin.buffer.readline())
    end_with_parent(config["parent"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the page, which then ends us
    if hasattr(os, "nice"):
        os.nice(config["niceness"])  # vetted text and the safety gate never wait for a model
    answer, sys.stdout = sys.stdout, sys.stderr
    try:
        Handler.model, Handler.key = Model(config), config["key"]
        server = Server(("127.0.0.1", 0), Handler)
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=answer, flush=True)
        return
    print(json.dumps({"port": server.server_address[1]}), file=answer, flush=True)
    server.serve_forever(poll_interval=0.5)


if __name__ == "__main__":
    main()
