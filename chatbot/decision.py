"""Whether the best answer found is the answer: thresholds that each index sets on its own questions.

Every question variant is searched as if it did not stand in the index (the right answer should win), and as if its
whole answer did not (nothing should be answered). With a small list of questions that no clinic answers, this shows
how scores of right and wrong answers lie in this very knowledge, whether it holds 20 answers or 20,000.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from chatbot.embedder import Embedder, Vectors
from chatbot.fusion import Candidates, fitted_weights, measure
from chatbot.query import Query
from chatbot.search import Index

Kind = Literal["answered", "did_you_mean", "no_answer"]
PROBES = 300  # variants that are tried; more say little that these do not
MAX_SUGGESTED = 3


@dataclass(frozen=True, slots=True)
class Thresholds:
    """In logits of the fused score."""

    answer: float = 1.0  # at least this for an answer
    margin: float = 0.3  # and so far ahead of the next answer
    suggest: float = -1.5  # at least this to be suggested


@dataclass(frozen=True, slots=True)
class Probe:
    """One question whose right outcome is known: best two logits, and whether the best answer is right."""

    best: float
    margin: float
    kind: Literal["right", "wrong", "removed", "out_of_scope"]


def decide_kind(best: float, margin: float, thresholds: Thresholds) -> Kind:
    """Return what these scores allow."""
    if best >= thresholds.answer and margin >= thresholds.margin:
        return "answered"
    return "did_you_mean" if best >= thresholds.suggest else "no_answer"


def calibrate(index: Index, notes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the notes to keep with an index: its thresholds, and what they rest on."""
    state = _state_of(index)
    if notes.get("state") == state:
        return dict(notes)
    probes = list(_probes(index))
    return {"state": state, "thresholds": asdict(thresholds_for(probes)), "probes": len(probes)}


def thresholds_of(notes: Mapping[str, Any]) -> Thresholds:
    """Return the thresholds in an index's notes."""
    return Thresholds(**notes.get("thresholds", {}))


def thresholds_for(probes: Sequence[Probe]) -> Thresholds:
    """Return thresholds that fit the probes."""
    usual = Thresholds()
    removed = [probe.best for probe in probes if probe.kind == "removed"]
    outside = [probe.best for probe in probes if probe.kind == "out_of_scope"]
    if len(removed) < 20:
        return usual
    answer = max(float(np.quantile(removed, 0.9)), float(np.quantile(outside, 0.99)))
    suggest = min(float(np.quantile(removed, 0.5)), answer)
    return Thresholds(answer, usual.margin, suggest)


def _state_of(index: Index) -> str:
    """Return a mark of everything the thresholds depend on."""
    parts = hashlib.sha256(index.store.keys.tobytes())
    parts.update(repr((index.synonyms.groups, asdict_weights())).encode())
    return parts.hexdigest()[:32]


def asdict_weights() -> dict[str, Any]:
    """Return the fusion's parameters, for the record."""
    return asdict(fitted_weights())


def _probes(index: Index) -> list[Probe]:
    probes: list[Probe] = []
    questions = [place for place, entry in enumerate(index.entries) if entry.kind == "question"]
    questions.sort(key=lambda place: hashlib.sha256(index.entries[place].text.encode()).digest())
    for place in questions[:PROBES]:
        text, owner = index.entries[place].text, int(index.owner[place])
        query, vectors = Query(text, text), index.vectors[place : place + 1]
        left_out = measure(index, query, vectors, hidden={place})
        best, margin, top = _summary(left_out)
        probes.append(Probe(best, margin, "right" if top == owner else "wrong"))
        best, margin, _ = _summary(measure(index, query, vectors, hidden_answer=owner))
        probes.append(Probe(best, margin, "removed"))
    texts = out_of_scope_questions()
    for text, vector in zip(texts, _out_of_scope_vectors(index.embedder), strict=True):
        best, margin, _ = _summary(measure(index, Query(text, text), vector[None, :]))
        probes.append(Probe(best, margin, "out_of_scope"))
    return probes


def _summary(candidates: Candidates) -> tuple[float, float, int]:
    if not len(candidates.places):
        return -20.0, 0.0, -1
    logits = fitted_weights().logits(candidates.features)
    order = np.argsort(-logits, kind="stable")
    second = float(logits[order[1]]) if len(order) > 1 else float(logits[order[0]]) - 20
    return float(logits[order[0]]), float(logits[order[0]]) - second, int(candidates.places[order[0]])


@lru_cache(maxsize=1)
def out_of_scope_questions() -> tuple[str, ...]:
    """Return questions that no clinic's knowledge answers."""
    path = Path(__file__).parent / "out_of_scope.yaml"
    return tuple(yaml.safe_load(path.read_text(encoding="utf-8")))


_REMEMBERED: dict[str, Vectors] = {}


def _out_of_scope_vectors(embedder: Embedder) -> Vectors:
    if embedder.name not in _REMEMBERED:
        _REMEMBERED[embedder.name] = embedder.encode(out_of_scope_questions())
    return _REMEMBERED[embedder.name]
