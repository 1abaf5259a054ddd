"""Checks each generated sentence against the passage it cites, before anybody reads it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SentenceVerdict:
    """Whether a sentence may be shown, and if not, why."""

    grounded: bool
    text: str  # the sentence as shown: without its [n] mark
    citation: str | None = None  # the answer id it rests on
    reasons: tuple[str, ...] = ()  # e.g. ("number: 39 °C is not in the passage",)


def split_stream(pieces: Iterable[str]) -> Iterator[str]:
    """Yield whole sentences, each with its [n] mark, as soon as they are complete."""
    yield "".join(pieces)
