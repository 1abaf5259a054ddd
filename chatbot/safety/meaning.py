"""The semantic half of the safety gate: how like a message is to the clinic's own examples.

Each window of a message is compared with the examples that must fire and with those that must not. The margin between
the two decides, at an operating point that stands in ``harmless.yaml`` and was set on development examples only. A
window that speaks of the group in the rules' own words needs a smaller margin than one that does not.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chatbot.embedder import Embedder
from chatbot.safety.match import Hit, Reading
from chatbot.safety.rules import Group, Harmless, Kind, ReadyRule, RuleBook

VECTORS_FILE = "examples.npz"  # made from the examples; what is missing in it is embedded when the gate opens
MAX_WINDOWS = 3
WINDOW_WORDS = 28
WINDOW_STEP = 20
MIN_WORDS = 3
TOLD_HITS = 3  # so many of the rules' words make a window one that speaks of the group
FRAME_AT_START = 4  # a question frame or "if I ever" within these words turns the whole window into a question

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Likeness:
    """The group whose examples a window is most like."""

    group: str
    kind: Kind
    margin: float  # mean cosine to the nearest must-fire examples less that to the nearest others
    window: str
    example: str  # the nearest must-fire example
    told: bool  # the window holds words of the group's rules as well


class Meaning:
    """Compares windows of a message with the examples of a rule book."""

    def __init__(self, rules: RuleBook, embedder: Embedder, vectors: Path | None = None) -> None:
        """Embed the examples, or take their vectors from the file when it holds them.

        Args:
            rules: A usable rule book.
            embedder: The embedder that messages are embedded with as well.
            vectors: A file of :func:`write_vectors`; one made with another embedder or of other texts does no harm.
        """
        assert rules.harmless is not None and rules.reader is not None
        self._rules = rules
        self._reader = rules.reader
        self._embedder = embedder
        self._nearest = rules.harmless.meaning.nearest
        self._point = rules.harmless.meaning
        self._lists = _telling_lists(rules.rules)
        rows = example_rows(rules.groups.values(), rules.harmless)
        self._texts = [text for text, _ in rows]
        self._groups = [group or "" for _, group in rows]
        kinds = [rules.groups[group].kind if group else None for group in self._groups]
        self._urgent = np.array([kind in ("emergency", "crisis") for kind in kinds])
        self._declined = np.array([kind == "declined" for kind in kinds])
        self._vectors = embed_examples([self._normal(text) for text in self._texts], embedder, vectors)

    def urgent(self, reading: Reading) -> Likeness | None:
        """Return what makes the message an emergency or a crisis by its meaning, or None."""
        return self._likest(reading, self._urgent, self._point.alone, self._point.with_words)

    def declined(self, reading: Reading) -> Likeness | None:
        """Return what makes the message one to decline by its meaning, or None."""
        return self._likest(reading, self._declined, self._point.declined_alone, self._point.declined_with_words)

    def _likest(
        self, reading: Reading, mask: npt.NDArray[np.bool_], alone: float, with_words: float
    ) -> Likeness | None:
        found = [one for one in self.likenesses(reading, mask) if one.margin >= (with_words if one.told else alone)]
        return max(found, key=lambda one: one.margin, default=None)

    def likenesses(self, reading: Reading, mask: npt.NDArray[np.bool_]) -> list[Likeness]:
        """Return for every window that is looked at the group among ``mask`` that it is most like."""
        windows = self.windows(reading)
        if not windows:
            return []
        texts = [_text(reading, window) for window in windows]
        cosines = self._cosines(tuple(texts))
        ours, others = np.flatnonzero(mask), np.flatnonzero(~mask)
        found = []
        for window, text, row in zip(windows, texts, cosines, strict=True):
            best = ours[np.argsort(row[ours])[-self._nearest :]]
            margin = float(row[best].mean() - np.sort(row[others])[-self._nearest :].mean())
            nearest = int(best[-1])
            group = self._groups[nearest]
            told = self._is_told(reading, window, {self._groups[int(place)] for place in best})
            kind = self._rules.groups[group].kind
            found.append(Likeness(group, kind, margin, text, self._texts[nearest], told))
        return found

    def windows(self, reading: Reading) -> list[Hit]:
        """Return the sentences, long ones in pieces, that are worth comparing: at most ``MAX_WINDOWS``."""
        candidates = [window for window in _windows(reading) if reading.window_doubt(window, FRAME_AT_START) is None]
        if len(candidates) <= MAX_WINDOWS:
            return candidates
        worth = {window: self._words_told(reading, window) for window in candidates}
        best = sorted(candidates, key=lambda window: (-worth[window], window.start))[:MAX_WINDOWS]
        return sorted(best)

    def _words_told(self, reading: Reading, window: Hit) -> int:
        return sum(
            window.start <= hit.start < window.end
            for names in self._lists.values()
            for name in names
            for hit in reading.hits.get(name, ())
        )

    def _is_told(self, reading: Reading, window: Hit, groups: Iterable[str]) -> bool:
        return any(
            sum(
                window.start <= hit.start < window.end and reading.doubt(hit) is None
                for name in self._lists[group]
                for hit in reading.hits.get(name, ())
            )
            >= TOLD_HITS
            for group in groups
        )

    def _cosines(self, texts: tuple[str, ...]) -> Vectors:
        return self._embedder.encode(texts) @ self._vectors.T

    def _normal(self, text: str) -> str:
        return " ".join(word.text for word in self._reader.read(text).words)


def example_rows(groups: Iterable[Group], harmless: Harmless) -> list[tuple[str, str | None]]:
    """Return every example with its group, or with None when it must not fire."""
    rows: list[tuple[str, str | None]] = []
    for group in groups:
        rows += [(text, group.id) for text in group.must_fire]
        rows += [(text, None) for text in group.must_not_fire]
    return rows + [(text, None) for text in harmless.must_not_fire]


def embed_examples(texts: Sequence[str], embedder: Embedder, file: Path | None) -> Vectors:
    """Return float32 vectors ``(len(texts), dim)``, L2-normalised, from the file where it has them."""
    known = _read_vectors(file, embedder.name) if file is not None else {}
    missing = sorted({text for text in texts if _key(text) not in known})
    if missing:
        known |= dict(zip(map(_key, missing), embedder.encode(missing), strict=True))
    return np.stack([known[_key(text)] for text in texts]).astype(np.float32)


def write_vectors(file: Path, rules: RuleBook, embedder: Embedder) -> int:
    """Write the vectors of all examples, so that the gate opens at once; return how many."""
    assert rules.reader is not None and rules.harmless is not None
    rows = example_rows(rules.groups.values(), rules.harmless)
    texts = sorted({" ".join(word.text for word in rules.reader.read(text).words) for text, _ in rows})
    vectors = embed_examples(texts, embedder, file if file.is_file() else None)
    keys = np.array([_key(text) for text in texts])
    np.savez_compressed(file, name=np.array(embedder.name), keys=keys, vectors=vectors.astype(np.float16))
    return len(texts)


def _read_vectors(file: Path, name: str) -> dict[str, Vectors]:
    """Return the file's vectors by key; nothing of a file that is missing, damaged or of another embedder."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            if str(stored["name"]) != name:
                return {}
            return dict(zip(map(str, stored["keys"]), stored["vectors"].astype(np.float32), strict=True))
    except (OSError, ValueError, KeyError, EOFError):
        return {}


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _telling_lists(rules: Iterable[ReadyRule]) -> Mapping[str, frozenset[str]]:
    lists: dict[str, set[str]] = {}
    for rule in rules:
        lists.setdefault(rule.group, set()).update(*rule.parts)
    return {group: frozenset(names) for group, names in lists.items()}


def _windows(reading: Reading) -> list[Hit]:
    """Return sentences, those below ``MIN_WORDS`` joined to the next, long ones in pieces."""
    words = reading.words
    spans: list[Hit] = []
    start = 0
    for at in range(1, len(words) + 1):
        ends = at == len(words) or words[at].sentence != words[at - 1].sentence
        if ends and (at - start >= MIN_WORDS or at == len(words)):
            spans.append(Hit(start, at))
            start = at
    pieces: list[Hit] = []
    for span in spans:
        if span.end - span.start <= WINDOW_WORDS:
            pieces.append(span)
            continue
        pieces += [
            Hit(at, min(at + WINDOW_WORDS, span.end))
            for at in range(span.start, span.end - WINDOW_STEP // 2, WINDOW_STEP)
        ]
    return [piece for piece in pieces if piece.end > piece.start]


def _text(reading: Reading, window: Hit) -> str:
    return " ".join(word.text for word in reading.words[window.start : window.end])
