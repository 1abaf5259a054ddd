"""What a written reply is worth: plain functions on texts, and intervals by resampling answers."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rapidfuzz import fuzz

from chatbot.grounding.checker import SentenceVerdict
from chatbot.grounding.sentence_stream import split_stream
from chatbot.prompting import ABSTENTION, Passage
from finetune.rows import Row

SAME_SENTENCE = 80  # 0 to 100: a sentence that is so alike to a reference says the same thing


class Checker(Protocol):
    """Decides whether a generated sentence may be shown; see ``chatbot.grounding.checker``."""

    def check(self, sentence: str, passages: Sequence[Passage]) -> SentenceVerdict:
        """Return whether the sentence says nothing that its cited passage does not."""


@dataclass(frozen=True, slots=True)
class Score:
    """One reply, judged. Counts are of sentences."""

    abstained: bool
    written: int
    cited: int
    cited_right: int
    grounded: int
    on_point: int  # grounded, and among the sentences that answer the question
    covered: float  # share of the reference's sentences that a grounded one says
    first_right: bool  # the first sentence cites a right passage
    stopped: bool
    words: int


def is_abstention(text: str) -> bool:
    """Say whether a reply is the canonical abstention and nothing else."""
    return text.strip().startswith(ABSTENTION.rstrip(".")) and len(text.strip()) <= len(ABSTENTION) + 6


def score(row: Row, text: str, *, stopped: bool, checker: Checker) -> Score:
    """Judge one reply against its row.

    Args:
        row: The passages, what is right, and the reference: ``notes["reference"]`` or the row's own reply.
        text: What the model wrote.
        stopped: Whether it ended its turn by itself.
        checker: The grounding check that guards patients.
    """
    if is_abstention(text):
        return Score(True, 0, 0, 0, 0, 0, 0.0, False, stopped, len(text.split()))
    verdicts = [checker.check(sentence, row.passages) for sentence in split_stream([text])]
    right = [verdict.citation in row.right for verdict in verdicts if verdict.citation]
    shown = [verdict.text for verdict in verdicts if verdict.grounded and verdict.citation in row.right]
    reference = references_of(row)
    on_point = sum(any(same_sentence(text, one) for one in reference) for text in shown)
    covered = sum(any(same_sentence(text, one) for text in shown) for one in reference) / max(1, len(reference))
    return Score(
        abstained=False,
        written=len(verdicts),
        cited=len(right),
        cited_right=sum(right),
        grounded=sum(verdict.grounded for verdict in verdicts),
        on_point=on_point,
        covered=covered,
        first_right=bool(verdicts) and verdicts[0].citation in row.right,
        stopped=stopped,
        words=len(text.split()),
    )


def references_of(row: Row) -> list[str]:
    """Return the sentences that answer the row's question, without their marks."""
    if given := row.notes.get("reference"):
        return [str(sentence) for sentence in given]
    return [sentence.rpartition(" [")[0] or sentence for sentence in split_stream([row.reply])]


def same_sentence(text: str, reference: str) -> bool:
    """Say whether two sentences say the same: nearly the same words, or the one inside the other."""
    a, b = text.casefold().rstrip("."), reference.casefold().rstrip(".")
    return bool(fuzz.token_sort_ratio(a, b) >= SAME_SENTENCE) or a in b or b in a


Measure = Callable[[Sequence[tuple[Row, Score]]], float | None]


def _share(hits: float, total: float) -> float | None:
    return hits / total if total else None


def _answerable(judged: Sequence[tuple[Row, Score]]) -> list[Score]:
    return [found for row, found in judged if not row.abstains]


def _unanswerable(judged: Sequence[tuple[Row, Score]]) -> list[Score]:
    return [found for row, found in judged if row.abstains]


def _right_passage(judged: Sequence[tuple[Row, Score]]) -> float | None:
    replies = [found for found in _answerable(judged) if not found.abstained]
    return _share(sum(found.first_right for found in replies), len(replies))


