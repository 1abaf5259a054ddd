"""Builds, reopens and refreshes the index of all answers; see ``retrieval/search.py`` for what an index can do."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chatbot.embedder import Embedder, Vectors
from chatbot.knowledge import Answer
from chatbot.retrieval.decision import calibrate, is_calibrated
from chatbot.retrieval.entries import Entry, entries_of
from chatbot.retrieval.search import Index, PieceEmbedder
from chatbot.retrieval.store import Ints, Ragged, Store, read_store, write_store
from chatbot.retrieval.words import Synonyms, words_of

__all__ = ["Index", "Progress", "open_index"]

PIECES_UP_TO = 10_000  # entries; word pieces take about 15 kB each in memory, so a larger index does without
Progress = Callable[[int, int], None]  # (entries embedded, entries to embed)
log = logging.getLogger(__name__)


def open_index(
    folder: Path | None, answers: Mapping[str, Answer], synonyms: Synonyms, embedder: Embedder,
    progress: Progress | None = None, *, previous: Index | None = None, recalibrate: bool = True,
) -> Index:  # fmt: skip
    """Return the index of these answers, embedding only what is not embedded yet, and keep it in the folder.

    Args:
        folder: Where the index is kept; None, or one that cannot be written, leaves it in memory alone.
        answers: Every answer that may be served, by id.
        synonyms: The knowledge's own groups of words that mean the same.
        embedder: Turns texts into vectors; what another one made is made anew.
        progress: Told how many entries are embedded, of how many, while it works.
        previous: The index that this one follows; saves reading the file again.
        recalibrate: Set the thresholds anew when what they rest on has changed; otherwise the former ones stay until
            ``recalibrated`` is called.

    Raises:
        ModelLoadError: The embedder is needed and cannot be loaded.
    """
    entries = _entries(answers, previous)
    known = previous.store if previous is not None else read_store(folder, embedder.name)
    store, n_new = _completed(entries, known, embedder, progress)
    index = Index(answers, entries, store, synonyms, embedder)
    notes = calibrate(index, known.notes) if recalibrate or not known.notes else known.notes
    index = index.noted(notes)
    if folder is not None and (n_new or notes != known.notes or not np.array_equal(store.keys, known.keys)):
        _keep(folder, index.store, embedder.name)
    return index


def recalibrated(folder: Path, index: Index, pause: Callable[[], None]) -> Index:
    """Return the index with thresholds that fit its present answers, and keep it in the folder; itself if they fit.

    It is kept before the thresholds are set as well, because they can take a while (``pause`` as in ``calibrate``).
    """
    if is_calibrated(index):
        return index
    _keep(folder, index.store, index.embedder.name)
    index = index.noted(calibrate(index, index.store.notes, pause))
    _keep(folder, index.store, index.embedder.name)
    return index


def _keep(folder: Path, store: Store, embedder_name: str) -> None:
    """Write the store; a folder that cannot be written costs the next start some time and nothing else."""
    try:
        write_store(folder, store, embedder_name)
    except OSError as error:
        log.warning("the index cannot be kept in %s (%s); it stays in memory", folder, error.strerror)


def _entries(answers: Mapping[str, Answer], previous: Index | None) -> list[Entry]:
    entries: list[Entry] = []
    for id_, answer in answers.items():
        known = previous.answers.get(id_) if previous is not None else None
        if previous is not None and (known is answer or known == answer):  # mostly the very same object
            place = previous.places[id_]
            entries += previous.entries[previous.spans[place] : previous.spans[place + 1]]
        else:
            entries += entries_of(answer)
    return entries


def _completed(
    entries: Sequence[Entry], known: Store, embedder: Embedder, progress: Progress | None
) -> tuple[Store, int]:
    """Return a store with one row an entry, in order, and how many texts had to be embedded for it."""
    wants_pieces = len(entries) <= PIECES_UP_TO and isinstance(embedder, PieceEmbedder)
    if wants_pieces and not known.has_pieces:
        known = Store.empty()
    keys = [entry.key for entry in entries]
    rows = known.rows()
    missing = {key: entry for key, entry in zip(keys, entries, strict=True) if key not in rows}
    texts = [entry.embedded for entry in missing.values()]
    vectors, pieces = _embedded(texts, embedder, wants_pieces, progress)
    vocabulary = {word: number for number, word in enumerate(known.vocabulary)}
    documents = [_numbered(words_of(entry.text), vocabulary) for entry in missing.values()]
    rows |= {key: len(known.keys) + place for place, key in enumerate(missing)}
    order = np.array([rows[key] for key in keys], dtype=np.intp)
    no_piece = pieces[0][:0] if pieces else known.pieces.flat[:0]
    if not len(known.keys):
        known = replace(known, vectors=vectors[:0], pieces=Ragged.of([], no_piece))
    words, kept = _without_gone(known.words.taken(order, documents), list(vocabulary))
    store = Store(
        keys=np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16),
        vectors=np.concatenate([known.vectors, vectors])[order] if len(vectors) else known.vectors[order],
        words=words,
        pieces=known.pieces.taken(order, pieces) if wants_pieces else Ragged.of([no_piece] * len(keys), no_piece),
        vocabulary=kept,
    )
    return store, len(missing)


def _numbered(words: Sequence[str], vocabulary: dict[str, int]) -> Ints:
    return np.array([vocabulary.setdefault(word, len(vocabulary)) for word in words], dtype=np.int32)


def _without_gone(words: Ragged[np.int32], vocabulary: Sequence[str]) -> tuple[Ragged[np.int32], tuple[str, ...]]:
    """Return the words renumbered in a vocabulary that holds no word that stands in no entry any more."""
    used = np.bincount(words.flat, minlength=len(vocabulary)) > 0
    renumbered = (np.cumsum(used) - 1).astype(np.int32)
    kept = tuple(word for word, is_used in zip(vocabulary, used, strict=True) if is_used)
    return Ragged(renumbered[words.flat] if len(words.flat) else words.flat, words.ends), kept


def _embedded(
    texts: Sequence[str], embedder: Embedder, wants_pieces: bool, progress: Progress | None
) -> tuple[Vectors, list[npt.NDArray[np.int8]]]:
    done = 0

    def count(n: int) -> None:
        nonlocal done
        done += n
        if progress is not None:
            progress(done, len(texts))

    if not texts:
        return np.zeros((0, 1), np.float32), []
    if wants_pieces and isinstance(embedder, PieceEmbedder):
        vectors, pieces = embedder.encode_pieces(texts, progress=count)
        return vectors, [np.round(own * 127).astype(np.int8) for own in pieces]
    return embedder.encode(texts, progress=count), []
