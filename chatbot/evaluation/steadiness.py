"""Whether the same question gets the same answer: in other wording, and after a restart."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from chatbot.evaluation.questions import Progress, Result, ask
from chatbot.evaluation.rates import Rate
from chatbot.knowledge import AcceptanceQuestion
from chatbot.pipeline import Pipeline

MAX_REWORDED = 400  # characters; a long message has no mechanical rewording worth the name


@dataclass(frozen=True, slots=True)
class Reworded:
    """One question in another wording, and whether it led to the same."""

    question: str
    wording: str
    is_same: bool
    is_other_answer: bool  # both were answered, with different answers

    def as_json(self) -> dict[str, Any]:
        """Return the row of the report."""
        return asdict(self)


def rewordings(question: str) -> list[str]:
    """Return the question as other people type it: without marks, with courtesies, with a slip, in capitals."""
    bare = " ".join(re.sub(r"[^\w\s'’%°./-]", " ", question.lower()).split())
    longest = max(re.findall(r"[A-Za-z]+", question) or [""], key=len)
    at = len(longest) // 2
    slip = longest[: at - 1] + longest[at] + longest[at - 1] + longest[at + 1 :] if len(longest) > 4 else longest
    made = (bare, f"Hello, {question} Thank you!", question.replace(longest, slip, 1) if longest else "", bare.upper())
    return [text for text in dict.fromkeys(made) if text and text != question]


def reword_all(pipeline: Pipeline, before: Sequence[Result], progress: Progress) -> list[Reworded]:
    """Return whether each rewording leads where the question itself led."""
    rows = [
        (result, wording)
        for result in before
        if len(result.asked.question) <= MAX_REWORDED
        for wording in rewordings(result.asked.question)
    ]
    found = []
    for done, (result, wording) in enumerate(rows, 1):
        now = ask(pipeline, AcceptanceQuestion(question=wording, expect=result.asked.expected)).asked
        was = result.asked
        is_same = now.outcome == was.outcome and set(now.answers) == set(was.answers)
        both_answered = now.outcome == was.outcome == "answered"
        found.append(Reworded(was.question, wording, is_same, both_answered and not is_same))
        progress(done, len(rows))
    return found


def same_again(pipeline: Pipeline, before: Sequence[Result], progress: Progress) -> Rate:
    """Return the share of questions that a freshly opened pipeline answers with the very same text."""
    same = 0
    for done, result in enumerate(before, 1):
        again = ask(pipeline, AcceptanceQuestion(question=result.asked.question, expect=result.asked.expected))
        same += again.text == result.text and again.asked == result.asked
        progress(done, len(before))
    return Rate(same, len(before))
