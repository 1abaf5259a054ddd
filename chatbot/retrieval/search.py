"""What is searched: the entries of all answers, by meaning (faiss) and by words (BM25)."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import faiss
import numpy as np
import numpy.typing as npt

from chatbot.embedder import Embedder, Vectors
from chatbot.knowledge import Answer
from chatbot.retrieval.bm25 import Counts, WordIndex
from chatbot.retrieval.entries import Entry
from chatbot.retrieval.store import Ints, Ragged, Store
from chatbot.retrieval.words import Speller, Synonyms, lexicon, stem, words_of

EXACT_UP_TO = 100_000  # entries; beyond, an approximate index answers in the same few milliseconds


@runtime_checkable
class PieceEmbedder(Protocol):
    """An embedder that also gives the meaning of each word in its text."""

    def encode_pieces(
        self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> tuple[Vectors, list[Vectors]]:
        """Return the texts' vectors, and each text's word pieces ``(n_pieces, dim)``, normalised."""


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
        self.documents = self._documents(to_stem, carries, len(stems), *self._mentions(to_stem, stems))
        counts = Counts.of(self.documents, self.n_stems)
        self.asked, self.body = WordIndex(counts, self.is_asked), WordIndex(counts, ~self.is_asked)
        self.rarity = counts.rarity(self.owner, len(self.ids))
        self.rarity[len(stems) :] = 0  # a mark stands for words that are counted themselves
        self.rarest = float(np.log(1 + (len(self.ids) + 0.5) / 0.5))

    def _documents(
        self, to_stem: Ints, carries: npt.NDArray[np.bool_], first_mark: int, marked: Ints, groups: Ints
    ) -> Ragged[np.int32]:
        """Return each entry's stem numbers, stopwords left out, its synonym marks at the end."""
        words = self.store.words
        kept = carries[words.flat]
        ends = np.concatenate([[0], np.cumsum(kept)])[words.ends]
        flat = np.insert(to_stem[words.flat[kept]], ends[marked + 1], groups + first_mark)
        return Ragged(flat, ends + np.searchsorted(marked, np.arange(len(ends))))

    def _mentions(self, to_stem: Ints, numbers: Mapping[str, int]) -> tuple[Ints, Ints]:
        """Return the synonym groups that entries mention, as pairs of entry and group, in order, each once."""
        flat, ends = to_stem[self.store.words.flat], self.store.words.ends
        phrases = {phrase: groups for phrase, groups in self.synonyms.phrases.items() if numbers.keys() >= set(phrase)}
        begins = np.zeros(len(numbers) + 1, dtype=bool)
        begins[[numbers[phrase[0]] for phrase in phrases]] = True
        possible = np.flatnonzero(begins[flat])  # where any phrase can begin, by stem
        possible = possible[np.argsort(flat[possible], kind="stable")]
        firsts = flat[possible]
        last = ends[np.searchsorted(ends, possible, side="right")]  # where each place's entry ends
        found: set[tuple[int, int]] = set()
        for phrase, groups in phrases.items():
            chosen = slice(*np.searchsorted(firsts, [numbers[phrase[0]], numbers[phrase[0]] + 1]))
            starts = possible[chosen][possible[chosen] + len(phrase) <= last[chosen]]
            for offset, part in enumerate(phrase[1:], 1):
                starts = starts[flat[starts + offset] == numbers[part]]
            places = np.searchsorted(ends, starts, side="right") - 1
            found.update((place, group) for place in places.tolist() for group in groups)
        pairs = np.array(sorted(found), dtype=np.int32).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]

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
