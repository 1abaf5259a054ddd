"""Fits the weights of ``chatbot/retrieval/fusion.yaml`` on development questions, and writes them.

    python tests/measurements/fit_fusion.py            # reads knowledge/, writes chatbot/retrieval/fusion.yaml

The questions are the development half of the acceptance questions, and the development half of MeQSum's messages as
questions that the shipped answers do not answer, long and in one line: without them the judge would learn that a long
message has an answer.

Two small models are fitted, each for an index with and without word pieces:
1. Ranking: softmax over the candidates of a question, weights of one sign, ridge penalty.
2. Certainty: a logistic model of "the best answer is the right one", on out-of-fold rankings.
The thresholds are set on out-of-fold certainties of the same half. The report halves are not read at all.
"""

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import yaml

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from chatbot.embedder import Embedder, MiniLM  # noqa: E402
from chatbot.knowledge import AcceptanceQuestion, load_knowledge  # noqa: E402
from chatbot.pipeline import MAX_MESSAGE_CHARS  # noqa: E402
from chatbot.retrieval.decision import EVIDENCE, embed, evidence_of, probes_of  # noqa: E402
from chatbot.retrieval.fusion import FEATURES, Candidates, measure  # noqa: E402
from chatbot.retrieval.index import open_index  # noqa: E402
from chatbot.retrieval.query import Query, understand  # noqa: E402
from chatbot.retrieval.search import Index  # noqa: E402
from chatbot.retrieval.words import read_synonyms  # noqa: E402
from chatbot.staff.acceptance import NO_ANSWER, half_of, in_half  # noqa: E402

Array = npt.NDArray[np.float64]
SIGNS = np.array([-1.0 if name.startswith(("aspect", "audience")) else 1.0 for name in FEATURES])
SCALE = 0.3  # brings the ranking's logits to the range of certainties; the order does not change
OUT_OF_SCOPE_ANSWERED = 0.025  # what the thresholds allow on out-of-fold development questions
WRONGLY_ANSWERED = 0.01
SUGGESTED = 0.985  # share of questions with an answer that must at least get suggestions
FOLDS = 5
MESSAGES = PROJECT.parent / "shared" / "data" / "meqsum_dev.jsonl"
# Rows of it, from 0, whose subject stands in the shipped answers, or may: they say nothing about either outcome.
PERHAPS_ANSWERED = frozenset((
    17, 22, 31, 32, 41, 45, 48, 77, 80, 91, 94, 104, 106, 120, 149, 210, 222, 245, 271, 276, 281, 283, 302, 304, 305,
    315, 329, 331, 336, 347, 359, 363, 388, 392, 397, 409, 415, 425, 431, 434, 449, 460, 464, 477, 494,
))  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """One development question with its candidates."""

    question: AcceptanceQuestion
    query: Query
    features: Array  # (n, len(FEATURES))
    right: npt.NDArray[np.bool_]  # (n,)
    source: Literal["acceptance", "messages"]

    @property
    def fold(self) -> int:
        """All questions of one answer share a fold."""
        key = self.question.question if NO_ANSWER in self.question.accepted else str(self.question.accepted)
        return hashlib.sha256(key.encode()).digest()[0] % FOLDS


def is_about_answers(question: AcceptanceQuestion) -> bool:
    """Say whether retrieval, and not the safety gate, decides this question."""
    return all("/" in accepted or accepted == NO_ANSWER for accepted in question.accepted)


def unanswered_messages() -> list[AcceptanceQuestion]:
    """Return MeQSum's development half as questions without an answer: each message, and its one-line question."""
    rows = [json.loads(line) for line in MESSAGES.read_text(encoding="utf-8").splitlines()]
    kept = [
        row for n, row in enumerate(rows) if half_of(row["question"]) == "development" and n not in PERHAPS_ANSWERED
    ]
    texts = [row["question"][:MAX_MESSAGE_CHARS] for row in kept] + [row["short"] for row in kept]
    return [AcceptanceQuestion(question=text, expect=NO_ANSWER) for text in texts]


