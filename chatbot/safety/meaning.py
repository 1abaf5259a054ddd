"""The weighing half of the safety gate: how much a piece of a message speaks for danger, learnt from the examples.

A piece is weighed by adding up: a fixed weight for each of its words, pairs of words, rule lists and doubts (see
``windows``), and its meaning as a vector times a fixed vector. The sum is the log-odds of a logistic regression that
``fitting`` made of the clinic's own examples and wrote to ``likeness.json``, where every weight can be read. Two
points on that scale decide (``harmless.yaml``): from ``alone`` it is enough by itself; a rule that fired on a piece
below ``beside_rule`` is not believed.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from chatbot.embedder import Embedder
from chatbot.safety.match import Hit, Reading
from chatbot.safety.rules import RuleBook
from chatbot.safety.windows import lists_of, signs_of, window_text, windows_of

LIKENESS_FILE = "likeness.json"
MEANING_SCALE = 3.0  # a vector of length one against the words' scale; see ``windows``
MAX_EMBEDDED = 2  # windows whose meaning is looked at; words alone rank the others below these
LONG_WINDOWS = 4  # a message of so many windows has more chances to sound like an example, so more is asked of it
TOLD_SIGNS = 4

Vector = npt.NDArray[np.float32]
Side = Literal["urgent", "declined"]


@dataclass(frozen=True, slots=True)
class Head:
    """One sum: what is added for each sign, and the vector that a window's meaning is multiplied with."""

    bias: float
    signs: Mapping[str, float]
    meaning: Vector  # float32 (dim,)
    least: float = -99.0  # a window whose signs add up to less is not worth embedding; hardly any example's do

    def of_signs(self, signs: Mapping[str, float]) -> float:
        """Return what the signs add up to, without the meaning."""
        return self.bias + sum(self.signs.get(name, 0.0) * amount for name, amount in signs.items())


@dataclass(frozen=True, slots=True)
class Weights:
    """What ``likeness.json`` holds: a head for each side, one for each group to choose its card, and its origin."""

    embedder: str
    made_of: str  # fingerprint of the examples
    sides: Mapping[Side, Head]
    groups: Mapping[str, Head]


@dataclass(frozen=True, slots=True)
class Likeness:
    """A window that is enough by itself, the group whose card it gets, and what spoke for it most."""

    group: str
    score: float  # log-odds
    window: str
    signs: tuple[str, ...]


class Meaning:
    """Weighs messages. Safe to share between threads."""

    def __init__(self, rules: RuleBook, weights: Weights, embedder: Embedder) -> None:
        assert rules.harmless is not None
        self.point = rules.harmless.meaning
        self.weights = weights
        self.lists = lists_of(rules.rules)
        self.embedder = embedder
        self.known: Mapping[str, Vector] = {}  # vectors of windows that were embedded ahead, together
        self.groups: Mapping[Side, Sequence[str]] = {
            "urgent": [id_ for id_ in weights.groups if id_ in rules.groups and rules.groups[id_].kind != "declined"],
            "declined": [id_ for id_ in weights.groups if id_ in rules.groups and rules.groups[id_].kind == "declined"],
        }

    def prepare(self, readings: Iterable[Reading]) -> None:
        """Embed together what these messages will ask for; one by one takes several times as long."""
        texts = sorted({text for reading in readings for text in self.weigh(reading).texts()})
        self.known = dict(zip(texts, self.embedder.encode(texts), strict=True)) if texts else {}

    def weigh(self, reading: Reading) -> "Weighed":
        """Return the message's windows, to be weighed as far as somebody asks."""
        return Weighed(self, reading)


