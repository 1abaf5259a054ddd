"""A small knowledge folder on disk, and an embedder that needs no model."""

import hashlib
import json
import random
import re
import shutil
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import yaml
from fakes import CLINIC, SHIPPED_KNOWLEDGE, TEXTS

from chatbot.embedder import Vectors

FEVER_FILE = """---
title: Fever in adults
questions: ["When should I see a doctor about a fever?", "What temperature is a fever?"]
audience: adults
sources: [{title: Fever, publisher: MedlinePlus, url: "https://medlineplus.gov/fever.html", checked: 2026-01-02}]
review: {status: draft, reviewer: null, reviewed: null, due: null}
---
A fever is 100.4 °F (38 °C) or more. Rest and drink water.

Call {clinic_phone} if it lasts 3 days.
"""
COUGH_FILE = """---
title: Cough
questions: ["How do I get rid of a cough?"]
sources: [{title: Cough, publisher: NHS, url: "https://www.nhs.uk/symptoms/cough/"}]
---
A cough often goes away within 3 weeks. Honey and lemon may help.
"""


def make_folder(root: Path, answers: dict[str, str] | None = None, *, safety: bool = False) -> Path:
    """Write a knowledge folder and return it."""
    root.mkdir(parents=True, exist_ok=True)
    write_yaml(root / "clinic.yaml", CLINIC.model_dump(mode="json"))
    texts = (
        TEXTS.model_dump_json().replace(CLINIC.phone, "{clinic_phone}").replace("Call 000", "Call {emergency_number}")
    )
    write_yaml(root / "texts.yaml", json.loads(texts))
    for id_, text in (answers or {"fever/adults": FEVER_FILE, "colds/cough": COUGH_FILE}).items():
        write_answer(root, id_, text)
    if safety:
        shutil.copytree(SHIPPED_KNOWLEDGE / "safety", root / "safety")
    return root


def write_yaml(path: Path, content: object) -> None:
    """Write one YAML file."""
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")


def write_answer(root: Path, id_: str, text: str) -> Path:
    """Write one answer file and return its path."""
    path = root / "answers" / f"{id_}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def corrupted(text: str, rng: random.Random) -> bytes:
    """Return one of a hundred ways in which a file can be broken."""
    raw = text.encode()
    at = rng.randrange(1, len(raw) - 1)
    return rng.choice([
        lambda: raw[:at],
        lambda: raw[:at] + bytes(rng.randrange(256) for _ in range(40)) + raw[at:],
        lambda: bytes(rng.randrange(256) for _ in range(2000)),
        lambda: raw.replace(b"title:", rng.choice([b"title: {a: 1}\nx:", b"title: [1]\ny:", b"titel:"])),
        lambda: raw.replace(b"questions:", rng.choice([b"questions: 5\nq:", b"questions: {a: b}\nq:", b"- q:"])),
        lambda: b"---\n" + b"[" * 50_000 + b"\n---\nx",
        lambda: b"---\n" + b"- " * 20_000 + b"\n---\nx",
        lambda: raw + b"x" * 300_000,
        lambda: text.encode("utf-16"),
        lambda: text.replace("adults", "\u00fcber").encode("latin-1"),
        lambda: b"",
        lambda: b"\x00" * 5000,
        lambda: raw.replace(b"---", b"- - -", 1),
        lambda: raw.replace(b"sources:", b"sources: null\nreview: 7\nsauces:"),
        lambda: raw.replace(b"title:", b"? [a, b]\n: c\ntitle:"),
        lambda: raw.replace(b"title: Fever", b"title: !!python/object/apply:os.system ['true'] #"),
    ])()  # fmt: skip


@cache
def _word_vector(word: str) -> Vectors:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(64).astype(np.float32)


class WordVectors:
    """An Embedder: texts are alike when they share words. ``seen`` holds every text that was embedded."""

    name = "words:1"

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None) -> Vectors:
        """Return normalised sums of word vectors."""
        self.seen += texts
        rows = np.zeros((len(texts), 64), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in re.findall(r"\w+", text.lower())[:80]:
                row += _word_vector(word)
        if progress is not None:
            progress(len(texts))
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
