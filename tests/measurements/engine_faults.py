"""What the engine survives. ``python tests/measurements/engine_faults.py [--fault NAME]``; figures in engine.md."""

import argparse
import os
import signal
import threading
import time
from collections.abc import Callable

import psutil
from engine_common import PROJECT, STATE, never, ready, started, timed

from chatbot.engine.models import EMBEDDED
from chatbot.engine.writer import Engine, start_writer
from chatbot.errors import GenerationError
from chatbot.knowledge import load_knowledge
from chatbot.prompting import Message, Passage, build_messages
from chatbot.settings import EngineSettings

POINTS = ("before the prompt", "in the prompt", "at the first word", "after 20 words", "at the end")


def faults(model: str, deadline_s: float, only: str) -> None:
    """Print for each fault and point how the draft ended, after how long, and when the next one was guided again."""
    print("| fault | point | pieces before | ended after s | with | next reply guided after s |")
    (prompt, other) = _short_prompts()
    for name, act in (("killed", _kill), ("frozen", _freeze), ("out of memory", _starve)):
        for point in POINTS if only in ("", name) else ():
            with started(model, reply_timeout_s=deadline_s) as engine:
                ready(engine)
                whole = timed(engine.draft(other, never))[2]
                _one_fault(name, point, engine, prompt, act, whole)
    for name in ("slow", "garbage", "refusing"):
        for point in POINTS if only in ("", name) else ():
            _scripted_fault(name, point, prompt, deadline_s)


def _short_prompts() -> tuple[list[Message], list[Message]]:
    answers = sorted(load_knowledge(PROJECT / "knowledge").answers.values(), key=lambda answer: len(answer.text))
    first, second = (build_messages(a.questions[0], [Passage(a.id, a.title, a.text)]) for a in answers[:2])
    return first, second


def _kill(engine: Engine) -> None:
    os.kill(_pid(engine), signal.SIGKILL)


def _freeze(engine: Engine) -> None:
    os.kill(_pid(engine), signal.SIGSTOP)


def _starve(engine: Engine) -> None:
    # No byte more than it holds now: whatever it asks for next fails.
    process = psutil.Process(_pid(engine))
    held = process.memory_info().vms
    process.rlimit(psutil.RLIMIT_AS, (held, held))


def _pid(engine: Engine) -> int:
    pid = engine._servers.pid  # type: ignore[attr-defined]
    assert pid is not None
    return int(pid)


def _one_fault(
    name: str, point: str, engine: Engine, prompt: list[Message], act: Callable[[Engine], None], whole: int
) -> None:
    wanted = {"at the first word": 1, "after 20 words": 20, "at the end": max(21, whole - 2)}.get(point, 0)
    pieces = 0
    ended = "whole"
    if point == "before the prompt":
        act(engine)
    elif point == "in the prompt":
        threading.Timer(0.1, act, (engine,)).start()
    start = time.perf_counter()
    try:
        for _ in engine.draft(prompt, never):
            pieces += 1
            if wanted and pieces == wanted:
                act(engine)
                start = time.perf_counter()
    except GenerationError as error:
        ended = str(error)
    took = time.perf_counter() - start
    print(f"| {name} | {point} | {pieces} | {took:.1f} | {ended} | {_guided_again(engine, prompt)} |", flush=True)


def _guided_again(engine: Engine, prompt: list[Message]) -> str:
    """Return the seconds until the next reply's first word, or why there is none."""
    start = time.perf_counter()
    draft = engine.draft(prompt, never)
    try:
        next(draft)
    except GenerationError as error:
        return f"not: {error}"
    finally:
        draft.close()
    return f"{time.perf_counter() - start:.1f}"


def _scripted_fault(name: str, point: str, prompt: list[Message], deadline_s: float) -> None:
    from engine_stand_in import Connection, StandIn, says

    at = {"before the prompt": 0, "in the prompt": 0, "at the first word": 1, "after 20 words": 20, "at the end": 39}[
        point
    ]

    def script(connection: Connection) -> None:
        if name == "refusing" and at == 0:
            connection.status(503)
            return
        connection.status(200)
        for _ in range(at):
            connection.say("word ")
        if name == "slow":
            for _ in range(40):
                time.sleep(1)
                connection.say("word ")
        elif name == "garbage":
            connection.raw(b"data: \xff\xfe{{{ \n\n" * 50)

    with StandIn(script) as server:
        writer = start_writer(EngineSettings(urls=(server.url,), reply_timeout_s=deadline_s), STATE)
        pieces, ended = 0, "whole"
        start = time.perf_counter()
        try:
            for _ in writer.draft(prompt, never):
                pieces += 1
        except GenerationError as error:
            ended = str(error)
        took = time.perf_counter() - start
        server.script = says(*["word "] * 40)
        assert isinstance(writer, Engine)
        guided = _guided_again(writer, prompt)
        writer.close()
    print(f"| {name} | {point} | {pieces} | {took:.1f} | {ended} | {guided} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--deadline", type=float, default=30, help="seconds")
    parser.add_argument("--fault", default="", help="this one alone")
    options = parser.parse_args()
    faults(options.model, options.deadline, options.fault)


if __name__ == "__main__":
    main()
