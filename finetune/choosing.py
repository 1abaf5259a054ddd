"""Which vetted sentences answer a question: replies straight from an answer, without a teacher."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from chatbot.embedder import Embedder, Vectors
from chatbot.text import markdown_blocks, split_sentences

MAX_SENTENCES = 3
CONTRAST = 0.6  # how much of a sentence's nearness to the answer's other questions is taken off
_POINTS_BACK = re.compile(r"(?:They|These|This|It|That|Those|He|She|Both|Then|Also|But|So|Some of)\b")
_ALTERNATIVE = re.compile(r"\b(?:if|call|get)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Unit:
    """One sentence of an answer as it can stand in a reply, and what says where it belongs."""

    text: str
    heading: str = ""
    intro: str = ""  # the "Call … if:" before a list; the text is then one of its items
    place: int = 0  # the reading order in the answer
    points_back: bool = False  # "They …", "This …": it needs the sentence before it

    @property
    def spoken(self) -> str:
        """The sentence as it reads outside its list: the words before the colon come first."""
        return joined_item(self.intro, [self.text]) if self.intro else self.text

    @property
    def in_context(self) -> str:
        """The sentence with its heading in front, for comparing meanings."""
        return f"{self.heading}: {self.spoken}" if self.heading else self.spoken


def units_of(markdown: str) -> list[Unit]:
    """Return every sentence that can stand in a reply, in reading order; headings and list intros are none."""
    units: list[Unit] = []
    heading = intro = ""
    for block in markdown_blocks(markdown):
        if block.kind == "heading":
            heading, intro = block.text, ""
            continue
        sentences = split_sentences(block.text)
        if block.kind == "item" and intro:
            # What follows an item's first sentence hangs on it ("You may need another one.") and cannot stand alone.
            # And where "all of these" must hold, no single one may be said alone.
            if not re.search(r"\ball of\b", intro):
                units.append(Unit(sentences[0], heading, intro, len(units)))
            continue
        if block.kind != "item":
            intro = sentences.pop() if sentences and sentences[-1].endswith(":") else ""
        start = len(units)
        units += [
            Unit(sentence, heading, "", start + n, n > 0 and bool(_POINTS_BACK.match(sentence)))
            for n, sentence in enumerate(sentences)
        ]
    return [unit for unit in units if unit.spoken.endswith((".", "!", "?"))]


def joined_item(intro: str, items: Sequence[str]) -> str:
    """Return a list's opening words and some of its items as one sentence.

    ``Call 911 now if:`` with ``You have chest pain.`` becomes ``Call 911 now if you have chest pain.``
    """
    opening = intro.rstrip(": ")
    parts = [_lowered(item.rstrip(". ")) for item in items]
    if len(parts) == 1:
        return f"{opening} {parts[0]}."
    word = "or" if _ALTERNATIVE.search(opening) else "and"
    return f"{opening} {', '.join(parts[:-1])} {word} {parts[-1]}."


def _lowered(text: str) -> str:
    first = text.split(" ", 1)[0]
    return text if first[1:] != first[1:].lower() or first == "I" else text[:1].lower() + text[1:]


@dataclass(frozen=True, slots=True)
class Scored:
    """An answer's units with how near each is to a question."""

    units: tuple[Unit, ...]
    scores: tuple[float, ...]

    @property
    def best(self) -> float:
        """The nearest unit's score; -1 for an answer without any."""
        return max(self.scores, default=-1.0)

    @property
    def best_unit(self) -> Unit:
        """The nearest unit; there must be one."""
        return max(zip(self.scores, self.units, strict=True), key=lambda pair: pair[0])[1]

    def only(self, spoken: frozenset[str]) -> "Scored":
        """Return the same without the units whose sentence is not among these."""
        pairs = [(unit, score) for unit, score in zip(self.units, self.scores, strict=True) if unit.spoken in spoken]
        return Scored(tuple(unit for unit, _ in pairs), tuple(score for _, score in pairs))


class Chooser:
    """Scores sentences against questions by meaning; every text is embedded once."""

    def __init__(self, embedder: Embedder, cache: Path | None = None) -> None:
        self._embedder = embedder
        self._cache = cache
        self._known: dict[str, Vectors] = _read_cache(cache, embedder.name)

    def learn(self, texts: Sequence[str]) -> None:
        """Embed texts ahead, in batches, and keep the vectors in the cache file."""
        new = sorted({text for text in texts if text not in self._known})
        if not new:
            return
        self._known |= dict(zip(new, self._embedder.encode(new), strict=True))
        if self._cache is not None and len(new) > 1:
            keys, vectors = zip(*self._known.items(), strict=True)
            with self._cache.open("wb") as file:
                np.savez(file, name=self._embedder.name, texts=np.array(keys), vectors=np.stack(vectors))

    def scored(self, question: str, markdown: str, *, others: Sequence[str] = ()) -> Scored:
        """Return the sentences of a text and how well each answers the question, roughly in [-1, 1].

        Args:
            question: What is asked.
            markdown: The answer's text.
            others: Further questions that the same answer is meant for. A sentence as near to them as to this
                one is merely about the topic, so a part of its nearness to them is taken off.
        """
        units = units_of(markdown)
        self.learn([question, *others, *(unit.spoken for unit in units), *(unit.in_context for unit in units)])
        shared = np.mean([self._known[other] for other in others], axis=0) if others else 0.0
        asked = self._known[question] - CONTRAST * shared
        scores = [0.5 * float(asked @ (self._known[unit.spoken] + self._known[unit.in_context])) for unit in units]
        return Scored(tuple(units), tuple(scores))


def _read_cache(path: Path | None, name: str) -> dict[str, Vectors]:
    if path is None or not path.is_file():
        return {}
    with np.load(path) as cache:
        if str(cache["name"]) != name:
            return {}
        return dict(zip(cache["texts"].tolist(), cache["vectors"], strict=True))


def chosen_units(scored: Scored, *, most: int = MAX_SENTENCES, within: float = 0.12) -> list[Unit]:
    """Return the sentences that answer best, in reading order.

    Args:
        scored: An answer's sentences with their scores.
        most: How many sentences at most.
        within: How far below the best score a further sentence may lie. The answer's opening sentence, which
            staff wrote to stand alone, may lie half as far again.
    """
    if not scored.units:
        return []
    floor = scored.best - within
    ranked = sorted(zip(scored.scores, scored.units, strict=True), key=lambda pair: -pair[0])
    by_place = {unit.place: unit for unit in scored.units}
    kept: dict[int, Unit] = {}
    for score, unit in ranked:
        if score < (floor - within / 2 if unit.place == 0 else floor):
            continue
        needed = [unit]
        while needed[0].points_back and needed[0].place - 1 in by_place:
            needed.insert(0, by_place[needed[0].place - 1])
        if len(kept | {each.place: each for each in needed}) <= most:
            kept |= {each.place: each for each in needed}
    return [kept[place] for place in sorted(kept)]


def worded(units: Sequence[Unit], number: int) -> str:
    """Return the reply that these units make: each sentence with its citation; short items of one list together."""
    sentences: list[str] = []
    for intro, run in groupby(units, key=lambda unit: unit.intro):
        group = list(run)
        if intro and all(len(unit.text.split()) <= 7 and "," not in unit.text for unit in group):
            sentences.append(joined_item(intro, [unit.text for unit in group]))
        else:
            sentences += [unit.spoken for unit in group]
    return " ".join(f"{sentence} [{number}]" for sentence in sentences)
