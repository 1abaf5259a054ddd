"""What is searched: the entries of all answers, by meaning (faiss) and by words (bm25s)."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import bm25s
import faiss
import numpy as np
import numpy.typing as npt

from chatbot.embedder import Embedder, Vectors
from chatbot.knowledge import Answer
from chatbot.retrieval.entries import Entry
from chatbot.retrieval.store import Ragged, Store
from chatbot.retrieval.words import Speller, Synonyms, lexicon, stem, words_of

EXACT_UP_TO = 100_000  # entries; beyond, an approximate index answers in the same few milliseconds
Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


@runtime_checkable
class PieceEmbedder(Protocol):
    """An embedder that also gives the meaning of each word in its text."""

    def encode_pieces(
        self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> tuple[Vectors, list[Vectors]]:
        """Return the texts' vectors, and each text's word pieces ``(n_pieces, dim)``, normalised."""


class WordIndex:
    """BM25 over one kind of entries."""

    def __init__(self, documents: Sequence[Ints], owners: Ints, n_stems: int) -> None:
        """Take each document's stem numbers, and which entry each document is."""
        self.owners = owners
        counts = _containing(documents, np.arange(len(documents)), n_stems)
        self.rarity = np.log(1 + (len(documents) - counts + 0.5) / (counts + 0.5))  # as BM25 itself weighs a stem
        self.rarest = float(np.log(1 + (len(documents) + 0.5) / 0.5))
        self._bm25: bm25s.BM25 | None = None
        if any(len(document) for document in documents):
            self._bm25 = bm25s.BM25(k1=1.2, b=0.5)
            corpus = ([document.tolist() for document in documents], {number: number for number in range(n_stems)})
            self._bm25.index(corpus, create_empty_token=False, show_progress=False)

    def share(self, stems: Sequence[int], n_unknown: int) -> Floats:
        """Return each document's BM25 score as a share of what saying every word would get, in ``owners``' order.

        Args:
            stems: The question's stem numbers, each once.
            n_unknown: How many further words it has that stand in no document at all.
        """
        if self._bm25 is None or not stems:
            return np.zeros(len(self.owners), np.float32)
        scores = self._bm25.get_scores_from_ids(list(stems))
        most = float(self.rarity[list(stems)].sum()) + n_unknown * self.rarest
        return np.asarray(scores / max(most, 1e-6), dtype=np.float32)


