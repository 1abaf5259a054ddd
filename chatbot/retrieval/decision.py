"""Whether the best answer found is the answer: thresholds that each index sets on its own questions.

A small logistic model, fitted on development questions, says how certain the best answer is. Every question variant
is then searched as if its whole answer did not stand in the index, and so is a small list of questions that no clinic
answers: this shows how certain wrong answers look in this very knowledge, whether it holds 20 answers or 20,000, and
the thresholds are set above them.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from chatbot.retrieval.fusion import FEATURES, Candidates, Embedded, fitted_content, measure
from chatbot.retrieval.query import Query
from chatbot.retrieval.search import Index, PieceEmbedder
from chatbot.retrieval.store import Floats

Kind = Literal["answered", "did_you_mean", "no_answer"]
NOTHING = -20.0
LONE_MARGIN = 5.0
SAME_QUESTION = 0.97  # cosine: the message is a question that staff wrote, give or take a letter
SURE = 6.0
PROBES = 300  # variants that are tried; more say little that these do not
PRIOR = 50  # a knowledge of few variants leans on the usual thresholds as if on so many
MAX_SUGGESTED = 3
EVIDENCE = (
    "best",  # the best answer's logit
    "margin",  # how far it is ahead of the next
    "length",  # logarithm of the number of words in the message
    "meaning_asked_whole",  # and what speaks for the best answer by itself
    "meaning_asked_part",
    "meaning_body_whole",
    "meaning_pieces",
    "overlap_asked",
    "bm25_body",
    "covered",
)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How certain the best answer must be; certainty is the logit of its being the right one."""

    answer: float = 1.5  # to be given
    suggest: float = -3.0  # to be suggested


@dataclass(frozen=True, slots=True)
class Probe:
    """One question whose right outcome is known, and how certain its best answer looked."""

    certainty: float
    kind: Literal["right", "wrong", "removed", "out_of_scope"]


def decide_kind(certainty: float, thresholds: Thresholds) -> Kind:
    """Return what this certainty allows."""
    if certainty >= thresholds.answer:
        return "answered"
    return "did_you_mean" if certainty >= thresholds.suggest else "no_answer"


def evidence_of(found: Candidates, query: Query) -> Floats:
    """Return what the certainty is judged by, in the order of ``EVIDENCE``."""
    best = float(found.logits[0])
    margin = best - float(found.logits[1]) if len(found.logits) > 1 else LONE_MARGIN
    own = dict(zip(FEATURES, found.features[0].tolist(), strict=True))
    own |= {"best": best, "margin": margin, "length": math.log(max(1, len(query.whole.split())))}
    return np.array([own[name] for name in EVIDENCE], dtype=np.float32)


def certainty_of(found: Candidates, query: Query, *, pieces: bool) -> float:
    """Return the logit of the best answer's being the right one; very low when nothing was found."""
    if not len(found.places):
        return NOTHING
    judge = fitted_judge(pieces=pieces)
    certainty = float(evidence_of(found, query) @ np.array(judge.weights, dtype=np.float32)) + judge.bias
    if found.features[0, FEATURES.index("meaning_asked_whole")] >= SAME_QUESTION:
        return max(certainty, SURE)
    return certainty


@dataclass(frozen=True, slots=True)
class Judge:
    """A logistic model of certainty, and where its thresholds usually lie."""

    bias: float
    weights: tuple[float, ...]  # in the order of EVIDENCE
    usual: Thresholds
    answer_level: float  # share of the probes without an answer that lie below the threshold for an answer
    suggest_level: float  # the same for a suggestion


@lru_cache(maxsize=2)
def fitted_judge(*, pieces: bool) -> Judge:
    """Return the judge that ships with the program, for an index with or without word pieces."""
    content = fitted_content()["with_pieces" if pieces else "without_pieces"]["certainty"]
    return Judge(
        bias=float(content["bias"]),
        weights=tuple(float(content["weights"].get(name, 0.0)) for name in EVIDENCE),
        usual=Thresholds(**content["usual"]),
        answer_level=float(content["levels"]["answer"]),
        suggest_level=float(content["levels"]["suggest"]),
    )


