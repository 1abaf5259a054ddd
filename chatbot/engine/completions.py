"""A client for streamed chat completions: any OpenAI-compatible server, cancelled at any moment, nothing unbounded."""

import asyncio
import json
import logging
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from typing import Any

import httpx

from chatbot.engine.llama_child import Endpoint
from chatbot.errors import GenerationError
from chatbot.prompting import MAX_REPLY_TOKENS

LOOK_EVERY_S = 0.05
PIECES_AHEAD = 32  # how far a server may run ahead of the reader
MAX_PIECES = 4 * MAX_REPLY_TOKENS  # a server that ignores the limit is cut off here
MAX_LINE_BYTES = 64 * 1024
CONNECT_TIMEOUT_S = 3.0
# These say something about the server, not about the request: another server may well answer.
ANOTHER_MAY_ANSWER = (401, 403, 404, 408, 429)

Pieces = queue.Queue[str | Exception | None]

logging.getLogger("httpx").setLevel(logging.WARNING)  # else a line for every request


class ServerFailedError(GenerationError):
    """This server let us down; another might not."""


class Limits:
    """What ends a draft early.

    Args:
        deadline: On the monotonic clock, in seconds.
        stopped: Whether the patient wants no more of it.
        silence_s: A server that says nothing for so long counts as failed.
    """

    def __init__(self, deadline: float, stopped: Callable[[], bool], silence_s: float = float("inf")) -> None:
        self.deadline = deadline
        self.stopped = stopped
        self.silence_s = silence_s

    @property
    def left_s(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    def check(self) -> None:
        """Raise GenerationError when the draft must end."""
        if self.stopped():
            raise GenerationError("stopped")
        if self.left_s <= 0:
            raise GenerationError("the model took too long")


class Completions:
    """Requests on an event loop of their own, so that each can be cancelled at any moment."""

    def __init__(self) -> None:
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="engine-http", daemon=True)
        self._thread.start()
        # No proxy of the environment: the loopback address is nobody else's business.
        self._client = httpx.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S, write=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=None),
        )

    def post(self, endpoint: Endpoint, path: str, body: dict[str, Any], *, timeout_s: float = 2.0) -> dict[str, Any]:
        """Return the JSON answer to a short request."""

        async def ask() -> dict[str, Any]:
            url, headers = endpoint.url + path, _headers(endpoint)
            answer = await self._client.post(url, json=body, headers=headers, timeout=timeout_s)
            return dict(answer.raise_for_status().json())

        if self._closed:
            raise GenerationError("closed")
        return asyncio.run_coroutine_threadsafe(ask(), self._loop).result(timeout_s + 1)

    def stream(self, endpoint: Endpoint, request: dict[str, Any], limits: Limits) -> Iterator[str]:
        """Yield the pieces of one reply.

        Raises:
            GenerationError: Stopped, too late, cut at the token limit, or (``ServerFailedError``) the server broke off.
        """
        pieces: Pieces = queue.Queue(PIECES_AHEAD)
        task: Future[None] = asyncio.run_coroutine_threadsafe(self._pump(endpoint, request, pieces), self._loop)
        try:
            heard_at = time.monotonic()
            while True:
                limits.check()
                if self._closed:
                    raise GenerationError("closed")
                try:
                    piece = pieces.get(timeout=LOOK_EVERY_S)
                except queue.Empty:
                    if time.monotonic() - heard_at > limits.silence_s:
                        raise ServerFailedError("the model's server fell silent") from None
                    continue
                heard_at = time.monotonic()
                if piece is None:
                    return
                if isinstance(piece, Exception):
                    raise piece
                yield piece
        finally:
            task.cancel()

    async def _pump(self, endpoint: Endpoint, request: dict[str, Any], pieces: Pieces) -> None:
        end: Exception | None = None
        try:
            async for piece in self._pieces(endpoint, request):
                await _put(pieces, piece)
        except GenerationError as error:
            end = error
        except (httpx.HTTPError, OSError) as error:
            end = ServerFailedError(f"the model's server broke off ({type(error).__name__})")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            end = ServerFailedError("the model's server answered something else than a reply")
        await _put(pieces, end)

    async def _pieces(self, endpoint: Endpoint, request: dict[str, Any]) -> AsyncIterator[str]:
        url = f"{endpoint.url}/v1/chat/completions"
        async with self._client.stream("POST", url, json=request, headers=_headers(endpoint)) as answer:
            if (status := answer.status_code) != httpx.codes.OK:
                elsewhere = status >= 500 or status in ANOTHER_MAY_ANSWER
                raise (ServerFailedError if elsewhere else GenerationError)(f"the model's server refused ({status})")
            count = 0
            async for event in _events(answer):
                choice = event["choices"][0] if event["choices"] else {}
                if text := choice.get("delta", {}).get("content"):
                    if not isinstance(text, str):
                        raise TypeError
                    yield text
                    count += 1
                reason = choice.get("finish_reason")
                if reason == "length" or count > MAX_PIECES:
                    raise GenerationError("the reply was cut at its longest")
                if reason:
                    return
            raise ServerFailedError("the reply broke off")

    def close(self) -> None:
        """End the loop; drafts under way fail."""
        if self._closed:
            return
        self._closed = True
        asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop).result(timeout=5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)


async def _put(pieces: Pieces, piece: str | Exception | None) -> None:
    while True:
        try:
            return pieces.put_nowait(piece)
        except queue.Full:  # the reader is slow, so the server must wait: back-pressure up to the model
            await asyncio.sleep(0.01)


async def _events(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """Yield the JSON of each server-sent event; a line without an end is refused, not collected."""
    rest = b""
    async for chunk in answer.aiter_bytes():
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            raise ValueError("a line without end")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            if (content := line[5:].strip()) == b"[DONE]":
                return
            yield json.loads(content)


def _headers(endpoint: Endpoint) -> dict[str, str]:
    return {"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {}
