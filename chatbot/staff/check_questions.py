"""Staff's own tests: each question of ``checks.yaml`` put to the real pipeline, and what came of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chatbot.errors import Problem
from chatbot.knowledge import AcceptanceQuestion, Knowledge
from chatbot.pipeline import Pipeline
from chatbot.reply import Outcome
from chatbot.staff.acceptance import Half, half_of

Verdict = Literal["right", "offered", "wrong", "missed"]
ANSWERED = "answered"
CHECKS = "checks.yaml"


@dataclass(frozen=True, slots=True)
class Asked:
    """One acceptance question and what it led to.

    "offered": the right answer stood among several ("did you mean"). "wrong": another answer was given as the answer.
    "missed": anything else.
    """

    question: str
    expected: tuple[str, ...]
    outcome: str
    answers: tuple[str, ...]  # ids that were shown or offered
    rule: str | None

    @property
    def kind(self) -> str:
        """What was expected: "answered", or the outcome's name."""
        return ANSWERED if any("/" in one for one in self.expected) else self.expected[0]

    @property
    def half(self) -> Half:
        """The half of the questions it belongs to; see ``acceptance``."""
        return half_of(self.question)

    @property
    def verdict(self) -> Verdict:
        """How good that was."""
        if self.outcome in self.expected:
            return "right"
        hit = any(id_ in self.expected for id_ in self.answers)
        if self.outcome == Outcome.ANSWERED:
            return "right" if hit else "wrong"
        if self.outcome == Outcome.DID_YOU_MEAN:
            return "offered" if hit or self.kind == Outcome.NO_ANSWER else "missed"
        return "missed"

    @property
    def came(self) -> str:
        """What came, for staff."""
        return f"{self.outcome}: {', '.join(self.answers) or self.rule}" if self.answers or self.rule else self.outcome


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of some questions; None where there was none."""

    n: int
    right: float | None
    found: float | None  # right or offered
    wrong: float | None

    @classmethod
    def of(cls, asked: Sequence[Asked]) -> "Shares":
        """Return the shares among these questions."""
        if not asked:
            return cls(0, None, None, None)
        verdicts = [one.verdict for one in asked]
        n = len(verdicts)
        right, offered, wrong = (verdicts.count(verdict) / n for verdict in ("right", "offered", "wrong"))
        return cls(n, right, right + offered, wrong)


def ask_all(
    pipeline: Pipeline, questions: Sequence[AcceptanceQuestion], progress: Callable[[int, int], None] | None = None
) -> list[Asked]:
    """Put every question to the pipeline, without a model, and return what came."""
    asked = []
    for done, question in enumerate(questions, 1):
        reply = pipeline.reply(question.question, mode="verbatim")
        ids = tuple(citation.id for citation in reply.citations)
        asked.append(Asked(question.question, question.accepted, reply.outcome.value, ids, reply.red_flag))
        if progress is not None:
            progress(done, len(questions))
    return asked


def shares_by_kind(asked: Sequence[Asked]) -> dict[str, Shares]:
    """Return the shares for each kind of expectation, "answered" first."""
    kinds = sorted({one.kind for one in asked}, key=lambda kind: (kind != ANSWERED, kind))
    return {kind: Shares.of([one for one in asked if one.kind == kind]) for kind in kinds}


def question_problems(asked: Sequence[Asked]) -> Iterator[Problem]:
    """Yield a warning for every question that did not lead where it must."""
    for one in asked:
        if one.verdict in ("wrong", "missed"):
            message = f"{one.question[:120]!r} must lead to {' or '.join(one.expected)}; {one.came} came"
            yield Problem(CHECKS, one.verdict, message, "warning")


def written_problems(knowledge: Knowledge) -> Iterator[Problem]:
    """Yield what is wrong with the questions as they are written: unknown ids, questions that stand twice."""
    outcomes = {outcome.value for outcome in Outcome} - {ANSWERED}
    seen: dict[str, int] = {}
    for number, question in enumerate(knowledge.checks, 1):
        where = f"entry {number}, expect"
        for expected in question.accepted:
            if expected not in outcomes and expected not in knowledge.answers:
                message = f"is {expected!r}, which is neither an answer's id nor one of {', '.join(sorted(outcomes))}"
                yield Problem(CHECKS, where, message)
        key = " ".join(question.question.casefold().split())
        if key in seen:
            message = f"{question.question[:80]!r} stands in entry {seen[key]} too; take one out"
            yield Problem(CHECKS, f"entry {number}, question", message, "warning")
        seen.setdefault(key, number)


def threshold_problems(asked: Sequence[Asked], *, min_found: float, max_wrong: float) -> Iterator[Problem]:
    """Yield a problem for each share of the questions that an answer must be found for, where it is not good enough."""
    shares = Shares.of([one for one in asked if one.kind == ANSWERED])
    if shares.found is not None and shares.found < min_found:
        message = f"{shares.found:.1%} of the questions find their answer; at least {min_found:.0%} must"
        yield Problem(CHECKS, "found", f"{message}. Add question variants to the answers that are missed")
    if shares.wrong is not None and shares.wrong > max_wrong:
        message = f"{shares.wrong:.1%} of the questions get a wrong answer; at most {max_wrong:.0%} may"
        yield Problem(CHECKS, "wrong", f"{message}. Make the question variants of the two answers differ more")


def asked_json(asked: Sequence[Asked]) -> dict[str, Any]:
    """Return figures and failures as plain values."""
    report_half = [one for one in asked if one.half == "report"]
    return {
        "asked": len(asked),
        "by_kind": {kind: _shares_json(shares) for kind, shares in shares_by_kind(asked).items()},
        "report_half": {kind: _shares_json(shares) for kind, shares in shares_by_kind(report_half).items()},
        "failures": [
            {
                "question": one.question, "expected": list(one.expected), "outcome": one.outcome,
                "answers": list(one.answers), "verdict": one.verdict, "half": one.half,
            }
            for one in asked if one.verdict in ("wrong", "missed")
        ],
    }  # fmt: skip


def _shares_json(shares: Shares) -> dict[str, Any]:
    parts = {"right": shares.right, "found": shares.found, "wrong": shares.wrong}
    return {"n": shares.n} | {name: None if share is None else round(share, 4) for name, share in parts.items()}