def calibrate(index: Index, notes: Mapping[str, Any], pause: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Return the notes to keep with an index: its thresholds, and what they rest on.

    It takes a second or more. ``pause`` is called every few milliseconds, to let others go first or to stop it.
    """
    state = _state_of(index)
    if notes.get("state") == state:
        return dict(notes)
    probes = probes_of(index, pause)
    found = thresholds_for(probes, fitted_judge(pieces=index.store.has_pieces))
    return {"state": state, "thresholds": asdict(found), "probes": len(probes)}


def is_calibrated(index: Index) -> bool:
    """Say whether the index's thresholds were set on the very entries that it holds."""
    return bool(index.store.notes.get("state") == _state_of(index))


def thresholds_of(index: Index) -> Thresholds:
    """Return the thresholds in an index's notes."""
    kept = index.store.notes.get("thresholds")
    return Thresholds(**kept) if kept else fitted_judge(pieces=index.store.has_pieces).usual


def thresholds_for(probes: Sequence[Probe], judge: Judge) -> Thresholds:
    """Return thresholds that as many probes without an answer stay below as in the knowledge they were fitted on."""
    without = np.array([probe.certainty for probe in probes if probe.kind in ("removed", "out_of_scope")])
    n_removed = sum(probe.kind == "removed" for probe in probes)
    own = n_removed / (n_removed + PRIOR)
    if not n_removed:
        return judge.usual
    answer = own * float(np.quantile(without, judge.answer_level)) + (1 - own) * judge.usual.answer
    suggest = own * float(np.quantile(without, judge.suggest_level)) + (1 - own) * judge.usual.suggest
    return Thresholds(answer, min(suggest, answer))


def _state_of(index: Index) -> str:
    """Return a mark of everything the thresholds depend on."""
    parts = hashlib.sha256(index.store.keys.tobytes())
    parts.update(repr((index.synonyms.groups, fitted_content())).encode())
    return parts.hexdigest()[:32]


def probes_of(index: Index, pause: Callable[[], None] = lambda: None) -> list[Probe]:
    """Return the index's own questions tried without themselves and without their answers, and some of no clinic."""
    probes: list[Probe] = []
    questions = [place for place, entry in enumerate(index.entries) if entry.kind == "question"]
    questions.sort(key=lambda place: hashlib.sha256(index.entries[place].text.encode()).digest())
    for place in questions[:PROBES]:
        text, owner = index.entries[place].text, int(index.owner[place])
        query = Query(text, text)
        pieces = index.store.pieces[place].astype(np.float32) / np.float32(127) if index.store.has_pieces else None
        meaning = Embedded(index.vectors[place : place + 1], pieces)
        left_out = measure(index, query, meaning, hidden={place})
        is_right = len(left_out.places) > 0 and int(left_out.places[0]) == owner
        probes.append(_probe(index, left_out, query, "right" if is_right else "wrong"))
        probes.append(_probe(index, measure(index, query, meaning, hidden_answer=owner), query, "removed"))
        pause()
    for text, meaning in zip(out_of_scope_questions(), _out_of_scope_meanings(index), strict=True):
        query = Query(text, text)
        probes.append(_probe(index, measure(index, query, meaning), query, "out_of_scope"))
        pause()
    return probes


def _probe(
    index: Index, found: Candidates, query: Query, kind: Literal["right", "wrong", "removed", "out_of_scope"]
) -> Probe:
    return Probe(certainty_of(found, query, pieces=index.store.has_pieces), kind)


@lru_cache(maxsize=1)
def out_of_scope_questions() -> tuple[str, ...]:
    """Return questions that no clinic's knowledge answers."""
    path = Path(__file__).parent / "out_of_scope.yaml"
    return tuple(yaml.safe_load(path.read_text(encoding="utf-8")))


_REMEMBERED: dict[tuple[str, bool], list[Embedded]] = {}


def _out_of_scope_meanings(index: Index) -> list[Embedded]:
    key = (index.embedder.name, index.store.has_pieces)
    if key not in _REMEMBERED:
        _REMEMBERED[key] = [embed(index, Query(text, text)) for text in out_of_scope_questions()]
    return _REMEMBERED[key]


def embed(index: Index, query: Query) -> Embedded:
    """Return the meaning of a query for this index; short forms of its synonyms are written out first."""
    texts = [index.synonyms.written_out(text) for text in query.views]
    if index.store.has_pieces and isinstance(index.embedder, PieceEmbedder):
        vectors, pieces = index.embedder.encode_pieces(texts)
        return Embedded(vectors, pieces[0])
    return Embedded(index.embedder.encode(texts))
