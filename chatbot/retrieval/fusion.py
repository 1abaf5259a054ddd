"""How well an answer fits a question: a few measures of words and meaning, weighed into one score.

The weights are fitted by ``tests/measurements/fit_fusion.py`` on development questions and stand in ``fusion.yaml``.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from chatbot.embedder import Vectors
from chatbot.retrieval.cues import aspect_conflicts, audience_conflicts
from chatbot.retrieval.query import Query
from chatbot.retrieval.search import Index
from chatbot.retrieval.store import Floats, Ints
from chatbot.retrieval.words import search_stems, stem, words_of

FEATURES = (
    "meaning_asked",  # cosine of the question found in the message with the nearest title or question variant
    "meaning_asked_whole",  # the same for the whole message
    "meaning_asked_part",  # the same for whichever part of the message is nearest
    "meaning_body",  # the three again with the nearest passage of the text
    "meaning_body_whole",
    "meaning_body_part",
    "meaning_nearest_three",  # mean cosine of the whole message with the answer's three nearest entries
    "meaning_parts",  # mean over the parts of the message, each with its nearest entry
    "meaning_pieces",  # mean over the words of the message, each with the nearest word in the answer
    "bm25_asked",  # BM25 of the best title or variant, as a share of what a perfect match would get
    "bm25_body",
    "overlap_asked",  # weighted Dice overlap of words with the best title or variant
    "covered",  # share of the question's weight in words that stand anywhere in the answer
    "aspect_unasked",  # 1 when it asks for side effects, causes…, and no title or variant does
    "aspect_unsaid",  # 1 when the text does not speak of that either
    "audience_other",  # 1 when it is about a child, a pregnancy…, and the answer is for somebody else
    "audience_unasked",  # 1 when the answer is for one group only and the message names none
)
POOL = 90  # answers looked at closely, over all ways of searching
LEAST_EACH = 10  # of them from each way of searching, however many there are
NEAREST = 200  # entries fetched per way of searching
WITH_PIECES = 30  # answers whose words are compared one by one
MAX_STEMS = 60  # words of a question that are weighed, so that they fit the bits of one number


@dataclass(frozen=True, slots=True)
class Weights:
    """A linear model of how well an answer fits; each kind of evidence counts for or against, never both."""

    bias: float
    weights: tuple[float, ...]  # in the order of FEATURES

    def logits(self, features: Floats) -> Floats:
        """Return one logit per row of ``(n, len(FEATURES))``."""
        return np.asarray(features @ np.array(self.weights, dtype=np.float32) + self.bias, dtype=np.float32)


@lru_cache(maxsize=1)
def fitted_content() -> dict[str, Any]:
    """Return everything in ``fusion.yaml``."""
    content: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "fusion.yaml").read_text(encoding="utf-8"))
    return content


@lru_cache(maxsize=2)
def fitted_weights(*, pieces: bool) -> Weights:
    """Return the weights that ship with the program, for an index with or without word pieces."""
    chosen = fitted_content()["with_pieces" if pieces else "without_pieces"]
    return Weights(float(chosen["bias"]), tuple(float(chosen["weights"].get(name, 0.0)) for name in FEATURES))


@dataclass(frozen=True)
class Candidates:
    """The answers looked at closely, best first: row i describes answer ``places[i]``."""

    places: Ints
    features: Floats  # (n, len(FEATURES))
    entries: Ints  # the entry of each answer that matched best
    logits: Floats

    @classmethod
    def none(cls) -> "Candidates":
        """Return no candidates."""
        none, nothing = np.zeros(0, np.int32), np.zeros(0, np.float32)
        return cls(none, np.zeros((0, len(FEATURES)), np.float32), none, nothing)


@dataclass(frozen=True)
class Embedded:
    """A query's meaning: one vector a view, and the word pieces of the whole message."""

    views: Vectors  # (n_views, dim), in the order of ``Query.views``
    pieces: Vectors | None = None  # (n_pieces, dim)


def measure(
    index: Index,
    query: Query,
    meaning: Embedded,
    *,
    hidden: Collection[int] = (),
    hidden_answer: int = -1,
    among: Sequence[int] = (),
) -> Candidates:
    """Return every answer worth a look, best first; equal ones in the order of their ids.

    Args:
        index: What is searched.
        query: What is searched for.
        meaning: Its embeddings.
        hidden: Entries that count as not there (to measure a variant against the index without it).
        hidden_answer: The place of an answer that counts as not there.
        among: Look at these answers and no others, by place; all when left out.
    """
    if not index.entries:
        return Candidates.none()
    asked = {text: _asked(index, text) for text in (query.whole, query.asked)}
    bm25 = {text: _bm25(index, words) for text, words in asked.items()}
    places = np.array(among, dtype=np.int32)
    if not len(places):
        places = _pool(index, meaning.views, list(bm25.values()), hidden, hidden_answer)
    if not len(places):
        return Candidates.none()
    closer = _Closer(index, places, hidden)
    features = closer.features(query, meaning, asked[query.asked], bm25[query.asked])
    logits = fitted_weights(pieces=False).logits(features)
    order = _order(index, places, logits)
    if meaning.pieces is not None and index.store.has_pieces:
        first = order[:WITH_PIECES]
        features[first, FEATURES.index("meaning_pieces")] = closer.pieces(first, meaning.pieces)
        better = fitted_weights(pieces=True).logits(features[first])
        logits = np.minimum(logits, better.min())  # the others stay behind
        logits[first] = better
        order = _order(index, places, logits)
    return Candidates(places[order], features[order], closer.best(order), logits[order])