class Weighed:
    """One message on the scale. Nothing is embedded before its meaning can change the outcome."""

    def __init__(self, meaning: Meaning, reading: Reading) -> None:
        self._meaning = meaning
        self._reading = reading
        self._signs: dict[Hit, Mapping[str, float]] = {}
        self._vectors: dict[Hit, Vector] = {}

    @cached_property
    def windows(self) -> Sequence[Hit]:
        """The message's windows in order."""
        return windows_of(self._reading)

    def believes(self, side: Side, hits: Iterable[Hit]) -> bool:
        """Say whether a rule that fired on these words may show its card: some window with them does not speak against."""
        point, head = self._meaning.point, self._meaning.weights.sides[side]
        least = point.beside_rule if side == "urgent" else point.declined_beside_rule
        least += point.beside_long if len(self.windows) >= LONG_WINDOWS else 0.0
        places = [(hit.start, hit.end) for hit in hits]
        over = [w for w in self._ranked(head) if any(w.start < end and start < w.end for start, end in places)]
        return not over or any(self.score(head, window) >= least for window in over[:MAX_EMBEDDED])

    def likest(self, side: Side) -> Likeness | None:
        """Return the window that is enough by itself for this side, or None."""
        point, head = self._meaning.point, self._meaning.weights.sides[side]
        alone = point.alone if side == "urgent" else point.declined_alone
        alone += point.alone_long if len(self.windows) >= LONG_WINDOWS else 0.0
        ranked = self._ranked(head)[:MAX_EMBEDDED]
        worth = [window for window in ranked if head.of_signs(self._signs_of(window)) >= head.least]
        best = max(worth, key=lambda window: self.score(head, window), default=None)
        if best is None or self.score(head, best) < alone:
            return None
        signs = self._signs_of(best)
        telling = sorted(signs, key=lambda name: -head.signs.get(name, 0.0) * signs[name])[:TOLD_SIGNS]
        told = tuple(name for name in telling if head.signs.get(name, 0.0) > 0)
        return Likeness(self._group(side, best), self.score(head, best), window_text(self._reading, best), told)

    def texts(self) -> set[str]:
        """Return the windows that are likely to be embedded."""
        heads = self._meaning.weights.sides.values()
        likely = {window for head in heads for window in self._ranked(head)[:MAX_EMBEDDED]}
        return {window_text(self._reading, window) for window in likely}

    def _ranked(self, head: Head) -> list[Hit]:
        """Return the windows whose words speak most for a side first."""
        return sorted(self.windows, key=lambda window: -head.of_signs(self._signs_of(window)))

    def score(self, head: Head, window: Hit) -> float:
        """Return the window's log-odds."""
        return head.of_signs(self._signs_of(window)) + MEANING_SCALE * float(head.meaning @ self._vector(window))

    def _group(self, side: Side, window: Hit) -> str:
        heads = self._meaning.weights.groups
        return max(self._meaning.groups[side], key=lambda id_: self.score(heads[id_], window))

    def _signs_of(self, window: Hit) -> Mapping[str, float]:
        if window not in self._signs:
            self._signs[window] = signs_of(self._reading, window, self._meaning.lists)
        return self._signs[window]

    def _vector(self, window: Hit) -> Vector:
        if window not in self._vectors:
            text = window_text(self._reading, window)
            known = self._meaning.known.get(text)
            self._vectors[window] = self._meaning.embedder.encode([text])[0] if known is None else known
        return self._vectors[window]


def read_weights(file: Path) -> Weights | None:
    """Return the weights of the file, or None when it is missing or cannot be used."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        sides: dict[Side, Head] = {"urgent": _head(stored["urgent"]), "declined": _head(stored["declined"])}
        groups = {str(id_): _head(head) for id_, head in stored["groups"].items()}
        return Weights(str(stored["embedder"]), str(stored["made_of"]), sides, groups)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_weights(file: Path, weights: Weights) -> None:
    """Write the weights; the file appears only when it is whole."""
    stored: dict[str, Any] = {"embedder": weights.embedder, "made_of": weights.made_of}
    stored |= {str(side): _as_json(head) for side, head in weights.sides.items()}
    stored["groups"] = {id_: _as_json(head) for id_, head in weights.groups.items()}
    partial = file.with_suffix(".part")
    partial.write_text(json.dumps(stored, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(file)


def _head(stored: Mapping[str, Any]) -> Head:
    signs = {str(name): float(weight) for name, weight in stored["signs"].items()}
    return Head(float(stored["bias"]), signs, np.array(stored["meaning"], dtype=np.float32), float(stored["least"]))


def _as_json(head: Head) -> dict[str, Any]:
    signs = dict(sorted(head.signs.items(), key=lambda one: -one[1]))
    meaning = " ".join(f"{value:.3f}" for value in head.meaning.tolist())
    return {"bias": head.bias, "least": head.least, "signs": signs, "meaning": [float(v) for v in meaning.split()]}
