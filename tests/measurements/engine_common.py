"""What the measurements of the engine share: prompts, a started engine, a clock."""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests"), str(PROJECT / "tests" / "unit")]

from chatbot.engine.writer import Engine, start_writer  # noqa: E402
from chatbot.errors import GenerationError  # noqa: E402
from chatbot.knowledge import load_knowledge  # noqa: E402
from chatbot.prompting import Message, Passage, build_messages  # noqa: E402
from chatbot.settings import EngineSettings  # noqa: E402

STATE = Path(tempfile.gettempdir()) / "healthfaq-measurements"
CONTEXT, BATCH = 2048, 128


def never() -> bool:
    return False


def prompts(count: int) -> list[list[Message]]:
    """Return prompts as the pipeline builds them: two shipped answers and one of the first one's own questions."""
    answers = sorted(load_knowledge(PROJECT / "knowledge").answers.values(), key=lambda answer: answer.id)
    chosen = answers[:: max(1, len(answers) // count)][:count]
    return [
        build_messages(one.questions[0], [Passage(a.id, a.title, a.text) for a in (one, other)])
        for one, other in zip(chosen, chosen[1:] + chosen[:1], strict=True)
    ]


@contextmanager
def started(model: str, **changes: Any) -> Iterator[Engine]:
    options = {"start_timeout_s": 180, "reply_timeout_s": 180, "context_tokens": CONTEXT, "batch_tokens": BATCH}
    writer = start_writer(EngineSettings(model=model, **{**options, **changes}), STATE)
    if not isinstance(writer, Engine):
        raise SystemExit(writer.unavailable)
    try:
        ready(writer)
        yield writer
    finally:
        writer.close()


def ready(engine: Engine) -> str:
    """Wait for the model's process; return where it listens and note nothing else."""
    endpoint = engine._servers.acquire(180, never)
    engine._servers.release(endpoint)
    return endpoint.url


def timed(pieces: Iterator[object]) -> tuple[float, float, int, str]:
    """Return seconds to the first piece, tokens a second after it, pieces, and how it ended."""
    start = time.perf_counter()
    times: list[float] = []
    end = "whole"
    try:
        for piece in pieces:
            if isinstance(piece, str):
                times.append(time.perf_counter())
    except GenerationError as error:
        end = str(error)
    if len(times) < 2:
        return (times[0] - start if times else float("nan")), float("nan"), len(times), end
    return times[0] - start, (len(times) - 1) / (times[-1] - times[0]), len(times), end
