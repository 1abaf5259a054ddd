"""What a turn can end in, and its one JSON form (the contract other programs rely on)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

Origin = Literal["vetted", "generated", "fixed"]


class Outcome(StrEnum):
    """How a turn ended; the page has one way of showing each."""

    ANSWERED = "answered"
    DID_YOU_MEAN = "did_you_mean"
    NO_ANSWER = "no_answer"
    EMERGENCY = "emergency"
    CRISIS = "crisis"
    DECLINED = "declined"
    GREETING = "greeting"


@dataclass(frozen=True, slots=True)
class Turn:
    """One earlier message of the conversation, oldest first in a history."""

    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """The model has not begun with this reply; so many others come first (0: it begins now)."""

    before: int


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence a patient reads, and what it rests on."""

    text: str
    origin: Origin
    citation: str | None = None  # the answer's id; None for fixed text
    support: tuple[str, ...] = ()  # the vetted statements that carry a generated sentence; for the page alone


@dataclass(frozen=True, slots=True)
class Citation:
    """The vetted answer behind a sentence, with its review state."""

    id: str
    title: str
    url: str
    publisher: str
    review_status: str
    reviewed: str | None  # ISO date
    due: str | None  # ISO date


@dataclass(frozen=True, slots=True)
class HitRecord:
    """One ranked answer as it stands in the JSON reply; rank starts at 1."""

    id: str
    score: float
    rank: int


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds since the question arrived; ``first_text`` is when the patient could read."""

    safety: float = 0.0
    retrieval: float = 0.0
    first_text: float = 0.0
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class Reply:
    """The whole outcome of one turn."""

    question: str
    outcome: Outcome
    text: str
    sentences: tuple[Sentence, ...] = ()
    citations: tuple[Citation, ...] = ()
    hits: tuple[HitRecord, ...] = ()
    dropped: int = 0
    red_flag: str | None = None
    model: str | None = None
    timings_ms: Timings = field(default_factory=Timings)
    id: str = ""
    language: str = ""  # the code of the language it is in; empty: the clinic's first. For the page alone

    def as_json(self) -> dict[str, Any]:
        """Return the contract's JSON object, keys in the contract's order."""
        fields = asdict(self)
        del fields["language"]
        fields["outcome"] = self.outcome.value
        for sentence in fields["sentences"]:
            del sentence["support"]
        fields |= {name: list(fields[name]) for name in ("sentences", "citations", "hits")}
        fields["timings_ms"] = {name: round(ms, 2) for name, ms in fields["timings_ms"].items()}
        return {"id": fields.pop("id")} | fields


def join_text(sentences: Sequence[Sentence]) -> str:
    """Return the sentences as plain text, one a line."""
    return "\n".join(sentence.text for sentence in sentences)
