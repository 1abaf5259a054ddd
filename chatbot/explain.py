"""Why a turn ended as it did, as plain values for staff and demonstrations."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from chatbot.pipeline import Dropped, Event, Finished


def explain(events: Sequence[Event]) -> dict[str, Any]:
    """Return what the gate saw, which entries matched and how strongly, the decision, and each sentence's fate."""
    finished = next(event for event in events if isinstance(event, Finished))
    verdict, decision = finished.verdict, finished.decision
    shown = [sentence for sentence in finished.reply.sentences if sentence.origin == "generated"]
    return {
        "safety": None if verdict is None else {"rule": verdict.rule_id, "matched": list(verdict.matched)},
        "decision": None
        if decision is None
        else {
            "kind": decision.kind,
            "candidates": list(decision.candidates),
            "margin": round(decision.margin, 4),
            "threshold": round(decision.threshold, 4),
            "searched": list(decision.searched),
            "earlier_question": decision.earlier_question,
            "hits": [asdict(hit) for hit in decision.hits],
        },
        "generated": {
            "shown": [{"text": sentence.text, "citation": sentence.citation} for sentence in shown],
            "dropped": [
                {"text": event.sentence, "reasons": list(event.reasons)}
                for event in events
                if isinstance(event, Dropped)
            ],
        },
    }
