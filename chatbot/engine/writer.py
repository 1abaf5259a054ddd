"""The Writer of the pipeline: drafts replies with any OpenAI-compatible server, on this machine or elsewhere.

page → queue → HTTP → model: a stop, a closed tab or a deadline at any of these frees all that come after it.
"""

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import httpx

from chatbot.engine.completions import LOOK_EVERY_S, Completions, Limits, ServerFailedError
from chatbot.engine.llama_child import Endpoint, ModelSpec
from chatbot.engine.llama_server import LlamaServer
from chatbot.engine.models import ChosenModel, chosen_model
from chatbot.engine.queueing import FairQueue, Place
from chatbot.engine.remote import RemoteServers
from chatbot.errors import GenerationError, HealthFaqError
from chatbot.prompting import MAX_REPLY_TOKENS, Message, build_messages
from chatbot.reply import Waiting
from chatbot.settings import EngineSettings

SEED = 20261123
COUNT_WAIT_S = 3.0  # for a model that is just starting
ESTIMATE_FOR_S = 5.0

# What chat formats mark their turns with. In a patient's or a passage's text it is only ever an attack or an accident.
_TURN_MARKS = re.compile(
    r"<\|[^|<>\s]{1,40}\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|<\|?turn\|?>|<｜[^<>]{1,40}｜>",
    re.IGNORECASE,
)


class Servers(Protocol):
    """Where drafts can be had; see ``engine/llama_server.py`` and ``engine/remote.py``."""

    @property
    def several(self) -> bool:
        """Whether another server can go on where one broke off."""

    @property
    def unavailable(self) -> str:
        """Why there is none now, in one line; empty when there is one or one is starting."""

    def acquire(self, timeout_s: float, stopped: Callable[[], bool]) -> Endpoint:
        """Return a server that should answer, or raise GenerationError."""

    def release(self, endpoint: Endpoint, *, failed: bool = False) -> None:
        """Give it back, and say whether it let us down."""

    def close(self) -> None:
        """Let go of everything."""


class Engine:
    """Drafts replies one after another for each slot of its servers (a Writer). Safe to use from many threads.

    Args:
        name: The model's name and sha256 prefix.
        servers: Where drafts can be had.
        places: The queue in front of them.
        deadline_s: A draft that is not finished after so long fails.
        model: The name sent to the servers.
        control_tokens: Texts that the tokenizer would take for more than text.
        options: Further fields of each request.
        counts_tokens: Whether the servers have ``/extras/tokenize/count``.
        silence_s: A server that says nothing for so long counts as failed; for servers that nobody else watches.
    """

    def __init__(
        self,
        name: str,
        servers: Servers,
        places: FairQueue,
        *,
        deadline_s: float = 30,
        model: str = "default",
        control_tokens: Sequence[str] = (),
        options: dict[str, Any] | None = None,
        counts_tokens: bool = False,
        silence_s: float = float("inf"),
    ) -> None:
        self._name = name
        self._servers = servers
        self.places = places
        self._deadline_s = deadline_s
        self._silence_s = silence_s
        self._request = {
            "model": model,
            "stream": True,
            "temperature": 0,
            "seed": SEED,
            "max_tokens": MAX_REPLY_TOKENS,
            **(options or {}),
        }
        self._control_tokens = _any_of(control_tokens)
        self._counts_tokens = counts_tokens
        self._estimate_until = 0.0
        self._count = lru_cache(maxsize=8192)(self._count_by_server)
        self._http = Completions()

    @property
    def name(self) -> str | None:
        """The model's name and sha256 prefix, or None when there is no model now."""
        return None if self.unavailable else self._name

    @property
    def unavailable(self) -> str:
        """Why there is no model now, in one line; empty when there is one or one is starting."""
        return self._servers.unavailable

    def count_tokens(self, text: str) -> int:
        """Return how many tokens the text has for this model; a safe overestimate where nobody can say."""
        if self._counts_tokens and time.monotonic() >= self._estimate_until:
            try:
                return self._count(text)
            except (GenerationError, httpx.HTTPError, TimeoutError, ValueError, KeyError):
                self._estimate_until = time.monotonic() + ESTIMATE_FOR_S  # one wait is enough for a whole prompt
        return estimate_tokens(text)

    def _count_by_server(self, text: str) -> int:
        endpoint = self._servers.acquire(COUNT_WAIT_S, lambda: False)
        try:
            return int(self._http.post(endpoint, "/extras/tokenize/count", {"input": text})["count"])
        finally:
            self._servers.release(endpoint)

    def draft(
        self, messages: list[Message], stopped: Callable[[], bool], *, patient: str = ""
    ) -> Iterator[str | Waiting]:
        """Yield this reply's place in the queue each time it changes, then pieces of the model's text.

        It ends normally only when the model itself came to the end.

        Args:
            messages: What ``prompting.build_messages`` made.
            stopped: Asked all the time; once it says True the draft ends with an error and the model is free.
            patient: Whoever asks, for the limit on each.

        Raises:
            GenerationError: No place, no model, stopped, too slow, or whatever else leaves the text unfinished.
        """
        deadline = time.monotonic() + self._deadline_s
        limits = Limits(deadline, stopped, self._silence_s)
        request = {**self._request, "messages": self._as_mere_text(messages)}
        with self.places.enter(patient=patient, patience_s=self._deadline_s) as place:
            yield from _waits(place, limits)
            yield from self._written(request, limits)

    def _as_mere_text(self, messages: list[Message]) -> list[Message]:
        return [{**message, "content": self._without_marks(message["content"])} for message in messages]

    def _without_marks(self, text: str) -> str:
        text = _TURN_MARKS.sub(" ", text)
        return self._control_tokens.sub(" ", text) if self._control_tokens else text

    def _written(self, request: dict[str, Any], limits: Limits) -> Iterator[str]:
        """Yield the text of the first server that finishes it, going on elsewhere where one breaks off."""
        sent = ""
        for _ in range(3):
            endpoint = self._servers.acquire(limits.left_s, limits.stopped)
            failed = False
            try:
                for piece in _beyond(sent, self._http.stream(endpoint, request, limits)):
                    sent += piece
                    yield piece
                return
            except ServerFailedError:
                failed = True
                if sent and not self._servers.several:
                    raise
            finally:
                self._servers.release(endpoint, failed=failed)
        raise GenerationError("no server finished the reply")

    def close(self) -> None:
        """End everything that was started for this writer."""
        self._servers.close()
        self._http.close()


