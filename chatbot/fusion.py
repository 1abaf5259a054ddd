"""How well an answer fits a question: a few measures of words and meaning, weighed into one score.

The weights are fitted by ``tests/measurements/fit_fusion.py`` on development questions and stand in ``fusion.yaml``.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from chatbot.embedder import Vectors
from chatbot.knowledge import Answer
from chatbot.query import Query
from chatbot.search import Floats, Index, Ints
from chatbot.words import lexicon, search_stems, stem, words_of

FEATURES = (
    "meaning_asked",  # cosine of the question found in the message with the nearest title or question variant
    "meaning_asked_whole",  # the same for the whole message
    "meaning_asked_part",  # the same for whichever part of the message is nearest
    "meaning_body",  # cosine of the question with the nearest passage
    "meaning_body_whole",
    "meaning_body_part",
    "bm25_asked",  # BM25 of the best title or variant, as a share of what a perfect match would get
    "bm25_asked_whole",
    "bm25_body",
    "overlap_asked",  # weighted Dice overlap with the best title or variant
    "covered_asked",  # share of the question's weight that the best title or variant says
    "covered",  # share of the question's weight that the whole answer says
    "aspect_unasked",  # 1 when it asks for side effects, causes…, and no title or variant does
    "aspect_unsaid",  # 1 when the text does not speak of that either
    "audience_other",  # 1 when it is about a child, a pregnancy…, and the answer is for somebody else
    "audience_unasked",  # 1 when the answer is for one group only and the question names none
)
POOL = 40  # answers looked at closely, per way of searching
NEAREST = 200  # entries fetched per way of searching
MAX_STEMS = 60  # words of a question that are weighed, so that they fit the bits of one number


@dataclass(frozen=True, slots=True)
class Weights:
    """A logistic model: score = 1 / (1 + exp(-(bias + weights · features)))."""

    bias: float
    weights: tuple[float, ...]

    def logits(self, features: Floats) -> Floats:
        """Return one logit per row of ``(n, len(FEATURES))``."""
        return np.asarray(features @ np.array(self.weights, dtype=np.float32) + self.bias, dtype=np.float32)


@lru_cache(maxsize=1)
def fitted_weights() -> Weights:
    """Return the weights that ship with the program."""
    content = yaml.safe_load((Path(__file__).parent / "fusion.yaml").read_text(encoding="utf-8"))
    return Weights(float(content["bias"]), tuple(float(content["weights"][name]) for name in FEATURES))


@dataclass(frozen=True)
class Candidates:
    """The answers looked at closely, in no order: row i of ``features`` describes answer ``places[i]``."""

    places: Ints
    features: Floats  # (n, len(FEATURES))
    entries: Ints  # the entry of each answer that matched best

    @classmethod
    def none(cls) -> "Candidates":
        """Return no candidates."""
        return cls(np.zeros(0, np.int32), np.zeros((0, len(FEATURES)), np.float32), np.zeros(0, np.int32))


@dataclass(frozen=True)
class _Asked:
    """One text of the query, as the words side sees it."""

    stems: tuple[str, ...]  # with synonym marks
    plain: tuple[str, ...]  # without
    weights: Floats  # of the plain ones
    mentions: tuple[tuple[tuple[str, ...], tuple[int, ...]], ...]  # phrases with synonyms, and their groups


def measure(
    index: Index, query: Query, vectors: Vectors, *, hidden: Collection[int] = (), hidden_answer: int = -1
) -> Candidates:
    """Return the features of every answer worth a look.

    Args:
        index: What is searched.
        query: What is searched for.
        vectors: The embeddings of ``query.views``, in order.
        hidden: Entries that count as not there (to measure a variant against the index without it).
        hidden_answer: The place of an answer that counts as not there.
    """
    if not index.entries or not query.views:
        return Candidates.none()
    views = query.views
    asked = [_asked(index, text) for text in (query.whole, query.asked)]
    raw = [_bm25(index, text) for text in asked]
    places = _pool(index, vectors, raw, hidden, hidden_answer)
    if not len(places):
        return Candidates.none()
    entries, starts = _entries_at(index, places)
    visible = ~np.isin(entries, list(hidden)) if hidden else np.ones(len(entries), bool)
    is_asked = index.is_asked[entries]
    cosines = index.vectors[entries] @ vectors.T  # (entries, views)
    cosines[~visible] = -1
    short, whole, part = cosines[:, views.index(query.asked)], cosines[:, 0], cosines.max(axis=1)
    bm25_short, bm25_whole = _spread(index, raw[-1]), _spread(index, raw[0])
    bits, said = _bits(index, entries, asked[-1])
    bits[~visible] = 0
    share = _share(bits, asked[-1].weights)
    overlap = np.where(visible, 2 * share * asked[-1].weights.sum() / (asked[-1].weights.sum() + said + 1e-6), 0)
    best = _best(np.where(is_asked, short, short - 0.1), starts)

    def top(values: npt.NDArray[Any], chosen: npt.NDArray[np.bool_], floor: float = 0.0) -> Floats:
        return np.asarray(np.maximum.reduceat(np.where(chosen & visible, values, floor), starts), dtype=np.float32)

    answers = [index.answers[index.ids[place]] for place in places]
    features = np.stack(
        [
            top(short, is_asked), top(whole, is_asked), top(part, is_asked),
            top(short, ~is_asked), top(whole, ~is_asked), top(part, ~is_asked),
            top(bm25_short[entries], is_asked), top(bm25_whole[entries], is_asked), top(bm25_short[entries], ~is_asked),
            top(overlap, is_asked), top(share, is_asked),
            _share(np.bitwise_or.reduceat(bits, starts), asked[-1].weights),
            *_aspects(query, answers, index), *_audiences(query, answers),
        ],
        axis=1,
    ).astype(np.float32)  # fmt: skip
    return Candidates(places, features, entries[best])


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
    index: Index, vectors: Vectors, raw: Sequence[tuple[Floats, Floats]], hidden: Collection[int], hidden_answer: int
) -> Ints:
    """Return the answers that any way of searching puts near the top, by place."""
    ranked: list[Ints] = list(index.nearest(vectors, NEAREST))
    for asked, body in raw:
        for scores, words in ((asked, index.asked), (body, index.body)):
            top = np.argpartition(-scores, min(NEAREST, len(scores) - 1))[:NEAREST] if len(scores) else []
            order = sorted(top, key=lambda place: -scores[place])
            ranked.append(words.owners[[place for place in order if scores[place] > 0]])
    chosen: dict[int, None] = {}
    for entries in ranked:
        own: dict[int, None] = {}
        for entry in entries.tolist():
            if entry not in hidden and (place := int(index.owner[entry])) != hidden_answer:
                own[place] = None
                if len(own) == POOL:
                    break
        chosen |= own
    return np.array(sorted(chosen), dtype=np.int32)


def _entries_at(index: Index, places: Ints) -> tuple[Ints, Ints]:
    """Return the entries of these answers, and where each answer's begin among them."""
    firsts, lasts = index.spans[places], index.spans[places + 1]
    entries = np.concatenate([np.arange(a, b) for a, b in zip(firsts, lasts, strict=True)])
    starts = np.concatenate([[0], np.cumsum(lasts - firsts)[:-1]])
    return entries.astype(np.int32), starts.astype(np.int32)


