"""Whole sentences out of a stream of pieces, each as soon as it is complete."""

import re
from collections.abc import Iterable, Iterator

from chatbot.text import ABBREVIATIONS

MAX_BUFFER_CHARS = 1200  # a model that never ends a sentence is cut here; the checker refuses what is cut
_MARKS = r"(?:\s*\[\d{1,3}\])*"
# A full stop with closing quotes and marks, then something that can begin a sentence; or an end of line.
_END = re.compile(rf"[.!?][\"')\]*_]*{_MARKS}(?=\s+[\"'(*_-]*[^\s\[a-z])|{_MARKS}(?=[ \t]*\n\s*[^\s\[])")
_BULLET = re.compile(r"\s*(?:[-*•–]|\d{1,2}[.)])\s+")


def split_stream(pieces: Iterable[str]) -> Iterator[str]:
    """Yield whole sentences, each with its [n] mark, as soon as they are complete.

    A mark may stand before or after the full stop, on the same line or the next. Line ends and bullets end
    a sentence too. What is left when the stream ends comes last, whole sentence or not: the checker refuses
    what is not one. At most ``MAX_BUFFER_CHARS`` characters are kept waiting.
    """
    buffer = ""
    for piece in pieces:
        buffer += piece
        while (end := _end_of_sentence(buffer)) is not None:
            if sentence := _tidy(buffer[:end]):
                yield sentence
            buffer = buffer[end:].lstrip()
        if len(buffer) > MAX_BUFFER_CHARS:
            yield _tidy(buffer)
            buffer = ""
    if sentence := _tidy(buffer):
        yield sentence


def _end_of_sentence(buffer: str) -> int | None:
    """Return where the first complete sentence ends, or None while more is needed to tell."""
    start = bullet.end() if (bullet := _BULLET.match(buffer)) else 0
    for match in _END.finditer(buffer, start):
        if not buffer[: match.start() + 1].endswith(ABBREVIATIONS) or "\n" in buffer[match.end() : match.end() + 2]:
            return match.end()
    return None


def _tidy(sentence: str) -> str:
    return " ".join(_BULLET.sub("", sentence, count=1).split() if _BULLET.match(sentence) else sentence.split())
