"""BM25 over stems, built from all entries with a few array operations, so that a change is soon found.

Libraries build it document by document, which takes seconds at 70,000 entries and holds up patients' turns meanwhile.

Source: the weights are those of Lucene (Kamphuis et al., ECIR 2020), as bm25s computes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chatbot.retrieval.store import Floats, Ints, Ragged

K1, B = 1.2, 0.5


@dataclass(frozen=True)
class Counts:
    """How often each entry says each stem: one row a pair, by stem and then by entry."""

    stems: npt.NDArray[np.int64]
    entries: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]  # stems in each entry, repeated ones too
    n_stems: int

    @classmethod
    def of(cls, documents: Ragged[np.int32], n_stems: int) -> "Counts":
        """Return the counts of the entries whose stem numbers these are."""
        n_entries, lengths = len(documents), np.diff(documents.ends)
        pairs = documents.flat * np.int64(max(n_entries, 1)) + np.repeat(np.arange(n_entries), lengths)
        pairs.sort()
        first = np.flatnonzero(_begins(pairs))
        stems, entries = np.divmod(pairs[first], max(n_entries, 1))
        return cls(stems, entries, np.diff(np.append(first, len(pairs))), lengths, n_stems)

    def rarity(self, owner: Ints, n_owners: int) -> Floats:
        """Return each stem's inverse document frequency, a document being all entries of one owner."""
        owners = owner[self.entries]  # entries stand in the owners' order, so equal ones are neighbours
        counts = np.bincount(self.stems[_begins(self.stems) | _begins(owners)], minlength=self.n_stems)
        return _inverse_frequency(counts, n_owners).astype(np.float32)


class WordIndex:
    """BM25 over one kind of entries."""

    def __init__(self, counts: Counts, chosen: npt.NDArray[np.bool_]) -> None:
        """Take the counts of all entries, and which of them are documents here."""
        self.owners = np.flatnonzero(chosen).astype(np.int32)
        own = chosen[counts.entries]
        stems, times = counts.stems[own], counts.times[own]
        self._documents = (np.cumsum(chosen) - 1)[counts.entries[own]]
        containing = np.bincount(stems, minlength=counts.n_stems)
        self._ends = np.concatenate([[0], np.cumsum(containing)])
        self.rarity = _inverse_frequency(containing, len(self.owners))
        self.rarest = float(_inverse_frequency(np.zeros(1), len(self.owners))[0])
        lengths = counts.lengths[self.owners]
        norms = K1 * (1 - B + B * lengths / max(float(lengths.mean()), 1e-9)) if len(lengths) else np.zeros(0)
        self._scores = (self.rarity[stems] * times / (times + norms[self._documents])).astype(np.float32)

    def share(self, stems: Sequence[int], n_unknown: int) -> Floats:
        """Return each document's BM25 score as a share of what saying every word would get, in ``owners``' order.

        Args:
            stems: The question's stem numbers, each once.
            n_unknown: How many further words it has that stand in no document at all.
        """
        scores = np.zeros(len(self.owners), np.float32)
        for number in stems:
            rows = slice(self._ends[number], self._ends[number + 1])
            scores[self._documents[rows]] += self._scores[rows]
        most = float(self.rarity[list(stems)].sum()) + n_unknown * self.rarest
        return np.asarray(scores / max(most, 1e-6), dtype=np.float32)


def _begins(values: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Say, of each value, whether it differs from the one before."""
    begins = np.ones(len(values), dtype=bool)
    begins[1:] = values[1:] != values[:-1]
    return begins


def _inverse_frequency(containing: npt.NDArray[np.number], n_documents: int) -> npt.NDArray[np.float64]:
    return np.asarray(np.log(1 + (n_documents - containing + 0.5) / (containing + 0.5)))