def ask_all(
    index: Index, questions: Sequence[AcceptanceQuestion], source: Literal["acceptance", "messages"]
) -> list[Asked]:
    """Return each question with the features of its candidates."""
    asked = []
    for question in questions:
        query = understand(question.question, (), weight=index.weight, mend=index.speller.mend)
        found = measure(index, query, embed(index, query))
        right = np.array([index.ids[place] in question.accepted for place in found.places], dtype=bool)
        asked.append(Asked(question, query, found.features[:40].astype(np.float64), right[:40], source))
    return asked


def fit_ranking(asked: Sequence[Asked], without: Sequence[str], ridge: float = 0.003, steps: int = 400) -> Array:
    """Return one weight a feature, of the sign it must have (Adam, projected)."""
    groups = [one for one in asked if one.right.any()]
    spread = np.maximum(np.mean([one.features.std(axis=0) for one in groups], axis=0), 0.02)
    used = np.array([name not in without for name in FEATURES])
    weights = SIGNS * 0.3 * used
    mean, square = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, steps + 1):
        slope = 2 * ridge * weights
        for one in groups:
            scaled = one.features / spread
            logits = scaled @ weights
            all_, right = _softmax(logits), _softmax(np.where(one.right, logits, -1e9))
            slope = slope + (all_ - right) @ scaled / len(groups)
        mean, square = 0.9 * mean + 0.1 * slope, 0.99 * square + 0.01 * slope**2
        weights = weights - 0.05 * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
        weights = np.where(weights * SIGNS < 0, 0, weights) * used
    return weights / spread * SCALE


def _softmax(logits: Array) -> Array:
    exponents = np.exp(logits - logits.max())
    return np.asarray(exponents / exponents.sum())


def fit_logistic(evidence: Array, right: npt.NDArray[np.bool_], ridge: float = 0.02) -> tuple[Array, float]:
    """Return weights and bias for unscaled evidence (Newton's method)."""
    mean, spread = evidence.mean(axis=0), evidence.std(axis=0) + 1e-6
    scaled = np.c_[(evidence - mean) / spread, np.ones(len(evidence))]
    weights = np.zeros(scaled.shape[1])
    for _ in range(30):
        chance = 1 / (1 + np.exp(-scaled @ weights))
        bend = (scaled * (chance * (1 - chance))[:, None]).T @ scaled / len(scaled) + ridge * np.eye(len(weights))
        weights -= np.linalg.solve(bend, scaled.T @ (chance - right) / len(scaled) + ridge * weights)
    return weights[:-1] / spread, float(weights[-1] - (weights[:-1] * mean / spread).sum())


def best_of(one: Asked, weights: Array, bias: float) -> tuple[Array, bool, bool]:
    """Return the evidence for the best answer, whether it is right, and whether one of the first three is."""
    logits = one.features @ weights + bias
    order = np.argsort(-logits, kind="stable")
    nothing = np.zeros(len(order), np.int32)
    found = Candidates(nothing, one.features[order].astype(np.float32), nothing, logits[order].astype(np.float32))
    right = one.right[order]
    return evidence_of(found, one.query).astype(np.float64), bool(right[0]), bool(right[:3].any())


