"""Faults that only the texts show: two answers whose texts were swapped, and sentences without support."""

import re
from collections.abc import Mapping

import numpy as np

from chatbot.embedder import Embedder
from chatbot.knowledge import Answer
from chatbot.retrieval.entries import passages_of
from chatbot.retrieval.words import stem

MAX_COMPARED = 3000  # answers: comparing each with each takes memory by their square
SURE = 0.15  # cosine, summed over both: so much better must the other's text fit; below it neighbours are told
SUPPORTED_SHARE = 0.7
SHORT = 4  # letters; shorter words carry no fact of their own
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[a-z]+(?:'[a-z]+)?")


def swapped_pairs(answers: Mapping[str, Answer], embedder: Embedder) -> list[tuple[str, str, float]]:
    """Return the pairs of answers whose texts fit each other's questions better than their own, surest first."""
    ids = list(answers)
    if not 2 <= len(ids) <= MAX_COMPARED:
        return []
    asked = embedder.encode([". ".join((answers[id_].title, *answers[id_].questions)) for id_ in ids])
    said = embedder.encode([(passages_of(answers[id_].text) or [""])[0] for id_ in ids])
    fits = asked @ said.T
    gain = fits - np.diag(fits)[:, None]  # how much better another answer's text fits these questions
    both = np.triu(np.where((gain > 0) & (gain.T > 0), gain + gain.T, 0), 1)
    pairs = [(ids[a], ids[b], float(both[a, b])) for a, b in np.argwhere(both >= SURE)]
    return sorted(pairs, key=lambda pair: -pair[2])


def is_supported(sentence: str, answer: Answer) -> bool:
    """Say whether the answer's title or text supports a sentence; see ``has_support``."""
    return has_support(sentence, f"{answer.title} {answer.plain}")


def has_support(sentence: str, text: str) -> bool:
    """Say whether a text has every number of a sentence and most of its longer words.

    A second look that shares no rule with the check that every sentence passed before it was shown.
    """
    said = set(_WORD.findall(text.lower().replace("’", "'")))
    stems = {stem(word) for word in said}
    words = _WORD.findall(sentence.lower().replace("’", "'"))
    numbers = [word for word in words if word[0].isdigit()]
    long = [word for word in words if word[0].isalpha() and len(word) >= SHORT]
    carried = sum(stem(word) in stems for word in long)
    return all(number in said for number in numbers) and carried >= SUPPORTED_SHARE * len(long)
