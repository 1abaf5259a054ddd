"""An embedder for work beside patients: it takes small steps, can be stopped between them, and forgets nothing done."""

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chatbot.embedder import Embedder, Vectors

STEP = 16  # texts; a patient's question waits for one step at most


class Interrupted(Exception):
    """The work was stopped because newer files wait; what was embedded is remembered."""


class RememberingEmbedder:
    """Embeds in small steps (an Embedder). For one thread at a time."""

    def __init__(self, embedder: Any) -> None:
        self._embedder = embedder
        self._known: dict[bytes, tuple[Vectors, Vectors | None]] = {}
        self.interrupted: Callable[[], bool] = lambda: False

    @property
    def name(self) -> str:
        """The name of the embedder that does the work: vectors of the two are the same."""
        return str(self._embedder.name)

    def forget(self) -> None:
        """Give back the memory once the vectors are kept elsewhere."""
        self._known.clear()

    def encode(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Vectors:
        """Return float32 vectors of shape ``(len(texts), dim)``, L2-normalised.

        Raises:
            Interrupted: Newer files wait.
        """
        if not texts:
            return np.zeros((0, 1), np.float32)
        return np.stack([vector for vector, _ in self._all(texts, progress)])

    def _all(
        self, texts: Sequence[str], progress: Callable[[int], None] | None
    ) -> list[tuple[Vectors, Vectors | None]]:
        keys = [hashlib.sha256(text.encode(errors="replace")).digest() for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._known}
        order = sorted(missing, key=lambda key: -len(missing[key]))  # texts of about one length go together
        for start in range(0, len(order), STEP):
            if self.interrupted():
                raise Interrupted
            step = order[start : start + STEP]
            self._known.update(zip(step, self._made([missing[key] for key in step]), strict=True))
            if progress is not None:
                progress(len(step))
            time.sleep(0.001)  # a patient's question that waits for the embedder goes first
        if progress is not None and len(order) < len(texts):
            progress(len(texts) - len(order))
        return [self._known[key] for key in keys]

    def _made(self, texts: list[str]) -> list[tuple[Vectors, Vectors | None]]:
        return [(vector, None) for vector in self._embedder.encode(texts)]


class RememberingPieceEmbedder(RememberingEmbedder):
    """The same for an embedder that also gives the meaning of each word (a PieceEmbedder)."""

    def encode_pieces(
        self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> tuple[Vectors, list[Vectors]]:
        """Return the texts' vectors, and each text's word pieces ``(n_pieces, dim)``, normalised.

        Raises:
            Interrupted: Newer files wait.
        """
        made = self._all(texts, progress)
        return np.stack([vector for vector, _ in made]), [pieces for _, pieces in made if pieces is not None]

    def _made(self, texts: list[str]) -> list[tuple[Vectors, Vectors | None]]:
        vectors, pieces = self._embedder.encode_pieces(texts)
        return list(zip(vectors, pieces, strict=True))


def stepwise(embedder: Embedder) -> RememberingEmbedder:
    """Return the embedder for work beside patients."""
    if hasattr(embedder, "encode_pieces"):
        return RememberingPieceEmbedder(embedder)
    return RememberingEmbedder(embedder)