def fit(asked: Sequence[Asked], without: Sequence[str]) -> dict[str, object]:
    """Return what ``fusion.yaml`` holds for one kind of index, all but the levels."""
    folds = np.array([one.fold for one in asked])
    sources = np.array([one.source for one in asked])
    inside = np.array([NO_ANSWER not in one.question.accepted for one in asked])
    weights = fit_ranking(asked, without)
    bias = -float(np.median([(one.features @ weights).max() for one in asked]))
    evidence, right, three = (
        np.zeros((len(asked), len(EVIDENCE))),
        np.zeros(len(asked), bool),
        np.zeros(len(asked), bool),
    )
    for fold in range(FOLDS):
        own = fit_ranking([one for one in asked if one.fold != fold], without)
        for place in np.flatnonzero(folds == fold):
            evidence[place], right[place], three[place] = best_of(asked[place], own, bias)
    used = np.array([name not in without for name in EVIDENCE])
    evidence *= used
    certainty = np.zeros(len(asked))
    for fold in range(FOLDS):
        own_weights, own_bias = fit_logistic(evidence[folds != fold], right[folds != fold])
        certainty[folds == fold] = evidence[folds == fold] @ own_weights + own_bias
    judge, judge_bias = fit_logistic(evidence, right)
    allowed = [
        level for level in np.sort(certainty)
        if max((certainty[~inside & (sources == name)] >= level).mean() for name in ("acceptance", "messages"))
        <= OUT_OF_SCOPE_ANSWERED
        and ((certainty >= level) & inside & ~right).sum() / inside.sum() <= WRONGLY_ANSWERED
    ]  # fmt: skip
    usual = {"answer": float(allowed[0]), "suggest": float(np.quantile(certainty[inside], 1 - SUGGESTED))}
    given, offered = certainty >= usual["answer"], certainty >= usual["suggest"]
    print(
        f"out of fold: first {right[inside].mean():.3f}, in three {three[inside].mean():.3f}; answered right "
        f"{(given & right)[inside].mean():.3f}, wrong {(given & ~right)[inside].mean():.3f}; out of scope: answered "
        f"{given[~inside].mean():.3f}, offered {(offered & ~given)[~inside].mean():.3f}"
    )
    return {
        "bias": round(bias, 4),
        "weights": _named(FEATURES, weights),
        "certainty": {
            "bias": round(judge_bias, 4),
            "weights": _named(EVIDENCE, judge * used),
            "usual": {name: round(value, 4) for name, value in usual.items()},
            "levels": {"answer": 0.98, "suggest": 0.1},
        },
    }


def _named(names: Sequence[str], values: Array) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in zip(names, values, strict=True) if value}


def write(content: dict[str, object]) -> None:
    """Write ``fusion.yaml``."""
    head = (
        "# Written by tests/measurements/fit_fusion.py; what it rests on stands in tests/measurements/retrieval.md.\n"
    )
    text = yaml.safe_dump(content, sort_keys=False, width=110)
    (PROJECT / "chatbot" / "retrieval" / "fusion.yaml").write_text(head + text, encoding="utf-8")


def main(embedder: Embedder | None = None, knowledge: Path = PROJECT / "knowledge", folder: Path | None = None) -> None:
    """Fit, write, and then set the levels that give this knowledge the usual thresholds."""
    from chatbot.retrieval import decision, fusion

    loaded = load_knowledge(knowledge)
    synonyms = read_synonyms(knowledge / "synonyms.yaml", knowledge, [])
    index = open_index(folder, loaded.answers, synonyms, embedder or MiniLM())
    questions = [q for q in in_half(loaded.checks, "development") if is_about_answers(q)]
    asked = ask_all(index, questions, "acceptance") + ask_all(index, unanswered_messages(), "messages")
    content = {
        "with_pieces": fit(asked, ()),
        "without_pieces": fit(asked, ("meaning_pieces",)),
    }
    write(content)
    fusion.fitted_content.cache_clear()
    fusion.fitted_weights.cache_clear()
    decision.fitted_judge.cache_clear()
    certainties = np.array([p.certainty for p in probes_of(index) if p.kind in ("removed", "out_of_scope")])
    for kind in content.values():
        usual = kind["certainty"]["usual"]  # type: ignore[index]
        kind["certainty"]["levels"] = {  # type: ignore[index]
            name: round(float(np.clip((certainties < usual[name]).mean(), 0.01, 0.995)), 4) for name in usual
        }
    write(content)
    print(f"fitted on {len(asked)} development questions; levels {content['with_pieces']['certainty']['levels']}")  # type: ignore[index]


if __name__ == "__main__":
    main()
