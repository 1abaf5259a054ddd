"""Makes the weights of ``meaning`` from the clinic's examples: logistic regression, run by staff and never by a turn.

An example counts by its one window; of a long one that must fire, the window counts that a first fit finds most
telling, because the others are the chatter around it.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression

from chatbot.embedder import Embedder, Vectors
from chatbot.safety.meaning import MEANING_SCALE, Head, Side, Weights
from chatbot.safety.rules import RuleBook
from chatbot.safety.windows import lists_of, signs_of, window_text, windows_of

MIN_SEEN = 2  # a word that stands in one window only says little about others
INVERSE_PENALTY = 1.0  # sklearn's C
MIN_WEIGHT = 0.01  # smaller ones are not written down
READ_CHARS = 4_000
LEAST_SHARE = 0.002  # of the examples' windows, the share that is not worth embedding

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Example:
    """An utterance and the group that it must fire, or None when it must not fire."""

    text: str
    group: str | None


def examples_of(rules: RuleBook) -> list[Example]:
    """Return every example of the rule files."""
    assert rules.harmless is not None
    found: list[Example] = []
    for group in rules.groups.values():
        found += [Example(text, group.id) for text in group.must_fire]
        found += [Example(text, None) for text in group.must_not_fire]
    return found + [Example(text, None) for text in rules.harmless.must_not_fire]


def ids_by_side(rules: RuleBook) -> dict[Side, list[str]]:
    """Return the groups that are weighed together."""
    groups = rules.groups.values()
    return {
        "urgent": [group.id for group in groups if group.kind != "declined"],
        "declined": [group.id for group in groups if group.kind == "declined"],
    }


def fingerprint(groups: Iterable[Example]) -> str:
    """Return what changes with any example."""
    lines = sorted(f"{example.group}\t{example.text}" for example in groups)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def fit(rules: RuleBook, embedder: Embedder, further_harmless: Iterable[str] = ()) -> Weights:
    """Return weights made from all examples of the rule book.

    Args:
        rules: A usable rule book.
        embedder: The one that messages are weighed with.
        further_harmless: Everyday messages that must not fire, beside those of the rule files.
    """
    examples = examples_of(rules)
    bed = Bed(rules, [*examples, *(Example(text, None) for text in further_harmless)], embedder)
    sides: dict[Side, Head] = {}
    groups: dict[str, Head] = {}
    for side, ids in ids_by_side(rules).items():
        sides[side], chosen = bed.fit_side(ids)
        groups |= bed.fit_groups(chosen)
    return Weights(embedder.name, fingerprint(examples), sides, groups)


class Bed:
    """The windows of all examples with their signs and vectors."""

    def __init__(self, rules: RuleBook, examples: Sequence[Example], embedder: Embedder) -> None:
        assert rules.reader is not None
        lists = lists_of(rules.rules)
        owners, signs, texts = [], [], []
        for number, example in enumerate(examples):
            reading = rules.reader.read(example.text[:READ_CHARS])
            for window in windows_of(reading):
                owners.append(number)
                signs.append(signs_of(reading, window, lists))
                texts.append(window_text(reading, window))
        seen = Counter(name for one in signs for name in one)
        kept = [{name: amount for name, amount in one.items() if seen[name] >= MIN_SEEN} for one in signs]
        self.owners = np.array(owners)
        self.groups = np.array([examples[owner].group or "" for owner in owners])
        self.vectors: Vectors = embedder.encode(texts)
        self._names = DictVectorizer(dtype=np.float32)
        self._signs = self._names.fit_transform(kept)
        self.matrix = self._joined(self._signs)

    def _joined(self, signs: Any) -> Any:
        return hstack([csr_matrix(self.vectors * MEANING_SCALE), signs]).tocsr()

    def fit_side(self, ids: Sequence[str], trained: Mask | None = None) -> tuple[Head, Mask]:
        """Return the head that tells these groups from everything else, and the windows that stand for their examples.

        Args:
            ids: The groups that must fire.
            trained: Which windows may be learnt from; all when it is left out.
        """
        ours = np.isin(self.groups, list(ids))
        allowed = np.ones(len(ours), dtype=bool) if trained is None else trained
        if "declined" in ids[0]:
            allowed = allowed & (ours | (self.groups == ""))  # an emergency is shown before anything is declined
        alone = np.bincount(self.owners)[self.owners] == 1
        first = self._fitted(ours, allowed & (~ours | alone))
        scores = first.decision_function(self.matrix)
        best: dict[int, int] = {}
        for place in np.flatnonzero(ours & ~alone).tolist():
            owner = int(self.owners[place])
            if owner not in best or scores[place] > scores[best[owner]]:
                best[owner] = place
        chosen = allowed & (~ours | alone)
        chosen[[place for place in best.values() if allowed[place]]] = True
        fitted = self._fitted(ours, chosen)
        head = self._head(fitted.coef_[0], float(fitted.intercept_[0]), self._names.get_feature_names_out())
        telling = chosen & ours & (self.scores(head) >= 0)
        return replace(
            head, least=round(float(np.quantile(self._of_signs(head)[telling], LEAST_SHARE)), 3)
        ), chosen & ours

    def fit_groups(self, chosen: Mask) -> dict[str, Head]:
        """Return a head for each group; the greatest of them says which card fits a window that fires."""
        names = self._names.get_feature_names_out()
        lists = [place for place, name in enumerate(names) if name.startswith("@")]
        matrix = self._joined(self._signs[:, lists])[chosen]
        fitted = LogisticRegression(C=INVERSE_PENALTY, max_iter=300).fit(matrix, self.groups[chosen])
        return {
            str(id_): self._head(weights, float(bias), names[lists])
            for id_, weights, bias in zip(fitted.classes_, fitted.coef_, fitted.intercept_, strict=True)
        }

    def _fitted(self, ours: Mask, used: Mask) -> LogisticRegression:
        return LogisticRegression(C=INVERSE_PENALTY, max_iter=300).fit(self.matrix[used], ours[used])

    def _head(self, weights: Any, bias: float, names: Sequence[str]) -> Head:
        dim = self.vectors.shape[1]
        meaning = np.asarray(weights[:dim], dtype=np.float32)
        signs = {
            str(name): round(float(weight), 3)
            for name, weight in zip(names, weights[dim:], strict=True)
            if abs(weight) >= MIN_WEIGHT
        }
        return Head(round(float(bias), 4), signs, meaning)

    def scores(self, head: Head) -> npt.NDArray[np.float64]:
        """Return every window's log-odds by a head of this bed."""
        return self._of_signs(head) + MEANING_SCALE * self.vectors @ head.meaning

    def _of_signs(self, head: Head) -> npt.NDArray[np.float64]:
        weights = np.array([head.signs.get(str(name), 0.0) for name in self._names.get_feature_names_out()])
        return np.asarray(self._signs @ weights + head.bias)