def _order(index: Index, places: Ints, logits: Floats) -> npt.NDArray[np.intp]:
    return np.array(sorted(range(len(places)), key=lambda row: (-logits[row], index.ids[places[row]])), dtype=np.intp)


@dataclass(frozen=True)
class _Asked:
    """One text of the query, as the words side sees it."""

    stems: tuple[str, ...]  # with synonym marks
    plain: tuple[str, ...]  # without
    weights: Floats  # of the plain ones
    mentions: tuple[tuple[tuple[str, ...], tuple[int, ...]], ...]  # phrases with synonyms, and their groups


def _asked(index: Index, text: str) -> _Asked:
    stems = tuple(dict.fromkeys(search_stems(text, index.synonyms)))
    plain = tuple(s for s in stems if not s.startswith("="))[:MAX_STEMS]
    mentions = tuple(index.synonyms.mentioned([stem(word) for word in words_of(text)]))
    return _Asked(stems, plain, np.array([index.weight(s) for s in plain], dtype=np.float32), mentions)


def _bm25(index: Index, asked: _Asked) -> tuple[Floats, Floats]:
    numbers = [index.stem_numbers[s] for s in asked.stems if s in index.stem_numbers]
    n_unknown = sum(s not in index.stem_numbers for s in asked.plain)
    return index.asked.share(numbers, n_unknown), index.body.share(numbers, n_unknown)


