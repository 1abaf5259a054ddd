"""Amounts in plain words: numbers with their unit, range, comparison and rate."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chatbot.grounding.wording import Wording, stem, wording

_RANGE = ("to", "-", "through", "or")
_RATE = ("a", "an", "per", "each", "every")


@dataclass(frozen=True, slots=True)
class Quantity:
    """One amount. Vague numbers ("a few") are negative, so that they equal only themselves."""

    low: float
    high: float
    unit: str = ""  # a name of grounding.yaml; empty: counted things
    compared: str = ""  # one of > >= < <= ~, or empty
    per: str = ""  # unit of the rate: "2 times a day" has day
    every: bool = False  # "every 4 hours"
    how: str = ""  # "in" for "in 2 days" and "within 2 days", which are not "for 2 days"
    of: tuple[str, ...] = ()  # stems of what is counted, when there is no unit

    def same_as(self, other: "Quantity") -> bool:
        """Say whether both are one amount: same number, unit, comparison and rate."""
        if (self.low, self.high, self.unit, self.compared, self.per, self.every) != (
            other.low, other.high, other.unit, other.compared, other.per, other.every
        ):  # fmt: skip
            return self._equal_amount(other)
        if self.how != other.how:
            return False
        return bool(self.unit) or not self.of or bool(set(self.of) & set(other.of))

    def _equal_amount(self, other: "Quantity") -> bool:
        if (self.compared, self.per, self.every) != (other.compared, other.per, other.every) or self.low != self.high:
            return False
        pair = [self.low, self.unit, other.low, other.unit]
        rules = wording().data["equal_amounts"]
        return other.low == other.high and (pair in rules or pair[2:] + pair[:2] in rules)

    def __str__(self) -> str:
        amount = f"{self.low:g}" if self.low == self.high else f"{self.low:g} to {self.high:g}"
        rate = f" a {self.per}" if self.per else ""
        return (
            f"{'every ' if self.every else ''}{self.compared}{amount} {self.unit or ' '.join(self.of)}".strip() + rate
        )


def read_quantities(words: Sequence[str]) -> list[str | Quantity]:
    """Return the words with every amount replaced by its Quantity.

    "100.4 °F (38 °C) or higher" gives two quantities that share the comparison; the brackets stay.
    """
    out = _Reader(words, wording()).read()
    return _with_counted_things(_with_shared_units(_with_far_rates(out)))


class _Reader:
    """Reads amounts off a list of words, left to right."""

    def __init__(self, words: Sequence[str], known: Wording) -> None:
        self.words = list(words)
        self.known = known
        comparisons = known.data["comparisons"]
        self.before = _longest_first(comparisons["before"])
        self.after = _longest_first(comparisons["after"])

    def read(self) -> list[str | Quantity]:
        out: list[str | Quantity] = []
        place = 0
        while place < len(self.words):
            found, end = self._amount(place)
            if found:
                out += found
                place = end
            else:
                out.append(self.words[place])
                place += 1
        return out

    def _amount(self, place: int) -> tuple[list[str | Quantity], int]:
        every = self._word(place) in ("every", "each") and self._number(place + 1) is not None
        compared, start = self._comparison(place + every, self.before)
        first = self._plain_amount(start)
        if first is None:
            return self._bare_rate(place)
        quantities, end = first
        shape: list[str | Quantity] = list(quantities)
        if self._word(end) == "(" and (inner := self._bracketed(end + 1)):
            more, end = inner
            shape += ["(", *more, ")"]
        rate, end = self._rate(end)
        if not compared:
            compared, end = self._comparison(end, self.after)
        if not rate:
            rate, end = self._rate(end)
        how = "in" if self._word(place - 1) in ("in", "within") else ""
        return [
            replace(part, compared=part.compared or compared, per=rate, every=every, how=how)
            if isinstance(part, Quantity)
            else part
            for part in shape
        ], end

    def _bracketed(self, place: int) -> tuple[list[Quantity], int] | None:
        compared, start = self._comparison(place, self.before)
        found = self._plain_amount(start)
        if found is None or self._word(found[1]) != ")":
            return None
        return [replace(amount, compared=compared) for amount in found[0]], found[1] + 1

    def _plain_amount(self, place: int) -> tuple[list[Quantity], int] | None:
        """Read "2 to 3 days", "30 minutes to 2 hours", "3 days"."""
        if self._word(place).startswith("pair:"):  # a reading of two numbers, such as 120/80
            upper, lower = self._word(place)[5:].split("/")
            return [Quantity(float(upper), float(lower), "pair")], self._unit(place + 1)[1]
        dollars = self._word(place) == "$"
        between = self._word(place) == "between"
        place += dollars or between
        number = self._number(place)
        if number is None:
            return None
        low, end = number
        unit, end = self._unit(end)
        links = (*_RANGE, "and") if between else _RANGE
        if self._word(end) in links and (second := self._number(end + 1)) is not None:
            high, after = second
            other, after = self._unit(after)
            if not unit or unit == other or not other:
                return [Quantity(low, high, other or unit)], after
            if self._word(end) != "or":
                return [Quantity(low, low, unit), Quantity(high, high, other)], after
        return [Quantity(low, low, "dollar" if dollars else unit)], end

    def _number(self, place: int) -> tuple[float, int] | None:
        word = self._word(place)
        if word[:1].isdecimal():
            value = _value(word)
            following = self._word(place + 1)
            if "/" in following and following[0].isdecimal():  # 1 1/2
                return value + _value(following), place + 2
            return value, place + 1
        if word == "twice" or (word == "once" and self._rate(place + 1)[0]):
            return (2.0 if word == "twice" else 1.0), place + 1
        if word in self.known.data["vague_numbers"] and self._unit(place + 1)[0]:
            return float(self.known.data["vague_numbers"][word]), place + 1
        if word not in self.known.data["numbers"]:
            return None
        if word in ("one", "half", "quarter") and not self._counts(place + 1):
            return None
        return self._spelled(place)

    def _spelled(self, place: int) -> tuple[float, int]:
        numbers = self.known.data["numbers"]
        value = float(numbers[self._word(place)])
        place += 1
        while (following := numbers.get(self._word(place))) is not None:
            if following in (100, 1000):
                value *= following
            elif value >= 20 and 0 < following < 10:
                value += following
            else:
                break
            place += 1
        if self._word(place) == "-" and 20 <= value < 100 and numbers.get(self._word(place + 1), 0) in range(1, 10):
            return value + numbers[self._word(place + 1)], place + 2
        return value, place

    def _counts(self, place: int) -> bool:
        """Say whether "one" or "half" before this place is an amount and not a pronoun."""
        if self._word(place) in ("a", "an") and self._unit(place + 1)[0]:
            return True
        return bool(self._unit(place)[0] or self._comparison(place, self.after)[0]) or (
            self._word(place) in _RANGE and (self._word(place + 1) in self.known.data["numbers"])
        )

    def _unit(self, place: int) -> tuple[str, int]:
        words = self.known
        start, before = place, self._word(place - 1)
        if before in ("twice", "once"):
            return "time", place
        if self._word(place) == "-" or (self._word(place) in ("a", "an") and before in ("half", "quarter")):  # 2-day
            start = place + 1
        unit = words.units.get(self._word(start), "")
        if unit == "deg" and self._word(start + 1) in words.units:
            return words.units[self._word(start + 1)], start + 2
        return (unit, start + 1) if unit else ("", place)

    def _rate(self, place: int) -> tuple[str, int]:
        word = self._word(place)
        if word in self.known.data["rate_words"]:
            return self.known.data["rate_words"][word], place + 1
        unit = self.known.units.get(self._word(place + 1), "")
        if word in _RATE and unit in self.known.data["time_units"]:
            return unit, place + 2
        return "", place

    def _bare_rate(self, place: int) -> tuple[list[str | Quantity], int]:
        """Read "a week", "every day", "daily": one of its unit."""
        compared, start = self._comparison(place, self.before)
        unit, end = self._rate(start)
        if not unit or (unit == "second" and self._word(start) in ("a", "an")):
            return [], place
        if not compared:
            compared, end = self._comparison(end, self.after)
        return [Quantity(1, 1, unit, compared)], end

    def _comparison(self, place: int, phrases: Sequence[tuple[tuple[str, ...], str]]) -> tuple[str, int]:
        for phrase, sign in phrases:
            if tuple(self.words[place : place + len(phrase)]) == phrase:
                end = place + len(phrase)
                if self._word(end) in ("the", "age", "of"):  # "over the age of 65", "under age 4"
                    while self._word(end) in ("the", "age", "of"):
                        end += 1
                return sign, end
        return "", place

    def _word(self, place: int) -> str:
        return self.words[place] if 0 <= place < len(self.words) else ""


def _longest_first(signs: dict[str, list[str]]) -> list[tuple[tuple[str, ...], str]]:
    rows = [(tuple(phrase.split()), sign) for sign, phrases in signs.items() for phrase in phrases]
    return sorted(rows, key=lambda row: -len(row[0]))


def _value(digits: str) -> float:
    if "/" in digits:
        upper, lower = digits.split("/")
        return float(upper) / float(lower) if float(lower) else float("inf")
    return float(digits)


def _with_far_rates(parts: list[str | Quantity]) -> list[str | Quantity]:
    """Read "150 minutes of movement a week" as "150 minutes a week of movement"."""
    out = list(parts)
    for place, part in enumerate(parts):
        if not isinstance(part, Quantity) or part.per or part.unit == "" or parts[place + 1 : place + 2] != ["of"]:
            continue
        for ahead in range(place + 3, min(place + 6, len(parts))):
            rate = parts[ahead]
            if isinstance(rate, Quantity) and rate == Quantity(1, 1, rate.unit) and rate.unit != part.unit:
                out[place] = replace(part, per=rate.unit)
                del out[ahead]
                return out
            if not isinstance(rate, str) or not rate[0].isalpha():
                break
    return out


def _with_shared_units(parts: list[str | Quantity]) -> list[str | Quantity]:
    """Give "3, 6 and 9 months" its unit three times."""
    out = list(parts)
    for place in range(len(out) - 2, -1, -1):
        part = out[place]
        if not isinstance(part, Quantity) or part.unit:
            continue
        rest = [other for other in out[place + 1 : place + 4] if other not in (",", "and", "or", "to")]
        near = rest[0] if rest else None
        if isinstance(near, Quantity) and near.unit and out[place + 1] in (",", "and", "or", "to"):
            out[place] = replace(part, unit=near.unit)
    return out


def _with_counted_things(parts: list[str | Quantity]) -> list[str | Quantity]:
    out = list(parts)
    closed = wording().closed
    for place, part in enumerate(out):
        if isinstance(part, Quantity) and not part.unit:
            things: list[str] = []
            for word in out[place + 1 : place + 3]:
                if not isinstance(word, str) or not word[0].isalpha() or word in closed:
                    break
                things.append(stem(word))
            out[place] = replace(part, of=tuple(things))
    return out
