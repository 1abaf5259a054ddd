"""Questions the way people type them: small letters, slips of the finger, a greeting in front."""

import random
import re

OPENINGS = ("hi, ", "hello. ", "quick question: ", "please help, ", "hey ", "I wanted to ask: ")


def as_typed(question: str, rng: random.Random) -> str:
    """Return the question, about every second time with one or two marks of quick typing."""
    changes = (str.lower, _without_end, _slip, _opened)
    for change in rng.sample(changes, k=rng.choice((0, 0, 1, 1, 2))):
        question = change(question, rng) if change in (_slip, _opened) else change(question)  # type: ignore[operator]
    return question


def _without_end(question: str) -> str:
    return question.rstrip("?!. ")


def _slip(question: str, rng: random.Random) -> str:
    """Swap, drop or double one inner letter of one longer word."""
    words = list(re.finditer(r"[A-Za-z]{5,}", question))
    if not words:
        return question
    word = rng.choice(words)
    at = rng.randrange(word.start() + 1, word.end() - 2)
    pair = question[at : at + 2]
    return question[:at] + rng.choice((pair[::-1], pair[0], pair[0] + pair)) + question[at + 2 :]


def _opened(question: str, rng: random.Random) -> str:
    return rng.choice(OPENINGS) + question[:1].lower() + question[1:]
