"""A message in pieces of about a sentence, and what each piece says that can be weighed.

What is weighed has names that a reader can follow: ``chest`` a word, ``my chest`` two words side by side, ``@sweaty`` a
list of the rules that one of its phrases was found of, ``?negated`` a list's phrase that is denied, ``~asked`` a whole
piece that only asks.
"""

import itertools
from collections.abc import Iterable
from math import sqrt

from chatbot.safety.match import Hit, Reading
from chatbot.safety.rules import ReadyRule

WINDOW_WORDS = 28
WINDOW_STEP = 20
MIN_WORDS = 3
FRAME_AT_START = 4  # a question frame or "if I ever" within these words turns the whole window into a question
WORDS_SCALE = 2.0  # a window's words together weigh as much, however many they are
LIST_SCALE = 0.7


def windows_of(reading: Reading) -> list[Hit]:
    """Return the sentences in order, those below ``MIN_WORDS`` joined to the next, long ones in overlapping pieces."""
    words = reading.words
    spans: list[Hit] = []
    start = 0
    for at in range(1, len(words) + 1):
        ends = at == len(words) or words[at].sentence != words[at - 1].sentence
        if ends and (at - start >= MIN_WORDS or at == len(words)):
            spans.append(Hit(start, at))
            start = at
    pieces: list[Hit] = []
    for span in spans:
        if span.end - span.start <= WINDOW_WORDS:
            pieces.append(span)
            continue
        pieces += [
            Hit(at, min(at + WINDOW_WORDS, span.end))
            for at in range(span.start, span.end - WINDOW_STEP // 2, WINDOW_STEP)
        ]
    return [piece for piece in pieces if piece.end > piece.start]


def window_text(reading: Reading, window: Hit) -> str:
    """Return the window's words, text-speak written out."""
    return " ".join(word.text for word in reading.words[window.start : window.end])


def lists_of(rules: Iterable[ReadyRule]) -> frozenset[str]:
    """Return the named lists of the rules; lists written inside a rule change too easily to be weighed."""
    names = {name for rule in rules for part in (*rule.parts, *rule.who) for name in part}
    return frozenset(name for name in names if " " not in name and "|" not in name)


def signs_of(reading: Reading, window: Hit, lists: frozenset[str]) -> dict[str, float]:
    """Return what the window says and how much of each: words, pairs of words, lists, doubts."""
    texts = ["0" if word.number is not None else word.text for word in reading.words[window.start : window.end]]
    spoken = {*texts, *(f"{first} {second}" for first, second in itertools.pairwise(texts))}
    signs = dict.fromkeys(spoken, WORDS_SCALE / sqrt(max(len(spoken), 1)))
    for name in lists & reading.hits.keys():
        hits = [hit for hit in reading.hits[name] if window.start <= hit.start < window.end]
        if hits:
            found = {reading.doubt(hit) for hit in hits}
            signs[f"@{name}" if None in found else f"?{min(map(str, found))}"] = LIST_SCALE
    if whole := reading.window_doubt(window, FRAME_AT_START):
        signs[f"~{whole}"] = LIST_SCALE
    return signs