def _citations(judged: Sequence[tuple[Row, Score]]) -> float | None:
    replies = _answerable(judged)
    return _share(sum(found.cited_right for found in replies), sum(found.cited for found in replies))


def _grounded(judged: Sequence[tuple[Row, Score]]) -> float | None:
    return _share(sum(found.grounded for _, found in judged), sum(found.written for _, found in judged))


def _on_point(judged: Sequence[tuple[Row, Score]]) -> float | None:
    replies = _answerable(judged)
    return _share(sum(found.on_point for found in replies), sum(found.written for found in replies))


def _useful(judged: Sequence[tuple[Row, Score]]) -> float | None:
    replies = _answerable(judged)
    return _share(sum(found.on_point > 0 for found in replies), len(replies))


def _covered(judged: Sequence[tuple[Row, Score]]) -> float | None:
    replies = _answerable(judged)
    return _share(sum(found.covered for found in replies), len(replies))


def _abstains(judged: Sequence[tuple[Row, Score]]) -> float | None:
    rows = _unanswerable(judged)
    return _share(sum(found.abstained for found in rows), len(rows))


def _wrong_abstentions(judged: Sequence[tuple[Row, Score]]) -> float | None:
    rows = _answerable(judged)
    return _share(sum(found.abstained for found in rows), len(rows))


def _overall(judged: Sequence[tuple[Row, Score]]) -> float | None:
    good = sum(found.abstained if row.abstains else found.on_point > 0 for row, found in judged)
    return _share(good, len(judged))


def _stops(judged: Sequence[tuple[Row, Score]]) -> float | None:
    return _share(sum(found.stopped for _, found in judged), len(judged))


def _words(judged: Sequence[tuple[Row, Score]]) -> float | None:
    replies = _answerable(judged)
    return _share(sum(found.words for found in replies), len(replies))


MEASURES: Mapping[str, tuple[Measure, str]] = {
    "right_passage": (_right_passage, "answerable, not abstained: the first sentence cites a right passage"),
    "citation_precision": (_citations, "answerable: share of cited sentences that cite a right passage"),
    "grounded": (_grounded, "share of all written sentences that pass the grounding check"),
    "on_point": (_on_point, "answerable: share of written sentences that are grounded and answer this question"),
    "useful": (_useful, "answerable: share of replies with at least one such sentence"),
    "covered": (_covered, "answerable: share of the reference's sentences that are said"),
    "abstains": (_abstains, "unanswerable: share of abstentions"),
    "wrong_abstentions": (_wrong_abstentions, "answerable: share of abstentions"),
    "overall": (_overall, "all rows: useful, or rightly abstained"),
    "stops": (_stops, "share of replies that end by themselves"),
    "words": (_words, "answerable: words a reply, marks included"),
}


def measured(judged: Sequence[tuple[Row, Score]]) -> dict[str, float | None]:
    """Return every measure by name; None where there was nothing to measure."""
    return {name: measure(judged) for name, (measure, _) in MEASURES.items()}


def intervals(judged: Sequence[tuple[Row, Score]], *, resamples: int, seed: int) -> dict[str, tuple[float, float]]:
    """Return 95 % intervals by resampling whole answers, because rows of one answer resemble each other.

    Source: the cluster bootstrap (Davison & Hinkley 1997, section 3.8).
    """
    clusters: dict[str, list[tuple[Row, Score]]] = {}
    for row, found in judged:
        clusters.setdefault(row.asked_of or row.id, []).append((row, found))
    rng = random.Random(seed)
    names = sorted(clusters)
    drawn: dict[str, list[float]] = {name: [] for name in MEASURES}
    for _ in range(resamples):
        sample = [pair for name in rng.choices(names, k=len(names)) for pair in clusters[name]]
        for name, value in measured(sample).items():
            if value is not None:
                drawn[name].append(value)
    return {name: _middle(sorted(values)) for name, values in drawn.items() if values}


def _middle(values: Sequence[float]) -> tuple[float, float]:
    return values[int(0.025 * (len(values) - 1))], values[int(0.975 * (len(values) - 1))]
