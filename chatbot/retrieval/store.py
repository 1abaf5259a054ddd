"""Finished indexing work on disk: a vector and the words of each entry, addressed by the hash of the entry's text.

The file is written beside and renamed, so that a start finds the old one or the new one, never half of one. One
that is damaged, or was made by another embedder or format, is not read at all: its work is done again.
"""

import json
import logging
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt
import psutil

from chatbot.embedder import Vectors

FORMAT = 2  # raise it whenever what is stored, or how entries are cut, changes
FILE = "index.npz"
Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Number = TypeVar("Number", np.int8, np.int32)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ragged(Generic[Number]):
    """Rows of different lengths in one array: row i is ``flat[ends[i] : ends[i + 1]]``."""

    flat: npt.NDArray[Number]
    ends: npt.NDArray[np.int64]  # (n_rows + 1)

    @classmethod
    def of(cls, rows: Sequence[npt.NDArray[Number]], empty: npt.NDArray[Number]) -> "Ragged[Number]":
        """Return these rows one after another; ``empty`` tells the type when there are none."""
        lengths = [len(row) for row in rows]
        return cls(np.concatenate([empty, *rows]), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, row: int) -> npt.NDArray[Number]:
        return self.flat[self.ends[row] : self.ends[row + 1]]

    def taken(self, order: npt.NDArray[np.intp], fresh: Sequence[npt.NDArray[Number]] = ()) -> "Ragged[Number]":
        """Return the rows in another order; numbers from ``len(self)`` on mean the fresh rows."""
        new = Ragged.of(fresh, self.flat[:0])
        flat = np.concatenate([self.flat, new.flat])
        begins = np.concatenate([self.ends[:-1], new.ends[:-1] + len(self.flat)])[order]
        lengths = np.concatenate([np.diff(self.ends), np.diff(new.ends)])[order]
        ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return Ragged(flat[np.repeat(begins - ends[:-1], lengths) + np.arange(ends[-1])], ends)

    @property
    def fits(self) -> bool:
        """Say whether the ends belong to the array."""
        return bool(self.ends[0] == 0 and self.ends[-1] == len(self.flat) and (np.diff(self.ends) >= 0).all())


@dataclass(frozen=True)
class Store:
    """Row i of every part belongs to entry i of the index that was saved."""

    keys: npt.NDArray[np.uint8]  # (n, 16)
    vectors: Vectors  # (n, dim) float32, L2-normalised
    words: Ragged[np.int32]  # each entry's words, as numbers in the vocabulary
    pieces: Ragged[np.int8]  # each entry's word pieces (n_pieces, dim), times 127; of a large index none
    vocabulary: tuple[str, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)  # what was calibrated on these entries

    @classmethod
    def empty(cls) -> "Store":
        """Return a store that knows nothing."""
        none = np.zeros(1, np.int64)
        words, pieces = Ragged(np.zeros(0, np.int32), none), Ragged(np.zeros((0, 1), np.int8), none)
        return cls(np.zeros((0, 16), np.uint8), np.zeros((0, 1), np.float32), words, pieces)

    @property
    def has_pieces(self) -> bool:
        """Say whether word pieces are kept."""
        return len(self.pieces.flat) > 0

    def rows(self) -> dict[bytes, int]:
        """Return a row that holds each key."""
        return {key.tobytes(): row for row, key in enumerate(self.keys)}


def read_store(folder: Path | None, embedder: str) -> Store:
    """Return what the folder holds for this embedder; an empty store when that is nothing, or cannot be trusted."""
    if folder is None or not (folder / FILE).exists():
        return Store.empty()
    try:
        with np.load(folder / FILE, allow_pickle=False) as parts:
            head = json.loads(parts["head"].tobytes())
            if head["format"] != FORMAT or head["embedder"] != embedder:
                return Store.empty()
            words = Ragged(parts["words"], parts["word_ends"])
            pieces = Ragged(parts["pieces"], parts["piece_ends"])
            vocabulary = tuple(head["vocabulary"])
            store = Store(parts["keys"], parts["vectors"], words, pieces, vocabulary, head["notes"])
        _check(store)
    except (OSError, ValueError, KeyError, TypeError, EOFError, IndexError, AttributeError, MemoryError,
            NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        log.warning("the index in %s cannot be read (%s); it is made anew", folder, type(error).__name__)
        return Store.empty()
    return store


def _check(store: Store) -> None:
    """Raise ValueError unless the parts fit together (each part's own damage is found by its checksum)."""
    n = len(store.vectors)
    fits = (
        store.keys.shape == (n, 16)
        and store.keys.dtype == np.uint8
        and store.vectors.ndim == 2
        and store.vectors.dtype == np.float32
        and len(store.words) == len(store.pieces) == n
        and store.words.fits
        and store.pieces.fits
        and (not len(store.words.flat) or 0 <= store.words.flat.min() <= store.words.flat.max() < len(store.vocabulary))
    )
    if not fits:
        raise ValueError("its parts do not fit together")


def write_store(folder: Path, store: Store, embedder: str) -> None:
    """Write the store so that the folder holds the old one or the new one at every moment.

    Raises:
        OSError: The folder cannot be written, or the disk is full; the old file is still there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    head = {"format": FORMAT, "embedder": embedder, "vocabulary": list(store.vocabulary), "notes": dict(store.notes)}
    beside = folder / f"{FILE}.{os.getpid()}.tmp"
    try:
        with beside.open("wb") as file:
            np.savez(
                file, head=np.frombuffer(json.dumps(head).encode(), np.uint8), keys=store.keys,
                vectors=store.vectors, words=store.words.flat, word_ends=store.words.ends,
                pieces=store.pieces.flat, piece_ends=store.pieces.ends,
            )  # fmt: skip
            file.flush()
            os.fsync(file.fileno())
        beside.replace(folder / FILE)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _sweep(folder: Path) -> None:
    """Remove what writers that were killed have left behind."""
    for left in folder.glob(f"{FILE}.*.tmp"):
        number = left.name.removeprefix(f"{FILE}.").removesuffix(".tmp")
        if not (number.isdigit() and psutil.pid_exists(int(number))):
            left.unlink(missing_ok=True)
