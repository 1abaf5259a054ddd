"""Finds vetted answers by words and by meaning, and decides whether one of them answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from chatbot.decision import MAX_SUGGESTED, decide_kind, thresholds_of
from chatbot.fusion import FEATURES, fitted_weights, measure
from chatbot.query import Query, understand
from chatbot.reply import Turn
from chatbot.search import Floats, Index
from chatbot.words import read_synonyms

__all__ = ["Decision", "Hit", "Retriever", "read_synonyms"]

SHOWN_HITS = 10
CLOSE = 1.5  # logits: runner-ups so close to the best are offered to the model too
MAX_PASSAGES = 3


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer found: rank from 1; score in [0, 1], comparable between questions."""

    answer_id: str
    score: float
    rank: int
    entry: str = ""  # the question variant, title or passage that matched best
    words: float = 0.0  # the BM25 part
    meaning: float = 0.0  # the cosine part
    parts: tuple[tuple[str, float], ...] = ()  # every measure that went into the score, by name


@dataclass(frozen=True, slots=True)
class Decision:
    """What this turn's evidence allows, and why."""

    kind: Literal["answered", "did_you_mean", "no_answer"]
    candidates: tuple[str, ...] = ()  # answer ids: the one for answered, two or three for did_you_mean
    passages: tuple[str, ...] = ()  # answer ids offered to the model, best first
    hits: tuple[Hit, ...] = ()
    margin: float = 0.0  # logits between the best two hits
    threshold: float = 0.0  # the score that an answer needs in this index
    searched: tuple[str, ...] = ()  # the texts that were searched: the message, its shortened form
    earlier_question: str = ""  # set when the question could not be understood alone


class Retriever:
    """Searches one index (a Retriever, see pipeline). Safe to share between threads."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._thresholds = thresholds_of(index.store.notes)

    def search(self, query: str, k: int = 10) -> list[Hit]:
        """Return the best answers, best first; equal scores in the order of their ids."""
        return list(self._ranked(self._understood(query, ())))[:k]

    def decide(self, question: str, history: Sequence[Turn] = ()) -> Decision:
        """Return what this turn's evidence allows; earlier turns only say what "it" means."""
        query = self._understood(question, history)
        hits = self._ranked(query)
        if not hits:
            return Decision("no_answer", searched=query.views, earlier_question=query.earlier)
        logits = [_logit(hit.score) for hit in hits]
        margin = logits[0] - logits[1] if len(hits) > 1 else logits[0] - _logit(0.0)
        kind = decide_kind(logits[0], margin, self._thresholds)
        close = [hit.answer_id for hit, logit in zip(hits, logits, strict=True) if logits[0] - logit <= CLOSE]
        candidates: tuple[str, ...] = ()
        if kind == "answered":
            candidates = (hits[0].answer_id,)
        elif kind == "did_you_mean":
            candidates = tuple(hit.answer_id for hit in hits[: max(2, min(len(close), MAX_SUGGESTED))])
            kind = "did_you_mean" if len(candidates) > 1 else "no_answer"
        return Decision(
            kind=kind,
            candidates=candidates if kind != "no_answer" else (),
            passages=tuple(close[:MAX_PASSAGES]) if kind == "answered" else (),
            hits=tuple(hits[:SHOWN_HITS]),
            margin=margin,
            threshold=_score(self._thresholds.answer),
            searched=query.views,
            earlier_question=query.earlier,
        )

    def _understood(self, question: str, history: Sequence[Turn]) -> Query:
        return understand(question, history, weight=self.index.weight, mend=self.index.speller.mend)

    def _ranked(self, query: Query) -> list[Hit]:
        texts = [self.index.synonyms.written_out(text) for text in query.views]
        if not any(texts):
            return []
        candidates = measure(self.index, query, self.index.embedder.encode(texts))
        logits = fitted_weights().logits(candidates.features)
        rows = sorted(range(len(logits)), key=lambda row: (-logits[row], self.index.ids[candidates.places[row]]))
        return [
            _hit(
                self.index, candidates.places[row], candidates.entries[row], logits[row], candidates.features[row], rank
            )
            for rank, row in enumerate(rows, 1)
        ]


def _hit(index: Index, place: int, entry: int, logit: float, features: Floats, rank: int) -> Hit:
    parts = tuple((name, round(float(value), 4)) for name, value in zip(FEATURES, features, strict=True))
    named = dict(parts)
    return Hit(
        answer_id=index.ids[place],
        score=_score(float(logit)),
        rank=rank,
        entry=index.entries[entry].text,
        words=max(named["bm25_asked"], named["bm25_body"]),
        meaning=max(named["meaning_asked"], named["meaning_body"]),
        parts=parts,
    )


def _score(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


def _logit(score: float) -> float:
    clipped = min(max(score, 1e-9), 1 - 1e-9)
    return float(np.log(clipped / (1 - clipped)))
