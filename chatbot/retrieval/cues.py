"""What a question asks about its subject, and for whom: found by cue words, and held against each answer."""

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from chatbot.knowledge import Answer
from chatbot.retrieval.words import fold, lexicon, words_of

Floats = npt.NDArray[np.float32]


@lru_cache(maxsize=1)
def _cues() -> dict[str, re.Pattern[str]]:
    known = lexicon()
    return {
        name: re.compile(rf"\b(?:{'|'.join(re.escape(cue) for cue in cues)})\b")
        for name, cues in (known.aspects | known.audiences).items()
    }


def aspects_of(text: str) -> tuple[str, ...]:
    """Return what a text asks about its subject (side effects, causes…), the most telling first."""
    plain = " ".join(words_of(text))
    return tuple(name for name in lexicon().aspects if _cues()[name].search(plain))


def audiences_of(text: str) -> tuple[str, ...]:
    """Return whom a text is about (children, pregnancy, older adults), as far as it says so."""
    plain = " ".join(words_of(text))
    return tuple(name for name in lexicon().audiences if _cues()[name].search(plain))


@lru_cache(maxsize=50_000)
def _says(text: str, aspect: str) -> bool:
    return _cues()[aspect].search(fold(text)) is not None


def aspect_conflicts(question: str, answers: Sequence[Answer]) -> tuple[Floats, Floats]:
    """Return, for each answer, 1 when no title or variant asks for what the question does, and 1 when nor its text."""
    found = aspects_of(question)
    unasked, unsaid = np.zeros(len(answers), np.float32), np.zeros(len(answers), np.float32)
    if not found or found[0] == "definition":
        return unasked, unsaid
    for row, answer in enumerate(answers):
        asked = "\n".join((answer.title, *answer.questions))
        unasked[row] = not _says(asked, found[0])
        unsaid[row] = unasked[row] and not _says(answer.text, found[0])
    return unasked, unsaid


def audience_conflicts(message: str, answers: Sequence[Answer]) -> tuple[Floats, Floats]:
    """Return, for each answer, 1 when it is for others than the message names, and 1 when it names nobody."""
    named = audiences_of(message)
    special = lexicon().audiences
    other = [bool(named) and answer.audience != "everyone" and answer.audience not in named for answer in answers]
    unasked = [not named and answer.audience in special for answer in answers]
    return np.array(other, dtype=np.float32), np.array(unasked, dtype=np.float32)