def _pool(
    index: Index, vectors: Vectors, bm25: Sequence[tuple[Floats, Floats]], hidden: Collection[int], hidden_answer: int
) -> Ints:
    """Return the answers that any way of searching puts near the top, by place."""
    ranked: list[Ints] = list(index.nearest(vectors, NEAREST))
    for both in bm25:
        for scores, words in zip(both, (index.asked, index.body), strict=True):
            found = np.flatnonzero(scores)
            if len(found) > NEAREST:
                found = found[np.argpartition(-scores[found], NEAREST)[:NEAREST]]
            ranked.append(words.owners[found[np.argsort(-scores[found], kind="stable")]])
    each = max(LEAST_EACH, POOL // len(ranked))
    chosen: dict[int, None] = {}
    for entries in ranked:
        own: dict[int, None] = {}
        for entry in entries.tolist():
            if entry not in hidden and (place := int(index.owner[entry])) != hidden_answer:
                own[place] = None
                if len(own) == each:
                    break
        chosen |= own
    return np.array(sorted(chosen), dtype=np.int32)


class _Closer:
    """A close look at some answers: all their entries at once."""

    def __init__(self, index: Index, places: Ints, hidden: Collection[int]) -> None:
        self._index = index
        self._places = places
        firsts, lasts = index.spans[places], index.spans[places + 1]
        self.entries = np.concatenate([np.arange(a, b) for a, b in zip(firsts, lasts, strict=True)]).astype(np.int32)
        self._ends = np.cumsum(lasts - firsts)
        self._starts = self._ends - (lasts - firsts)
        self._visible = ~np.isin(self.entries, list(hidden)) if hidden else np.ones(len(self.entries), bool)
        self._is_asked = index.is_asked[self.entries] & self._visible
        self._is_body = ~index.is_asked[self.entries] & self._visible
        self._nearness = np.zeros(len(self.entries), np.float32)

    def features(self, query: Query, meaning: Embedded, asked: _Asked, bm25: tuple[Floats, Floats]) -> Floats:
        """Return ``(n_answers, len(FEATURES))``; the word pieces' column is left 0."""
        cosines = self._index.vectors[self.entries] @ meaning.views.T  # (entries, views)
        cosines[~self._visible] = 0
        short, whole, part = cosines[:, query.views.index(query.asked)], cosines[:, 0], cosines.max(axis=1)
        self._nearness = np.where(self._is_asked, part + 0.05, part)
        shares = np.zeros(len(self._index.entries), np.float32)
        shares[self._index.asked.owners], shares[self._index.body.owners] = bm25
        share = shares[self.entries]
        bits, said = _said(self._index, self.entries, asked)
        bits[~self._visible] = 0
        weight = float(asked.weights.sum())
        overlap = 2 * _share(bits, asked.weights) * weight / (weight + said + 1e-6)
        answers = [self._index.answers[self._index.ids[place]] for place in self._places]
        columns = {
            "meaning_asked": self._top(short, self._is_asked),
            "meaning_asked_whole": self._top(whole, self._is_asked),
            "meaning_asked_part": self._top(part, self._is_asked),
            "meaning_body": self._top(short, self._is_body),
            "meaning_body_whole": self._top(whole, self._is_body),
            "meaning_body_part": self._top(part, self._is_body),
            "meaning_nearest_three": self._mean_of_top(whole, 3),
            "meaning_parts": np.maximum.reduceat(cosines, self._starts, axis=0).mean(axis=1),
            "meaning_pieces": np.zeros(len(answers), np.float32),
            "bm25_asked": self._top(share, self._is_asked),
            "bm25_body": self._top(share, self._is_body),
            "overlap_asked": self._top(overlap, self._is_asked),
            "covered": _share(np.bitwise_or.reduceat(bits, self._starts), asked.weights),
        }
        columns["aspect_unasked"], columns["aspect_unsaid"] = aspect_conflicts(query.asked, answers)
        columns["audience_other"], columns["audience_unasked"] = audience_conflicts(query.whole, answers)
        return np.stack([columns[name] for name in FEATURES], axis=1).astype(np.float32)

    def pieces(self, rows: npt.NDArray[np.intp], asked: Vectors) -> Floats:
        """Return, for each of these answers, how near its words are to each word of the message, in the mean."""
        if not len(asked):
            return np.zeros(len(rows), np.float32)
        store = self._index.store.pieces
        kept = [[e for e in range(self._starts[row], self._ends[row]) if self._visible[e]] for row in rows]
        blocks = [store[int(self.entries[e])] for entries in kept for e in entries]
        lengths = np.array([sum(len(store[int(self.entries[e])]) for e in entries) for entries in kept])
        near = asked @ (np.concatenate(blocks).astype(np.float32).T / 127)  # (pieces asked, pieces there)
        values = np.zeros(len(rows), np.float32)
        full = np.flatnonzero(lengths)
        begins = (np.cumsum(lengths) - lengths)[full]
        values[full] = np.maximum.reduceat(near, begins, axis=1).mean(axis=0)
        return values

    def best(self, rows: npt.NDArray[np.intp]) -> Ints:
        """Return the entry of each of these answers that is nearest to the message."""
        tops = [self._starts[row] + np.argmax(self._nearness[self._starts[row] : self._ends[row]]) for row in rows]
        return self.entries[np.array(tops, dtype=np.intp)]

    def _top(self, values: npt.NDArray[Any], chosen: npt.NDArray[np.bool_]) -> Floats:
        return np.asarray(np.maximum.reduceat(np.where(chosen, values, 0.0), self._starts), dtype=np.float32)

    def _mean_of_top(self, values: Floats, n: int) -> Floats:
        tops = [np.sort(values[a:b])[::-1][:n].mean() for a, b in zip(self._starts, self._ends, strict=True)]
        return np.array(tops, dtype=np.float32)


def _said(index: Index, entries: Ints, asked: _Asked) -> tuple[npt.NDArray[np.uint64], Floats]:
    """Return which of the question's words each entry says, as bits, and the weight of all that each entry says.

    A word is said by itself or by a synonym of a phrase it belongs to.
    """
    bit_of = np.zeros(index.n_stems, dtype=np.uint64)
    for place, plain in enumerate(asked.plain):
        if plain in index.stem_numbers:
            bit_of[index.stem_numbers[plain]] |= np.uint64(1 << place)
    for phrase, groups in asked.mentions:
        bits = np.uint64(sum(1 << asked.plain.index(part) for part in set(phrase) if part in asked.plain))
        for group in groups:
            bit_of[index.stem_numbers[f"={group}"]] |= bits
    rows = [index.documents[int(entry)] for entry in entries]
    lengths = np.array([len(row) for row in rows])
    flat = np.concatenate(rows)
    full = np.flatnonzero(lengths)
    begins = (np.cumsum(lengths) - lengths)[full]
    found, weight = np.zeros(len(entries), np.uint64), np.zeros(len(entries), np.float32)
    if len(full):
        found[full] = np.bitwise_or.reduceat(bit_of[flat], begins)
        weight[full] = np.add.reduceat(index.rarity[flat], begins)
    return found, weight


def _share(bits: npt.NDArray[np.uint64], weights: Floats) -> Floats:
    """Return the share of the weights whose bit is set, one a row."""
    if not len(weights) or not weights.sum():
        return np.zeros(len(bits), np.float32)
    said = (bits[:, None] >> np.arange(len(weights), dtype=np.uint64)) & np.uint64(1)
    return np.asarray((said * weights).sum(axis=1) / weights.sum(), dtype=np.float32)
