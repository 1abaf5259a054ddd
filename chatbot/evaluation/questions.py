"""The acceptance questions put to the real pipeline, and what each led to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chatbot.knowledge import AcceptanceQuestion
from chatbot.pipeline import Dropped, Finished, Mode, Pipeline
from chatbot.prompting import ABSTENTION
from chatbot.reply import Outcome, Reply
from chatbot.staff.check_questions import Asked

# offered: with the right answer, or where nothing fits; others: without it. card: a safety rule fired.
Came = Literal["right", "offered", "others", "refused", "wrong", "card", "else"]
CAME: tuple[Came, ...] = ("right", "offered", "others", "refused", "wrong", "card", "else")
Progress = Callable[[int, int], None]
_CARDS = (Outcome.EMERGENCY, Outcome.CRISIS, Outcome.DECLINED)


@dataclass(frozen=True, slots=True)
class Result:
    """One question and everything of its turn that is measured."""

    asked: Asked
    certainty: float | None  # in [0, 1]; None when nothing was searched
    first: str | None  # the best hit, answered with or not
    first_text_ms: float
    total_ms: float
    text: str  # what the patient read

    @property
    def came(self) -> Came:
        """The column of the confusion matrix."""
        if self.asked.verdict == "right":
            return "right"
        match self.asked.outcome:
            case Outcome.DID_YOU_MEAN:
                return "offered" if self.asked.verdict == "offered" else "others"
            case Outcome.ANSWERED:
                return "wrong"
            case Outcome.NO_ANSWER:
                return "refused"
            case outcome if outcome in _CARDS:
                return "card"
            case _:
                return "else"

    @property
    def first_is_right(self) -> bool:
        """Whether the best hit would have been a right answer."""
        return self.first in self.asked.expected

    def as_json(self) -> dict[str, Any]:
        """Return the row of the report."""
        return {
            "question": self.asked.question,
            "expected": list(self.asked.expected),
            "kind": self.asked.kind,
            "half": self.asked.half,
            "outcome": self.asked.outcome,
            "answers": list(self.asked.answers),
            "rule": self.asked.rule,
            "verdict": self.asked.verdict,
            "came": self.came,
            "certainty": None if self.certainty is None else round(self.certainty, 4),
            "first": self.first,
            "first_text_ms": round(self.first_text_ms, 2),
        }


@dataclass(frozen=True, slots=True)
class Worded:
    """One reply that the model worded."""

    question: str
    shown: tuple[tuple[str, str], ...]  # sentence, id of the answer that it cites
    refused: tuple[tuple[str, tuple[str, ...]], ...]  # sentence, reasons
    abstained: bool  # the model said that the passages do not answer; the patient does not see that
    total_ms: float

    def as_json(self) -> dict[str, Any]:
        """Return the row of the report."""
        return {
            "question": self.question,
            "shown": [{"text": text, "citation": citation} for text, citation in self.shown],
            "refused": [{"text": text, "reasons": list(reasons)} for text, reasons in self.refused],
            "abstained": self.abstained,
            "total_ms": round(self.total_ms, 1),
        }


def ask(pipeline: Pipeline, question: AcceptanceQuestion) -> Result:
    """Return what one question leads to, without a model."""
    finished = _finished(pipeline, question.question, "verbatim")[0]
    reply, decision = finished.reply, finished.decision
    ids = tuple(citation.id for citation in reply.citations)
    asked = Asked(question.question, question.accepted, reply.outcome.value, ids, reply.red_flag)
    return Result(
        asked,
        certainty=None if decision is None else decision.certainty,
        first=decision.hits[0].answer_id if decision is not None and decision.hits else None,
        first_text_ms=reply.timings_ms.first_text,
        total_ms=reply.timings_ms.total,
        text=reply.text,
    )


def ask_all(pipeline: Pipeline, questions: Sequence[AcceptanceQuestion], progress: Progress) -> list[Result]:
    """Return what every question leads to, in order."""
    results = []
    for done, question in enumerate(questions, 1):
        results.append(ask(pipeline, question))
        progress(done, len(questions))
    return results


def word_all(pipeline: Pipeline, questions: Sequence[str], progress: Progress) -> list[Worded]:
    """Return what the model words for each question, refused sentences with their reasons."""
    worded = []
    for done, question in enumerate(questions, 1):
        finished, refused = _finished(pipeline, question, "guided")
        worded.append(_worded(finished.reply, refused))
        progress(done, len(questions))
    return worded


def _worded(reply: Reply, refused: Sequence[Dropped]) -> Worded:
    shown = [(one.text, one.citation or "") for one in reply.sentences if one.origin == "generated"]
    dropped = [(event.sentence, event.reasons) for event in refused if not event.sentence.startswith(ABSTENTION)]
    abstained = len(dropped) < len(refused)
    return Worded(reply.question, tuple(shown), tuple(dropped), abstained, reply.timings_ms.total)


def _finished(pipeline: Pipeline, question: str, mode: Mode) -> tuple[Finished, list[Dropped]]:
    events = list(pipeline.ask(question, mode=mode))
    finished = next(event for event in events if isinstance(event, Finished))
    return finished, [event for event in events if isinstance(event, Dropped)]


def spread(things: Sequence[Any], count: int) -> list[Any]:
    """Return so many of the things, evenly over their order; all of them when there are fewer."""
    if len(things) <= count:
        return list(things)
    return [things[place * len(things) // count] for place in range(count)]
