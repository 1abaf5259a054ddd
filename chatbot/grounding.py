"""Checks each generated sentence against the passage it cites, before anybody reads it."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from chatbot.embedder import Embedder
from chatbot.prompting import Passage
from chatbot.sentence_stream import split_stream as split_stream
from chatbot.text import markdown_sentences

MARK = re.compile(r"\s*\[(\d{1,2})\]")


@dataclass(frozen=True, slots=True)
class SentenceVerdict:
    """Whether a sentence may be shown, and if not, why."""

    grounded: bool
    text: str  # the sentence as shown: without its [n] mark
    citation: str | None = None  # the answer id it rests on
    reasons: tuple[str, ...] = ()  # e.g. ("number: 39 °C is not in the passage",)


class GroundingChecker:
    """Decides whether a generated sentence may be shown (a Checker, see pipeline)."""

    def __init__(self, embedder: Embedder | None) -> None:
        self._embedder = embedder

    def check(self, sentence: str, passages: Sequence[Passage]) -> SentenceVerdict:
        """Return whether the sentence says nothing that its cited passage does not."""
        cited = [int(number) for number in MARK.findall(sentence)]
        text = MARK.sub("", sentence).strip()
        if not cited or not 1 <= cited[0] <= len(passages):
            return SentenceVerdict(False, text, None, ("citation: no such passage",))
        passage = passages[cited[0] - 1]
        known = {" ".join(known.casefold().split()) for known in markdown_sentences(passage.text)}
        if " ".join(text.casefold().split()) in known:
            return SentenceVerdict(True, text, passage.answer_id)
        return SentenceVerdict(False, text, passage.answer_id, ("meaning: not in the passage word for word",))
