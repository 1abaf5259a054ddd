"""A small knowledge and an embedder of counted words, so that retrieval is tested without a model."""

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from chatbot.embedder import Vectors
from chatbot.knowledge import Answer, Source
from chatbot.retrieval.words import Synonyms, words_of

SYNONYMS = Synonyms.of([["BP", "blood pressure"], ["Tylenol", "acetaminophen"], ["pink eye", "conjunctivitis"]])


def _direction(word: str, dimensions: int = 64) -> Vectors:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
    return np.random.default_rng(seed).standard_normal(dimensions).astype(np.float32)


class CountingEmbedder:
    """Puts texts that share words near each other, and remembers what it was asked for."""

    name = "counting:1"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Vectors:
        self.seen += texts
        rows = [sum((_direction(word) for word in words_of(text)), np.full(64, 1e-3, np.float32)) for text in texts]
        vectors = np.array(rows, dtype=np.float32).reshape(-1, 64)
        if progress is not None:
            progress(len(texts))
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


class PieceCountingEmbedder(CountingEmbedder):
    """The same, with a vector for each word as well."""

    name = "counting-pieces:1"

    def encode_pieces(
        self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> tuple[Vectors, list[Vectors]]:
        pieces = []
        for text in texts:
            rows = np.array([_direction(word) for word in words_of(text)], dtype=np.float32).reshape(-1, 64)
            pieces.append(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9))
        return self.encode(texts, progress=progress), pieces


def answer(id_: str, title: str, questions: Sequence[str], text: str, audience: str = "everyone") -> Answer:
    source = Source(title=title, publisher="MedlinePlus", url="https://medlineplus.gov/")  # type: ignore[arg-type]
    return Answer(
        id=id_,
        title=title,
        questions=tuple(questions),
        text=text,
        audience=audience,
        sources=(source,),  # type: ignore[arg-type]
    )


def answers(*chosen: Answer) -> Mapping[str, Answer]:
    return {a.id: a for a in chosen}


FEVER = answer(
    "fever/adults", "Fever in adults", ["When should I see a doctor about a fever?", "What temperature is a fever?"],
    "A fever is a temperature of 100.4 F or more.\n\nDrink water and rest.", "adults",
)  # fmt: skip
PRESSURE = answer(
    "heart/pressure", "High blood pressure", ["What is high blood pressure?", "Which reading is too high?"],
    "High blood pressure is a reading of 130 over 80 or more.\n\n- Eat less salt.\n- Walk every day.",
)  # fmt: skip
TYLENOL = answer(
    "medicines/acetaminophen", "Acetaminophen", ["What is acetaminophen used for?", "How do I take acetaminophen?"],
    "Acetaminophen is a medicine for pain.\n\nFollow the label.",
)  # fmt: skip
PINK_EYE = answer(
    "eyes/pink-eye", "Pink eye", ["Is pink eye contagious?", "How is conjunctivitis treated?"],
    "Pink eye is a red, sore eye.\n\nWash your hands often.",
)  # fmt: skip
HOURS = answer(
    "our-clinic/hours", "Opening hours", ["When is the clinic open?", "Are you open on Saturday?"],
    "The clinic is open on weekdays.\n\nIt is closed on Sunday.",
)  # fmt: skip
SMALL = answers(FEVER, PRESSURE, TYLENOL, PINK_EYE, HOURS)
