"""Finds vetted answers by words and by meaning, and decides whether one of them answers."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer found: rank from 1; score in [0, 1], comparable between questions."""

    answer_id: str
    score: float
    rank: int
    entry: str = ""  # the question variant, title or passage that matched best
    words: float = 0.0  # the BM25 part
    meaning: float = 0.0  # the cosine part


@dataclass(frozen=True, slots=True)
class Decision:
    """What this turn's evidence allows, and why."""

    kind: Literal["answered", "did_you_mean", "no_answer"]
    candidates: tuple[str, ...] = ()  # answer ids: the one for answered, two or three for did_you_mean
    passages: tuple[str, ...] = ()  # answer ids offered to the model, best first
    hits: tuple[Hit, ...] = ()
    margin: float = 0.0
    threshold: float = 0.0
    searched: tuple[str, ...] = ()  # the texts that were searched: the message, its shortened form
    earlier_question: str = ""  # set when the question could not be understood alone