class Index:
    """Everything that is searched for one state of the knowledge. Never changes, so threads may share it."""

    def __init__(
        self, answers: Mapping[str, Answer], entries: Sequence[Entry], store: Store, synonyms: Synonyms,
        embedder: Embedder,
    ) -> None:  # fmt: skip
        """Take the answers, their entries in the answers' order, a store whose row i is entry i, and its embedder."""
        self.answers = dict(answers)
        self.entries = tuple(entries)
        self.store = store
        self.synonyms = synonyms
        self.embedder = embedder
        self.ids = tuple(self.answers)
        self.places = {id_: place for place, id_ in enumerate(self.ids)}
        self.owner: Ints = np.array([self.places[entry.answer_id] for entry in self.entries], dtype=np.int32)
        self.spans = np.searchsorted(self.owner, np.arange(len(self.ids) + 1))  # where each answer's entries begin
        self.is_asked = np.array([entry.kind != "passage" for entry in self.entries], dtype=bool)
        self._index_words()
        self._index_meaning()

    def noted(self, notes: Mapping[str, Any]) -> "Index":
        """Return the same index with other calibration notes."""
        other = copy.copy(self)
        other.store = replace(self.store, notes=notes)
        return other

    @property
    def vectors(self) -> Vectors:
        """One row an entry, shape ``(n_entries, dim)``, L2-normalised."""
        return self.store.vectors

    def _index_words(self) -> None:
        stop = lexicon().stopwords
        vocabulary = self.store.vocabulary
        stems: dict[str, int] = {}
        to_stem = np.array([stems.setdefault(stem(word), len(stems)) for word in vocabulary], dtype=np.int32)
        carries = np.array([word not in stop for word in vocabulary], dtype=bool)
        marks = {f"={group}": len(stems) + group for group in range(len(self.synonyms.groups))}
        self.stem_numbers: dict[str, int] = stems | marks
        self.n_stems = len(self.stem_numbers)
        mentioned = self._mentions(to_stem, stems)
        documents: list[Ints] = []  # each entry's stem numbers, stopwords left out, synonym marks at the end
        for place in range(len(self.entries)):
            own = self.store.words[place]
            extra = [len(stems) + group for group in mentioned.get(place, ())]
            documents.append(np.concatenate([to_stem[own[carries[own]]], np.array(extra, dtype=np.int32)]))
        self.documents = Ragged.of(documents, np.zeros(0, np.int32))
        self.asked = self._words_of(documents, self.is_asked)
        self.body = self._words_of(documents, ~self.is_asked)
        self.rarity = _rarity(documents, self.owner, len(self.ids), self.n_stems)
        self.rarity[len(stems) :] = 0  # a mark stands for words that are counted themselves
        self.rarest = float(np.log(1 + (len(self.ids) + 0.5) / 0.5))

    def _words_of(self, documents: Sequence[Ints], chosen: npt.NDArray[np.bool_]) -> WordIndex:
        places = np.flatnonzero(chosen).astype(np.int32)
        return WordIndex([documents[int(place)] for place in places], places, self.n_stems)

    def _mentions(self, to_stem: Ints, numbers: Mapping[str, int]) -> dict[int, list[int]]:
        """Return the synonym groups that each entry mentions."""
        stems = to_stem[self.store.words.flat]
        found: dict[int, set[int]] = {}
        for phrase, groups in self.synonyms.phrases.items():
            if len(phrase) > len(stems) or any(part not in numbers for part in phrase):
                continue
            hits = np.ones(len(stems) - len(phrase) + 1, dtype=bool)
            for offset, part in enumerate(phrase):
                hits &= stems[offset : offset + len(hits)] == numbers[part]
            starts = np.flatnonzero(hits)
            places = np.searchsorted(self.store.words.ends, starts, side="right") - 1
            within = starts + len(phrase) <= self.store.words.ends[places + 1]
            for place in places[within].tolist():
                found.setdefault(place, set()).update(groups)
        return {place: sorted(groups) for place, groups in found.items()}

    def _index_meaning(self) -> None:
        self._faiss = nearest_index(self.vectors)

    def nearest(self, vectors: Vectors, k: int) -> list[Ints]:
        """Return, for each vector, the entries nearest in meaning, best first."""
        k = min(k, len(self.entries))
        if k == 0:
            return [np.zeros(0, np.int32) for _ in vectors]
        _, places = self._faiss.search(np.ascontiguousarray(vectors), k)
        return [row[row >= 0].astype(np.int32) for row in places]

    def weight(self, stem_: str) -> float:
        """Return how telling a stem is: its inverse document frequency; an unknown one counts as the rarest."""
        number = self.stem_numbers.get(stem_)
        return self.rarest if number is None else float(self.rarity[number])

    @cached_property
    def known_words(self) -> frozenset[str]:
        """Every word that stands in the knowledge or its synonyms."""
        written = {word for group in self.synonyms.groups for phrase in group for word in words_of(phrase)}
        return frozenset(self.store.vocabulary) | written

    @cached_property
    def speller(self) -> Speller:
        """Corrects towards the knowledge's own words, and leaves English words that the embedder knows alone."""
        return Speller(self.known_words, english=getattr(self.embedder, "known_words", frozenset()))


def nearest_index(vectors: Vectors) -> Any:
    """Return a faiss index of the vectors: exact up to ``EXACT_UP_TO``, beyond it k-means lists in half precision."""
    n, dimensions = vectors.shape
    index: Any = faiss.IndexFlatIP(dimensions)
    if n > EXACT_UP_TO:
        lists = int(2 * np.sqrt(n))
        index = faiss.index_factory(dimensions, f"IVF{lists},SQfp16", faiss.METRIC_INNER_PRODUCT)
        index.train(np.ascontiguousarray(vectors[:: max(1, n // (40 * lists))]))
        index.nprobe = 24
    if n:
        index.add(np.ascontiguousarray(vectors))
    return index


def _rarity(documents: Sequence[Ints], owner: Ints, n_answers: int, n_stems: int) -> Floats:
    """Return each stem's inverse document frequency, a document being a whole answer."""
    if not documents:
        return np.zeros(n_stems, np.float32)
    counts = _containing(documents, owner, n_stems)
    return np.asarray(np.log(1 + (n_answers - counts + 0.5) / (counts + 0.5)), dtype=np.float32)


def _containing(documents: Sequence[Ints], owner: npt.NDArray[Any], n_stems: int) -> npt.NDArray[np.int64]:
    """Return, for each stem, how many owners have a document that says it."""
    if not documents:
        return np.zeros(n_stems, np.int64)
    owners = np.repeat(owner, [len(document) for document in documents]).astype(np.int64)
    pairs = np.unique(owners * n_stems + np.concatenate(documents))
    return np.bincount(pairs % max(n_stems, 1), minlength=n_stems)
