"""Measures retrieval on questions whose right outcome is known, such as the acceptance questions of ``checks.yaml``.

The questions fall into two halves by their own words: thresholds and weights may be set on one, figures are reported
on the other.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from chatbot.knowledge import AcceptanceQuestion
from chatbot.retrieval.retriever import Decision

Half = Literal["development", "report"]
NO_ANSWER = "no_answer"


def half_of(question: str) -> Half:
    """Return the half a question belongs to; it depends on its words alone, so new questions never move old ones."""
    words = " ".join(question.casefold().split())
    return "development" if hashlib.sha256(words.encode()).digest()[0] % 2 == 0 else "report"


def in_half(questions: Iterable[AcceptanceQuestion], half: Half) -> list[AcceptanceQuestion]:
    """Return the questions of one half, in order."""
    return [question for question in questions if half_of(question.question) == half]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one question led to."""

    question: AcceptanceQuestion
    decision: Decision

    @property
    def in_scope(self) -> bool:
        """Say whether an answer was expected."""
        return NO_ANSWER not in self.question.accepted

    @property
    def is_right(self) -> bool:
        """Say whether a right answer was given or offered, or rightly none given."""
        if not self.in_scope:
            return self.decision.kind != "answered"
        return any(id_ in self.question.accepted for id_ in self.decision.candidates)

    @property
    def is_wrong_answer(self) -> bool:
        """Say whether an answer was given that is not the right one: the error that hurts."""
        return self.decision.kind == "answered" and self.decision.candidates[0] not in self.question.accepted


@dataclass(frozen=True, slots=True)
class Figures:
    """Shares of questions; each is None when there was no question to measure it on."""

    n_in_scope: int
    n_out_of_scope: int
    answered_right: float | None  # of those in scope
    right_or_offered: float | None  # of those in scope: answered right, or the right one among "did you mean"
    wrongly_answered: float | None  # of those in scope: answered with another answer
    out_of_scope_answered: float | None  # of those out of scope
    out_of_scope_offered: float | None  # of those out of scope: "did you mean"


def figures_of(outcomes: Sequence[Outcome]) -> Figures:
    """Return the shares that the product is judged by."""
    inside = [outcome for outcome in outcomes if outcome.in_scope]
    outside = [outcome for outcome in outcomes if not outcome.in_scope]
    return Figures(
        n_in_scope=len(inside),
        n_out_of_scope=len(outside),
        answered_right=_share(inside, lambda o: o.decision.kind == "answered" and not o.is_wrong_answer),
        right_or_offered=_share(inside, lambda o: o.is_right),
        wrongly_answered=_share(inside, lambda o: o.is_wrong_answer),
        out_of_scope_answered=_share(outside, lambda o: o.decision.kind == "answered"),
        out_of_scope_offered=_share(outside, lambda o: o.decision.kind == "did_you_mean"),
    )


def _share(outcomes: Sequence[Outcome], counts: Callable[[Outcome], bool]) -> float | None:
    return sum(map(counts, outcomes)) / len(outcomes) if outcomes else None


def risk_coverage(outcomes: Sequence[Outcome]) -> list[tuple[float, float]]:
    """Return ``(coverage, risk)`` as ever less certain questions are answered.

    Coverage is the share of all questions that would be answered; risk is the share of those whose best hit is wrong
    (an out-of-scope question has no right one).

    Source: El-Yaniv & Wiener, "On the foundations of noise-free selective classification", JMLR 2010.
    """
    ranked = sorted(outcomes, key=lambda o: -(o.decision.hits[0].score if o.decision.hits else 0.0))
    points, wrong = [], 0
    for n, outcome in enumerate(ranked, 1):
        hits = outcome.decision.hits
        wrong += not (hits and hits[0].answer_id in outcome.question.accepted)
        points.append((n / len(ranked), wrong / n))
    return points
