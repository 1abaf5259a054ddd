"""Numbers that disagree between two answers about the same thing.

Two sentences of different answers are compared when they say nearly the same words and differ in a number with the
same unit. It is made to be believed: it stays silent where the answers are for different people, or speak of
different ages.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from chatbot.errors import Problem
from chatbot.knowledge import Answer

ALIKE = 0.8  # share of the words of two sentences that both have
MIN_WORDS = 2
_QUANTITY = re.compile(
    r"(?P<low>\d+(?:[.,]\d+)*)(?:\s*(?:to|-|–|or)\s*(?P<high>\d+(?:[.,]\d+)*))?\s*"
    r"(?P<unit>°\s?[FC]|%|percent|mg|mcg|g|grams?|ml|milliliters?|mm|cm|kg|pounds?|ounces?|cups?|glasses|drinks?|"
    r"calories|seconds?|minutes?|hours?|days?|weeks?|months?|years?|times?|doses?|points?)?(?![\w-])",
    re.IGNORECASE,
)
_AGE = re.compile(
    r"\b(?:age[sd]?|older than|younger than|under|over|at least)\s+\d+|\d+\s*(?:months?|years?|weeks?)[ -]old"
    r"|\d+ (?:or|and) (?:older|over|up)"
    r"|\b(?:bab(?:y|ies)|newborns?|infants?|child(?:ren)?|teens?|adults?|pregnan\w+)\b",
    re.IGNORECASE,
)
_STOP = frozenset(
    re.findall(
        r"\w+",
        """a an the of to in on at or and is are be it its if you your for with as by from this that these those can may
        will do does not have has than then when most many some usually often about more less per every each up after
        before within until during there they them their he she his her we our us i who what which how so but also
        only""",
    )
)
_UNITS = {
    "percent": "%", "gram": "g", "milliliter": "ml", "glasse": "glass",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fact:
    """One sentence with numbers, made ready to be compared."""

    answer_id: str
    audience: str
    sentence: str
    words: frozenset[str]  # what it speaks of, numbers and units taken out
    numbers: Mapping[str, frozenset[str]]  # unit → values as written
    ages: frozenset[str]


def disagreements(answers: Iterable[Answer]) -> Iterator[Problem]:
    """Yield a warning for every two sentences that seem to give different numbers for the same thing."""
    by_words: dict[str, list[Fact]] = {}
    seen: set[tuple[str, str, str]] = set()
    for fact in (fact for answer in answers for fact in facts_of(answer)):
        for word in sorted(fact.words)[:MIN_WORDS] + sorted(fact.words)[-MIN_WORDS:]:
            by_words.setdefault(word, []).append(fact)
    for group in by_words.values():
        if len(group) > 200:  # a word that stands everywhere tells nothing
            continue
        for one, other in combinations(group, 2):
            unit = _disagree(one, other)
            key = (one.sentence, other.sentence, unit or "")
            if unit is None or key in seen:
                continue
            seen.add(key)
            values = " and ".join(", ".join(sorted(fact.numbers[unit])) for fact in (one, other))
            message = f"{one.sentence!r} and {other.sentence!r} in answers/{other.answer_id}.md differ: {values} {unit}"
            yield Problem(f"answers/{one.answer_id}.md", "text", f"{message.strip()}; say the same in both", "warning")


def facts_of(answer: Answer) -> list[Fact]:
    """Return the answer's sentences that hold numbers."""
    facts = []
    for sentence in answer.sentences:
        if not any(c.isdigit() for c in sentence):
            continue
        numbers: dict[str, set[str]] = {}
        for match in _QUANTITY.finditer(sentence):
            value = match["low"].rstrip(".,") + (f"-{match['high']}" if match["high"] else "")
            numbers.setdefault(_unit(match["unit"]), set()).add(value)
        rest = _QUANTITY.sub(" ", sentence.casefold())
        words = frozenset(_singular(word) for word in re.findall(r"[a-z']{2,}", rest) if word not in _STOP)
        if len(words) >= MIN_WORDS:
            held = {unit: frozenset(values) for unit, values in numbers.items()}
            ages = frozenset(match.group().casefold() for match in _AGE.finditer(sentence))
            facts.append(Fact(answer.id, answer.audience, sentence, words, held, ages))
    return facts


def _unit(written: str | None) -> str:
    unit = (written or "").casefold().replace(" ", "")
    return _UNITS.get(unit.removesuffix("s"), unit.removesuffix("s"))


def _singular(word: str) -> str:
    return word.removesuffix("s") if len(word) > 3 else word


def _disagree(one: Fact, other: Fact) -> str | None:
    """Return the unit in which two sentences about the same thing differ, or None."""
    if one.answer_id == other.answer_id or one.ages != other.ages:
        return None
    if one.audience != other.audience and "everyone" not in (one.audience, other.audience):
        return None
    common = len(one.words & other.words)
    if common < MIN_WORDS or common < ALIKE * len(one.words | other.words):
        return None
    return next((unit for unit in _shared(one, other) if not one.numbers[unit] & other.numbers[unit]), None)


def _shared(one: Fact, other: Fact) -> Sequence[str]:
    return [unit for unit in one.numbers if unit in other.numbers]
