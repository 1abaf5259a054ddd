"""The texts an answer can be found by: its title, its question variants and passages of its text."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from chatbot.knowledge import Answer

Kind = Literal["title", "question", "passage"]
PASSAGE_WORDS = 90  # about what the embedder was trained on; longer ones blur
MAX_PASSAGES = 8  # an answer of ten pages is still found by its beginning
_MARKS = re.compile(r"^\s*(?:#{1,6}\s+|[-*+]\s+|\d+[.)]\s+|>\s?)|\*\*|__|`", re.MULTILINE)
_BLANK = re.compile(r"\n\s*\n")


@dataclass(frozen=True, slots=True)
class Entry:
    """One text of one answer. ``embedded`` is what its vector is made from."""

    answer_id: str
    kind: Kind
    text: str
    embedded: str
    key: bytes  # a 16-byte hash of what is embedded: the address of its vector

    @classmethod
    def of(cls, answer: Answer, kind: Kind, text: str, embedded: str) -> "Entry":
        """Return an entry of this answer."""
        return cls(answer.id, kind, text, embedded, hashlib.sha256(embedded.encode(errors="replace")).digest()[:16])


def entries_of(answer: Answer) -> tuple[Entry, ...]:
    """Return the answer's entries: title, questions, then passages in order; no asked text twice."""
    asked = {answer.title.casefold(): Entry.of(answer, "title", answer.title, answer.title)}
    for question in answer.questions:
        asked.setdefault(question.casefold(), Entry.of(answer, "question", question, question))
    passages = passages_of(answer.text)[:MAX_PASSAGES]
    return (
        *asked.values(),
        *(Entry.of(answer, "passage", passage, f"{answer.title}: {passage}") for passage in passages),
    )


def passages_of(markdown: str, words: int = PASSAGE_WORDS) -> list[str]:
    """Return the text cut at paragraphs into passages of about so many words, Markdown marks taken out.

    This is made for thousands of answers at once, so it reads line patterns and not a parsed document.
    """
    passages: list[str] = []
    held: list[str] = []
    for block in _BLANK.split(markdown):
        plain = " ".join(_MARKS.sub(" ", block).split())
        if not plain:
            continue
        if held and _count(held) + plain.count(" ") + 1 > words and not _only_a_heading(held, block):
            passages.append(" ".join(held))
            held = []
        held.append(plain)
        while _count(held) > 2 * words:
            all_words = " ".join(held).split()
            passages.append(" ".join(all_words[:words]))
            held = [" ".join(all_words[words:])]
    if held:
        passages.append(" ".join(held))
    return passages


def _count(texts: Sequence[str]) -> int:
    return sum(text.count(" ") + 1 for text in texts)


def _only_a_heading(held: Sequence[str], block: str) -> bool:
    return len(held) == 1 and held[0].count(" ") < 6 and not block.lstrip().startswith("#")
