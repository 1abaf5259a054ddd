"""Ages, temperatures, durations and amounts in a message, whatever the unit they are given in."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Literal

from pydantic import Field, model_validator

from chatbot.knowledge import Strict
from chatbot.safety.match import Finder
from chatbot.safety.text import Word, stem

DAYS = {"day": 1.0, "week": 7.0, "month": 30.4, "year": 365.25}
SECONDS = {
    "second": 1.0,
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86400.0,
    "week": 604800.0,
    "month": 2.6e6,
    "year": 3.2e7,
}
KILOGRAMS = {"pound": 0.4536, "lb": 0.4536, "kilo": 1.0, "kilogram": 1.0, "kg": 1.0, "stone": 6.35}
CELSIUS = (34.0, 44.0)  # outside of these a bare number is no body temperature
FAHRENHEIT = (93.0, 111.0)
_NOT_AN_AGE = frozenset(
    {"ago", "pregnant", "pregnancy", "along", "gone", "now", "later", "early", "since", "left", "apart"}
)
_NOT_BEFORE_AGE = frozenset({"for", "in", "past", "last", "every", "within", "after", "next", "about", "over"})
_DEGREES = frozenset(
    {"degree", "degre", "c", "f", "celsius", "fahrenheit", "celcius", "farenheit", "centigrade", "\u00b0"}
)
_TEMPERATURE = frozenset(map(stem, ("temp", "temps", "temperature", "fever", "thermometer", "febrile", "feverish")))


class Measure(Strict):
    """A number with its unit, and the bounds between which it counts. ``at_least`` is included, ``below`` is not."""

    kind: Literal["age", "temperature", "duration", "amount", "weight_per_week"]
    unit: str = Field(default="", description="day, week, month, year, minute; C for temperatures; kg")
    at_least: float | None = None
    below: float | None = None
    of: tuple[str, ...] = Field(default=(), description="amount: words that follow the number; age: whose")
    after: tuple[str, ...] = Field(default=(), description="amount: words that stand before the number instead")

    @model_validator(mode="after")
    def _is_bounded(self) -> "Measure":
        if self.at_least is None and self.below is None:
            raise ValueError("needs at_least or below; write the number from which it counts")
        if self.kind == "amount" and not (self.of or self.after):
            raise ValueError("needs 'of' or 'after': the words next to the number")
        known = {"age": DAYS, "duration": SECONDS, "temperature": {"C": 1.0}, "weight_per_week": {"kg": 1.0}}.get(
            self.kind
        )
        if known is not None and self.unit not in known:
            raise ValueError(f"unit must be one of {', '.join(known)}")
        return self

    def holds(self, value: float) -> bool:
        """Say whether a value in this measure's own unit lies within its bounds."""
        return (self.at_least is None or value >= self.at_least - 1e-9) and (self.below is None or value < self.below)


def finder_for(measure: Measure) -> Finder:
    """Return the function that finds the measure in a message's words."""
    finders = {
        "age": _ages,
        "temperature": _temperatures,
        "duration": _durations,
        "amount": _amounts,
        "weight_per_week": _weights_per_week,
    }
    return partial(finders[measure.kind], measure)


def _numbers(words: Sequence[Word]) -> Iterator[tuple[int, float]]:
    return ((at, word.number) for at, word in enumerate(words) if word.number is not None)


_UNIT_NAMES = {stem(name): name for name in (*SECONDS, *KILOGRAMS)}


def _unit(words: Sequence[Word], at: int) -> str:
    """Return the unit's name in the singular, or the word's stem when it is no unit."""
    if not 0 <= at < len(words):
        return ""
    found = stem(words[at].text)
    return _UNIT_NAMES.get(found, found)


def _texts(words: Sequence[Word], start: int, end: int) -> list[str]:
    return [word.text for word in words[max(start, 0) : max(end, 0)]]


def _ages(measure: Measure, words: Sequence[Word]) -> Iterator[tuple[int, int]]:
    whose = {stem(word) for word in measure.of}
    for at, value in _numbers(words):
        unit = _unit(words, at + 1)
        aged = bool({"aged", "age", "turned", "old"} & set(_texts(words, at - 2, at)))
        if unit not in DAYS:
            if (
                aged
                and measure.holds(value * DAYS["year"] / DAYS[measure.unit])
                and _unit(words, at + 1) not in SECONDS
            ):
                yield at, at + 1
            continue
        after = _texts(words, at + 2, at + 4)
        said_old = (bool(after) and after[0] in ("old", "of")) or "old" in after
        near = {stem(text) for text in _texts(words, at - 6, at + 6)}
        before = words[at - 1].text if at else ""
        theirs = bool(whose & near) and before not in _NOT_BEFORE_AGE and not (set(after[:1]) & _NOT_AN_AGE)
        if (said_old or aged or theirs) and measure.holds(value * DAYS[unit] / DAYS[measure.unit]):
            yield at, at + 2


def _temperatures(measure: Measure, words: Sequence[Word]) -> Iterator[tuple[int, int]]:
    for at, value in _numbers(words):
        unit = words[at + 1].text if at + 1 < len(words) else ""
        marked = unit in _DEGREES
        if not marked and (_unit(words, at + 1) in SECONDS or unit in ("mg", "ml", "pound", "kg", "percent", "old")):
            continue
        near = {stem(text) for text in _texts(words, at - 8, at + 6)}
        if not marked and not (near & _TEMPERATURE) and value == int(value):
            continue  # "38.4" is taken for a temperature on its own, "38" is not
        celsius = _celsius(value, unit)
        if celsius is not None and measure.holds(celsius):
            yield at, at + 2 if marked else at + 1


def _celsius(value: float, unit: str) -> float | None:
    """Return a body temperature in °C; which of the two scales is meant shows in the number itself."""
    if FAHRENHEIT[0] <= value <= FAHRENHEIT[1] and unit != "c":
        return (value - 32) / 1.8
    return value if CELSIUS[0] <= value <= CELSIUS[1] and unit != "f" else None


def _durations(measure: Measure, words: Sequence[Word]) -> Iterator[tuple[int, int]]:
    for at, value in _numbers(words):
        unit = _unit(words, at + 1)
        if unit in SECONDS and measure.holds(value * SECONDS[unit] / SECONDS[measure.unit]):
            yield at, at + 2


def _amounts(measure: Measure, words: Sequence[Word]) -> Iterator[tuple[int, int]]:
    of = {stem(word) for word in measure.of}
    before = {stem(word) for word in measure.after}
    for at, value in _numbers(words):
        if not measure.holds(value):
            continue
        following = [stem(text) for text in _texts(words, at + 1, at + 4)]
        place = next((n for n, text in enumerate(following) if text in of), None)
        if place is not None:
            yield at, at + 2 + place
        elif before & {stem(text) for text in _texts(words, at - 4, at)} and _unit(words, at + 1) not in SECONDS:
            yield at, at + 1


def _weights_per_week(measure: Measure, words: Sequence[Word]) -> Iterator[tuple[int, int]]:
    """Find "30 pounds in 2 weeks": a weight and a time close together, as kilograms a week."""
    for at, value in _numbers(words):
        kilograms = KILOGRAMS.get(_unit(words, at + 1))
        if kilograms is None:
            continue
        for later in range(at + 2, min(at + 8, len(words) - 1)):
            number, unit = words[later].number, _unit(words, later + 1)
            if words[later].text in ("a", "per", "this", "each") and unit in DAYS:
                number = 1.0
            if number and unit in DAYS and measure.holds(value * kilograms / (number * DAYS[unit] / 7)):
                yield at, later + 2
                break