class Unavailable:
    """A Writer without a model: every draft fails with the reason, and the page works with vetted text alone."""

    name = None

    def __init__(self, reason: str) -> None:
        self.unavailable = reason

    def count_tokens(self, text: str) -> int:
        """Return a safe overestimate."""
        return estimate_tokens(text)

    def draft(
        self, messages: list[Message], stopped: Callable[[], bool], *, patient: str = ""
    ) -> Iterator[str | Waiting]:
        """Raise the reason.

        Raises:
            GenerationError: Always.
        """
        raise GenerationError(self.unavailable)
        yield ""

    def close(self) -> None:
        """Nothing to end."""


def start_writer(settings: EngineSettings, state: Path) -> Engine | Unavailable:
    """Return the writer that the settings ask for. Never raises for a model that cannot be used, and never waits.

    Args:
        settings: How the model is run.
        state: The folder where `healthfaq model use` recorded its choice.
    """
    try:
        if settings.urls:
            return _remote_engine(settings)
        return local_engine(chosen_model(settings.model, settings.lora, state), settings)
    except HealthFaqError as error:
        return Unavailable(str(error))


def local_engine(model: ChosenModel, settings: EngineSettings) -> Engine:
    """Return an engine around a checked model file; its process starts in the background."""
    spec = ModelSpec(
        model.path,
        model.lora,
        threads=settings.threads,
        context_tokens=settings.context_tokens,
        batch_tokens=settings.batch_tokens,
        memory_limit_mib=settings.memory_limit_mib,
    )
    # Every prompt starts like one without passages.
    warm_up = build_messages("", [])
    servers = LlamaServer(spec, start_timeout_s=settings.start_timeout_s, warm_up=warm_up)
    places = FairQueue(slots=1, length=settings.queue_length, per_patient=settings.queue_per_patient)
    return Engine(
        model.name,
        servers,
        places,
        deadline_s=settings.reply_timeout_s,
        control_tokens=model.control_tokens,
        counts_tokens=True,
    )


def _remote_engine(settings: EngineSettings) -> Engine:
    places = FairQueue(slots=1, length=settings.queue_length, per_patient=settings.queue_per_patient)
    servers = RemoteServers(
        settings.urls, key=os.environ.get(settings.key_variable, ""), slots=settings.slots, on_capacity=places.resize
    )
    return Engine(
        f"{settings.remote_model} (remote)",
        servers,
        places,
        deadline_s=settings.reply_timeout_s,
        model=settings.remote_model,
        options=settings.remote_options,
        silence_s=settings.reply_timeout_s / 3,
    )


def estimate_tokens(text: str) -> int:
    """Return a count that real tokenizers stay below for nearly all text: a third of its UTF-8 bytes, rounded up."""
    return -(-len(text.encode()) // 3)


def _any_of(texts: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(re.escape(text) for text in texts)) if texts else None


def _waits(place: Place, limits: Limits) -> Iterator[Waiting]:
    """Yield how many replies come first, each time that changes; nothing when it is this one's turn at once."""
    told, pause_s = 0, 0.0
    while not place.called.wait(pause_s):
        pause_s = LOOK_EVERY_S
        if (before := place.before) != told:
            yield Waiting(before)
        told = before
        limits.check()
    if told:
        yield Waiting(0)


def _beyond(sent: str, pieces: Iterator[str]) -> Iterator[str]:
    """Yield what comes after ``sent``, which the same prompt gave on another server.

    Raises:
        GenerationError: This server says something else.
    """
    again = ""
    for piece in pieces:
        if len(again) >= len(sent):
            yield piece
            continue
        again += piece
        if not (again.startswith(sent) or sent.startswith(again)):
            raise GenerationError("another server went on differently")
        if len(again) > len(sent):
            yield again[len(sent) :]
