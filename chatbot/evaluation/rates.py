"""Shares with their uncertainty."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import sqrt
from typing import TypeVar

Z_95 = 1.959964
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many of so many. The share and its bounds are None where there was nothing to count."""

    count: int
    n: int

    @classmethod
    def of(cls, things: Iterable[T], counts: Callable[[T], bool]) -> "Rate":
        """Return how many of the things count."""
        marks = [counts(thing) for thing in things]
        return cls(sum(marks), len(marks))

    @property
    def share(self) -> float | None:
        """The share itself, in [0, 1]."""
        return self.count / self.n if self.n else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of Wilson's score.

        Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
        """
        if not self.n:
            return None
        share, n = self.count / self.n, self.n
        middle = share + Z_95**2 / (2 * n)
        reach = Z_95 * sqrt(share * (1 - share) / n + Z_95**2 / (4 * n * n))
        whole = 1 + Z_95**2 / n
        return max(0.0, (middle - reach) / whole), min(1.0, (middle + reach) / whole)

    def as_json(self) -> dict[str, float | int | None]:
        """Return plain values, shares to four digits."""
        low, high = self.interval or (None, None)
        rounded = {"share": self.share, "low": low, "high": high}
        return {"count": self.count, "n": self.n} | {
            name: None if value is None else round(value, 4) for name, value in rounded.items()
        }

    def __str__(self) -> str:
        if self.share is None or self.interval is None:
            return "nothing to measure it on"
        low, high = self.interval
        return f"{self.share:.1%} ({low:.1%} to {high:.1%}; {self.count} of {self.n})"
