"""Puts wordings of one question on one line, so that staff see what is asked in vain and how often."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from chatbot.embedder import Embedder
from chatbot.staff.gaps import Gap

ALIKE = 0.35  # mean cosine of two groups' wordings from which on they are one; see tests/measurements/staff.md
MOST = 2000  # wordings that are compared, the most frequent ones; the others stand alone


@dataclass(frozen=True, slots=True)
class GapGroup:
    """One question that was asked in vain, in all its wordings, the most frequent first."""

    gaps: tuple[Gap, ...]

    @property
    def question(self) -> str:
        """The wording that stands for all."""
        return self.gaps[0].question

    @property
    def wordings(self) -> tuple[str, ...]:
        """Every wording."""
        return tuple(gap.question for gap in self.gaps)

    @property
    def times(self) -> int:
        """How often it was asked."""
        return sum(gap.times for gap in self.gaps)

    @property
    def unanswered(self) -> int:
        """How often nothing was found at all; the other times had suggestions that nobody chose."""
        return sum(gap.unanswered for gap in self.gaps)

    @property
    def first(self) -> date:
        """The first day it was asked."""
        return min(gap.first for gap in self.gaps)

    @property
    def last(self) -> date:
        """The last day it was asked."""
        return max(gap.last for gap in self.gaps)

    @property
    def nearest(self) -> tuple[str, ...]:
        """Ids of the answers that came nearest to any wording, each once."""
        return tuple(dict.fromkeys(id_ for gap in self.gaps for id_ in gap.nearest))


def grouped(gaps: Sequence[Gap], embedder: Embedder) -> list[GapGroup]:
    """Return the gaps as groups of one question each, by how often it was asked, then by name.

    Wordings are joined step by step, the most alike first (average linkage), so their order does not matter.
    """
    ranked = sorted(gaps, key=lambda gap: (-gap.times, gap.question))
    compared, rest = ranked[:MOST], ranked[MOST:]
    numbers = list(range(len(compared)))
    if len(compared) > 1:
        vectors = embedder.encode([gap.question for gap in compared])
        pairs = np.triu_indices(len(compared), 1)
        distances = np.clip(1 - (vectors @ vectors.T)[pairs], 0, 2)
        numbers = fcluster(linkage(distances, "average"), 1 - ALIKE, "distance").tolist()
    together: dict[int, list[Gap]] = {}
    for number, gap in zip(numbers, compared, strict=True):
        together.setdefault(number, []).append(gap)
    groups = [GapGroup(tuple(own)) for own in together.values()] + [GapGroup((gap,)) for gap in rest]
    return sorted(groups, key=lambda group: (-group.times, group.question))
