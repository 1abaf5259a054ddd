"""Finds vetted answers by words and by meaning, and decides whether one of them answers."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from chatbot.reply import Turn
from chatbot.retrieval.decision import MAX_SUGGESTED, certainty_of, decide_kind, embed, thresholds_of
from chatbot.retrieval.fusion import FEATURES, Candidates, measure
from chatbot.retrieval.query import Query, subject_of, understand
from chatbot.retrieval.search import Index
from chatbot.retrieval.words import read_synonyms, search_stems, words_of

__all__ = ["Decision", "Hit", "Retriever", "read_synonyms"]

SHOWN_HITS = 10
CLOSE = 0.7  # logits: runner-ups so close to the best are offered to the model too
MAX_PASSAGES = 3
FOLLOW_UP_MARGIN = 1.0  # logits between the best two, for an answer to a message that leans on an earlier one


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
    certainty: float = 0.0  # in [0, 1]: how likely the best hit is the right answer
    threshold: float = 0.0  # the certainty that an answer needs in this index
    suggest_threshold: float = 0.0  # the certainty that a suggestion needs
    searched: tuple[str, ...] = ()  # the texts that were searched: the message, its shortened form
    earlier_question: str = ""  # set when the question could not be understood alone


class Retriever:
    """Searches one index (a Retriever, see pipeline). Safe to share between threads."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self._thresholds = thresholds_of(index)

    def search(self, query: str, k: int = 10) -> list[Hit]:
        """Return the best answers, best first; equal scores in the order of their ids."""
        return self._hits(self._found(self.understood(query)), k)

    def decide(self, question: str, history: Sequence[Turn] = ()) -> Decision:
        """Return what this turn's evidence allows; earlier turns only say what "it" means."""
        query, found = self._reading(question, history)
        hits = self._hits(found, SHOWN_HITS)
        certainty = self._certainty(query, found)
        kind = decide_kind(certainty, self._thresholds)
        margin = float(found.logits[0] - found.logits[1]) if len(hits) > 1 else 0.0
        is_guess = query.leaning == "perhaps" or (len(hits) > 1 and margin < FOLLOW_UP_MARGIN)
        if kind == "answered" and query.earlier and is_guess:
            kind = "did_you_mean"
        candidates: tuple[str, ...] = ()
        if kind == "answered":
            candidates = (hits[0].answer_id,)
        elif kind == "did_you_mean":
            candidates = tuple(hit.answer_id for hit in hits[:MAX_SUGGESTED])
            kind = "did_you_mean" if len(candidates) > 1 else "no_answer"
        n_close = int((found.logits[:1] - found.logits[: len(hits)] <= CLOSE).sum())
        close = [hit.answer_id for hit in hits[:n_close]]
        return Decision(
            kind=kind,
            candidates=candidates if kind != "no_answer" else (),
            passages=tuple(close[:MAX_PASSAGES]) if kind == "answered" else (),
            hits=tuple(hits),
            margin=margin,
            certainty=_score(certainty),
            threshold=_score(self._thresholds.answer),
            suggest_threshold=_score(self._thresholds.suggest),
            searched=query.views,
            earlier_question=query.earlier,
        )

    def understood(self, question: str, history: Sequence[Turn] = ()) -> Query:
        """Return what is searched for."""
        return understand(question, history, weight=self.index.weight, mend=self.index.speller.mend)

    def _reading(self, question: str, history: Sequence[Turn]) -> tuple[Query, Candidates]:
        """Return what the message is taken to ask, and what is found for it.

        The earlier turn alone must not carry a hit: an answer that says nothing of what this very message names is
        none for it. A message that may stand alone does so if that answers it, or is the more certain reading.
        """
        query = self.understood(question, history)
        found = self._found(query)
        if not query.earlier:
            return query, found
        alone = self.understood(question)
        if query.leaning == "yes":
            return (query, found) if self._speaks_of(found, query.text, any) else (alone, self._found(alone))
        found_alone = self._found(alone)
        certainty = self._certainty(alone, found_alone)
        if (
            decide_kind(certainty, self._thresholds) != "answered"
            and self._certainty(query, found) > certainty
            and self._speaks_of(found, query.text, all)
        ):
            return query, found
        return alone, found_alone

    def _certainty(self, query: Query, found: Candidates) -> float:
        return certainty_of(found, query, pieces=self.index.store.has_pieces)

    def _found(self, query: Query) -> Candidates:
        if not words_of(query.whole):
            return Candidates.none()
        return measure(self.index, query, embed(self.index, query))

    def _speaks_of(self, found: Candidates, message: str, enough: Callable[[Iterable[bool]], bool]) -> bool:
        """Say whether the best answer says enough (any, all) of what this very message names, if it names anything."""
        subject = search_stems(" ".join(subject_of(message)), self.index.synonyms)
        if not subject or not len(found.places):
            return True
        first, last = self.index.spans[found.places[0]], self.index.spans[found.places[0] + 1]
        said = {number for entry in range(first, last) for number in self.index.documents[entry].tolist()}
        return enough(self.index.stem_numbers.get(one) in said for one in subject)

    def _hits(self, found: Candidates, k: int) -> list[Hit]:
        return [_hit(self.index, found, row) for row in range(min(k, len(found.places)))]


def _hit(index: Index, found: Candidates, row: int) -> Hit:
    parts = {name: round(float(value), 4) for name, value in zip(FEATURES, found.features[row], strict=True)}
    return Hit(
        answer_id=index.ids[found.places[row]],
        score=_score(float(found.logits[row])),
        rank=row + 1,
        entry=index.entries[found.entries[row]].text,
        words=max(parts["bm25_asked"], parts["bm25_body"]),
        meaning=max(parts["meaning_asked_part"], parts["meaning_body_part"]),
        parts=tuple(parts.items()),
    )


def _score(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))