def _spread(index: Index, raw: tuple[Floats, Floats]) -> Floats:
    """Return one BM25 share per entry of the index, from those of asked entries and of passages."""
    spread = np.zeros(len(index.entries), np.float32)
    spread[index.asked.owners] = raw[0]
    spread[index.body.owners] = raw[1]
    return spread


def _bits(index: Index, entries: Ints, asked: _Asked) -> tuple[npt.NDArray[np.uint64], Floats]:
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
    pieces = [index.documents[index.ends[e] : index.ends[e + 1]] for e in entries]
    lengths = np.array([len(piece) for piece in pieces])
    flat = np.concatenate(pieces)
    full = np.flatnonzero(lengths)
    begins = np.concatenate([[0], np.cumsum(lengths)[:-1]])[full]
    bits_found, weight = np.zeros(len(entries), np.uint64), np.zeros(len(entries), np.float32)
    if len(full):
        bits_found[full] = np.bitwise_or.reduceat(bit_of[flat], begins)
        weight[full] = np.add.reduceat(index.rarity[flat], begins)
    return bits_found, weight


def _share(bits: npt.NDArray[np.uint64], weights: Floats) -> Floats:
    if not len(weights) or not weights.sum():
        return np.zeros(len(bits), np.float32)
    said = (bits[:, None] >> np.arange(len(weights), dtype=np.uint64)) & np.uint64(1)
    return np.asarray(said.astype(np.float32) @ weights / weights.sum(), dtype=np.float32)


def _best(scores: Floats, starts: Ints) -> Ints:
    ends = np.append(starts[1:], len(scores))
    return np.array([a + int(np.argmax(scores[a:b])) for a, b in zip(starts, ends, strict=True)], dtype=np.int32)


@lru_cache(maxsize=1)
def _cues() -> dict[str, re.Pattern[str]]:
    known = lexicon()
    return {
        name: re.compile(rf"\b(?:{'|'.join(re.escape(cue) for cue in cues)})\b")
        for name, cues in (known.aspects | known.audiences).items()
    }


def aspects_of(text: str) -> tuple[str, ...]:
    """Return what a text asks about its subject (side effects, causes…), the most telling first."""
    plain = " ".join(words_of(text))
    return tuple(name for name in lexicon().aspects if _cues()[name].search(plain))


def audiences_of(text: str) -> tuple[str, ...]:
    """Return whom a text is about (children, pregnancy, older adults), as far as it says so."""
    plain = " ".join(words_of(text))
    return tuple(name for name in lexicon().audiences if _cues()[name].search(plain))


@lru_cache(maxsize=50_000)
def _aspects_asked(titles: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name for title in titles for name in aspects_of(title))


@lru_cache(maxsize=50_000)
def _aspects_said(text: str) -> frozenset[str]:
    return frozenset(aspects_of(text))


def _aspects(query: Query, answers: Sequence[Answer], index: Index) -> tuple[Floats, Floats]:
    found = aspects_of(query.short)
    unasked, unsaid = np.zeros(len(answers), np.float32), np.zeros(len(answers), np.float32)
    if not found or found[0] == "definition":
        return unasked, unsaid
    for row, answer in enumerate(answers):
        asked = _aspects_asked((answer.title, *answer.questions))
        unasked[row] = found[0] not in asked
        unsaid[row] = unasked[row] and found[0] not in _aspects_said(answer.text)
    return unasked, unsaid


def _audiences(query: Query, answers: Sequence[Answer]) -> tuple[Floats, Floats]:
    named = audiences_of(query.text)
    special = lexicon().audiences
    other = [bool(named) and answer.audience != "everyone" and answer.audience not in named for answer in answers]
    unasked = [not named and answer.audience in special for answer in answers]
    return np.array(other, dtype=np.float32), np.array(unasked, dtype=np.float32)
