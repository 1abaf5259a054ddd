"""Builds, reopens and refreshes the index of all answers; see ``search.py`` for what an index can do."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chatbot.decision import calibrate
from chatbot.embedder import Embedder, Vectors
from chatbot.entries import Entry, entries_of
from chatbot.knowledge import Answer
from chatbot.search import Index, Ints
from chatbot.store import Store, read_store, write_store
from chatbot.words import Synonyms, words_of

__all__ = ["Index", "Progress", "open_index"]

Longs = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]  # (entries embedded, entries to embed)
log = logging.getLogger(__name__)


def open_index(
    folder: Path | None, answers: Mapping[str, Answer], synonyms: Synonyms, embedder: Embedder,
    progress: Progress | None = None, *, previous: Index | None = None, recalibrate: bool = True,
) -> Index:  # fmt: skip
    """Return the index of these answers, embedding only what is not embedded yet, and keep it in the folder.

    Args:
        folder: Where the index is kept; None, or one that cannot be written, keeps it in memory alone.
        answers: Every answer that may be served, by id.
        synonyms: The knowledge's own groups of words that mean the same.
        embedder: Turns texts into vectors; what another one made is made anew.
        progress: Told how many entries are embedded, of how many, while it works.
        previous: The index that this one follows; saves reading the file again.
        recalibrate: Set the thresholds anew when what they rest on has changed; otherwise the former ones stay until
            ``recalibrated`` is called, which takes a second or more.

    Raises:
        ModelLoadError: The embedder is needed and cannot be loaded.
    """
    entries = _entries(answers, previous)
    known = previous.store if previous is not None else read_store(folder, embedder.name)
    store, n_new = _completed(entries, known, embedder, progress)
    index = Index(answers, entries, store, synonyms, embedder)
    notes = calibrate(index, known.notes) if recalibrate or not known.notes else known.notes
    index = index.noted(notes)
    if folder is not None and (n_new or len(store.keys) != len(known.keys) or notes != known.notes):
        _keep(folder, index.store, embedder.name)
    return index


def recalibrated(folder: Path | None, index: Index) -> Index:
    """Return the index with thresholds that fit its present answers, and keep it in the folder; itself if they fit."""
    notes = calibrate(index, index.store.notes)
    if notes == index.store.notes:
        return index
    index = index.noted(notes)
    if folder is not None:
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
        if previous is not None and previous.answers.get(id_) == answer:
            place = previous.places[id_]
            entries += previous.entries[previous.spans[place] : previous.spans[place + 1]]
        else:
            entries += entries_of(answer)
    return entries


def _completed(
    entries: Sequence[Entry], known: Store, embedder: Embedder, progress: Progress | None
) -> tuple[Store, int]:
    """Return a store with one row an entry, in order, and how many texts had to be embedded for it."""
    keys = [entry.key for entry in entries]
    rows = known.rows()
    missing = {key: entry for key, entry in zip(keys, entries, strict=True) if key not in rows}
    fresh = _embedded([entry.embedded for entry in missing.values()], embedder, progress)
    vectors = np.concatenate([known.vectors, fresh]) if len(known.keys) and len(fresh) else fresh
    vectors = vectors if len(fresh) else known.vectors
    vocabulary = {word: number for number, word in enumerate(known.vocabulary)}
    documents = [known.words[known.ends[row] : known.ends[row + 1]] for row in range(len(known.keys))]
    for entry in missing.values():
        numbers = [vocabulary.setdefault(word, len(vocabulary)) for word in words_of(entry.text)]
        documents.append(np.array(numbers, dtype=np.int32))
    rows |= {key: len(known.keys) + place for place, key in enumerate(missing)}
    order = [rows[key] for key in keys]
    words, ends, kept = _packed([documents[row] for row in order], list(vocabulary))
    store = Store(
        keys=np.frombuffer(b"".join(keys), np.uint8).reshape(-1, 16),
        vectors=vectors[order] if order else vectors[:0],
        words=words,
        ends=ends,
        vocabulary=kept,
    )
    return store, len(missing)


def _packed(documents: Sequence[Ints], vocabulary: Sequence[str]) -> tuple[Ints, Longs, tuple[str, ...]]:
    """Return the documents' words one after another, their ends, and a vocabulary without words that are gone."""
    flat = np.concatenate(documents) if documents else np.zeros(0, np.int32)
    used = np.bincount(flat, minlength=len(vocabulary)) > 0
    renumbered = (np.cumsum(used) - 1).astype(np.int32)
    ends = np.concatenate([[0], np.cumsum([len(document) for document in documents])]).astype(np.int64)
    kept = tuple(word for word, is_used in zip(vocabulary, used, strict=True) if is_used)
    return renumbered[flat] if len(flat) else flat, ends, kept


def _embedded(texts: Sequence[str], embedder: Embedder, progress: Progress | None) -> Vectors:
    done = 0

    def count(n: int) -> None:
        nonlocal done
        done += n
        if progress is not None:
            progress(done, len(texts))

    if not texts:
        return np.zeros((0, 1), np.float32)
    if len(texts) == 1:
        return embedder.encode(texts)
    return embedder.encode(texts, progress=count)
