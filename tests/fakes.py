"""A small knowledge, and fakes that fit the pipeline's Protocols."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from chatbot.errors import GenerationError
from chatbot.knowledge import Answer, Clinic, GreetingText, Review, Source, Texts
from chatbot.prompting import Message
from chatbot.reply import Outcome, Turn
from chatbot.retrieval.retriever import Decision
from chatbot.safety.gate import Verdict

PROJECT = Path(__file__).resolve().parent.parent
SHIPPED_KNOWLEDGE = PROJECT / "knowledge"


def answer(id_: str, text: str, *, title: str = "", see_also: tuple[str, ...] = ()) -> Answer:
    """Return a draft answer with one source."""
    return Answer(
        id=id_,
        title=title or id_.rpartition("/")[2].capitalize(),
        questions=(f"What about {id_.rpartition('/')[2]}?",),
        sources=(
            Source(title="A page", publisher="A publisher", url="https://example.org/page", checked=date(2026, 1, 2)),
        ),  # type: ignore[arg-type]
        review=Review(),
        see_also=see_also,
        text=text,
    )


FEVER = answer(
    "fever/adults",
    "A fever is 100.4 °F (38 °C) or more. Rest and drink water.\n\n## When to get help\n\n- Call if it lasts 3 days.",
    title="Fever in adults",
    see_also=("fever/children",),
)
CHILD_FEVER = answer(
    "fever/children", "A fever in a child often ends in 2 days. Do not give aspirin.", title="Fever in children"
)

TEXTS = Texts(
    software_notice="This is software.",
    demonstration_notice="Demonstration text.",
    no_answer="The answers do not cover this.\n\nCall 202-555-0100.",
    did_you_mean="Which one did you mean?",
    empty_question="Please type a question.",
    safety_failure="Something went wrong. Call 000 now if it is an emergency.",
    model_unavailable="Short replies are off.",
    being_reviewed="Being reviewed.",
    greetings=(GreetingText(phrases=("hello", "hi"), text="Hello. What would you like to know?"),),
)
CLINIC = Clinic(
    name="Test Clinic", region="us", phone="202-555-0100", hours="always", emergency_number="000",
    crisis_number="001", poison_number="002", languages=("en",), reach_a_person="Call 202-555-0100.",
)  # fmt: skip


@dataclass
class WordGate:
    """Fires on one word; raises when told to."""

    word: str = "chest"
    broken: bool = False
    seen: list[str] = field(default_factory=list)

    def check(self, message: str, history: Sequence[Turn]) -> Verdict | None:
        self.seen.append(message)
        if self.broken:
            raise RuntimeError("broken rule")
        if self.word in message:
            return Verdict(Outcome.EMERGENCY, "heart", "Call **000** now.\n\n- Sit down.", (self.word,))
        return None


@dataclass
class FixedRetriever:
    """Always decides the same."""

    decision: Decision
    seen: list[str] = field(default_factory=list)

    def decide(self, question: str, history: Sequence[Turn]) -> Decision:
        self.seen.append(question)
        return self.decision


@dataclass
class ScriptedWriter:
    """Writes what it was told to, piece by piece, and dies after ``dies_after`` pieces."""

    pieces: Sequence[str] = ()
    dies_after: int | None = None
    name: str | None = "scripted:0000"
    seen: list[list[Message]] = field(default_factory=list)

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def draft(self, messages: list[Message], stopped: Callable[[], bool]) -> Iterator[str]:
        self.seen.append(messages)
        for number, piece in enumerate(self.pieces):
            if number == self.dies_after:
                raise GenerationError("the model's process ended")
            if stopped():
                return
            yield piece

    def close(self) -> None:
        """Nothing to end."""


ANSWERED = Decision("answered", candidates=("fever/adults",), passages=("fever/adults", "fever/children"))
