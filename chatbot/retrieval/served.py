"""A retriever for the moments in which the knowledge is newer than the index."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from chatbot.knowledge import Answer
from chatbot.reply import Turn
from chatbot.retrieval.retriever import Decision


class Decides(Protocol):
    """What is asked; see ``retrieval.Retriever``."""

    def decide(self, question: str, history: Sequence[Turn] = ()) -> Decision:
        """Return what this turn's evidence allows."""


@dataclass(frozen=True, slots=True)
class ServedOnly:
    """Finds what the other retriever finds, but never an answer that is not served any more (a Retriever).

    Where the best answer is gone nothing takes its place: how sure the next one would have been, nobody has asked.
    """

    retriever: Decides
    served: Mapping[str, Answer]

    def decide(self, question: str, history: Sequence[Turn] = ()) -> Decision:
        """Return what this turn's evidence allows, without the answers that are gone."""
        decision = self.retriever.decide(question, history)
        gone = {hit.answer_id for hit in decision.hits if hit.answer_id not in self.served}
        gone |= {id_ for id_ in (*decision.candidates, *decision.passages) if id_ not in self.served}
        if not gone:
            return decision
        candidates = tuple(id_ for id_ in decision.candidates if id_ not in gone)
        hits = tuple(hit for hit in decision.hits if hit.answer_id not in gone)
        return replace(
            decision,
            kind=decision.kind if candidates else "no_answer",
            candidates=candidates,
            passages=tuple(id_ for id_ in decision.passages if id_ not in gone) if candidates else (),
            hits=tuple(replace(hit, rank=rank) for rank, hit in enumerate(hits, 1)),
        )
