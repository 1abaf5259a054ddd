"""Where the phrases of the safety rules stand in a message, and whether they are meant.

"No chest pain", "chest pain ten years ago", "what causes chest pain?" and "dying of boredom" hold a rule's words
and are no emergency. Which words say so is the clinic's list (``language.yaml``); how far they reach is decided here,
after NegEx (Chapman et al., J Biomed Inform 2001) and ConText (Harkema et al., 2009).
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from chatbot.safety.text import ShortForms, Vocabulary, Word, stem

Doubt = Literal["idiom", "negated", "past", "supposed", "asked"]
LANGUAGE = (
    "negations",
    "not_negations",
    "breaks",
    "past",
    "present",
    "questions",
    "questions_first",
    "questions_if",
    "supposed",
    "personal",
    "idioms",
)
Finder = Callable[[Sequence[Word]], Iterable[tuple[int, int]]]  # where a measure holds: first word, one past the last
MAX_SKIPPED = 4  # fillers between two words of a phrase
MAX_GAP = 4  # words that "..." may stand for
NEGATION_REACH = 6  # words between a negation and what it denies
PAST_REACH = 14
FRAME_REACH = 16
LOOK = 40  # no scope reaches further, fillers included: keeps the work linear
MAX_HITS = 100_000  # more than any message of the length that is read whole can hold in earnest


class Hit(NamedTuple):
    """A phrase found: the words it covers, the last one not included."""

    start: int
    end: int
    weak: bool = False  # a real word taken for a misspelling of the rule's only word


@dataclass(frozen=True, slots=True)
class PhraseWord:
    """One step of a phrase: a dictionary key, or a gap."""

    key: str
    gap: bool = False


@dataclass(slots=True)
class _Node:
    children: dict[str, "_Node"] = field(default_factory=dict)
    gap: "_Node | None" = None
    names: list[str] = field(default_factory=list)


def phrase_words(
    phrase: str, short_forms: ShortForms, fillers: frozenset[str], little_words: frozenset[str] = frozenset()
) -> list[PhraseWord]:
    """Return the steps of a phrase as it is written in a rule file.

    ``=`` in front: exactly these words. ``*`` at a word's end: any ending. ``...``: up to four words between.
    Otherwise word forms do not matter and fillers are left out, as long as two telling words remain, little words
    (of, with, me) not counted: "end it all" is not "end", and "done with life" not "with life".
    """
    exact = phrase.startswith("=")
    parts = [_starred(part, short_forms) for part in re.split(r"\s*\.\.\.\s*", phrase.removeprefix("="))]
    telling = sum(text not in fillers and text not in little_words for part in parts for text, _ in part)
    whole = exact or telling < 2
    steps: list[PhraseWord] = []
    for part in parts:
        if steps and part:
            steps.append(PhraseWord("", gap=True))
        steps += [PhraseWord(_key(text, value, exact)) for text, value in part if whole or text not in fillers]
    return steps


def _starred(part: str, short_forms: ShortForms) -> list[tuple[str, float | None]]:
    pieces: list[tuple[str, float | None]] = []
    plain: list[str] = []
    for word in part.split():
        if word.endswith("*"):
            pieces += short_forms.pieces(" ".join(plain))
            plain = []
            pieces.append((word.casefold(), None))
        else:
            plain.append(word)
    return [p for p in pieces + short_forms.pieces(" ".join(plain)) if p[0][0].isalnum()]


def _key(text: str, value: float | None, exact: bool) -> str:
    if value is not None:
        return f"{value:g}"
    if text.endswith("*"):
        return text
    return f"={text}" if exact else stem(text)


class Phrases:
    """Every phrase of every list in one tree, so that a message is read once however many rules there are."""

    def __init__(self, lists: Mapping[str, Iterable[Sequence[PhraseWord]]]) -> None:
        self._root = _Node()
        for name, phrases in lists.items():
            for steps in phrases:
                self._add(name, steps)

    def _add(self, name: str, steps: Sequence[PhraseWord]) -> None:
        node = self._root
        for step in steps:
            if step.gap:
                node.gap = node.gap or _Node()
                node = node.gap
            else:
                node = node.children.setdefault(step.key, _Node())
        if name not in node.names:
            node.names.append(name)

    def find(self, words: Sequence[Word]) -> dict[str, list[Hit]]:
        """Return the phrases found by the name of their list, in order of their first word."""
        hits: dict[str, list[Hit]] = {}
        root = self._root.children
        found = 0
        for start, word in enumerate(words):
            if not any(key in root for key in word.keys) and not any(key in root for key in word.weak_keys):
                continue
            seen: dict[tuple[int, bool], Hit] = {}
            for names, end, weak in self._from(words, start):
                hit = seen.get((end, weak)) or seen.setdefault((end, weak), Hit(start, end, weak))
                for name in names:
                    listed = hits.setdefault(name, [])
                    if hit not in listed[-4:]:
                        listed.append(hit)
                found += 1
            if found > MAX_HITS:
                break
        return hits

    def _from(self, words: Sequence[Word], start: int) -> Iterator[tuple[list[str], int, bool]]:
        # (node, next word, skipped, length so far, real words taken for misspellings)
        stack = [(self._root, start, 0, 0, 0)]
        while stack:
            node, at, skipped, length, weak = stack.pop()
            if at >= len(words) or (length and words[at].sentence != words[start].sentence):
                continue
            word = words[at]
            for keys, added in ((word.keys, 0), (word.weak_keys, 1)):
                if weak + added > 1:
                    continue
                for key in keys:
                    child = node.children.get(key)
                    if child is None:
                        continue
                    if child.names:
                        yield child.names, at + 1, bool(weak + added) and length == 0
                    if child.children:
                        stack.append((child, at + 1, 0, length + 1, weak + added))
                    if child.gap is not None:
                        stack.append((child.gap, at + 1, -MAX_GAP, length + 1, weak + added))
            # A gap (skipped below zero) may pass over any word, a phrase without one over fillers only.
            if length and (skipped < -1 or (word.filler and skipped < MAX_SKIPPED)):
                stack.append((node, at + 1, skipped + 1, length, weak))


class Reading:
    """One message with everything that was found in it. ``hits`` are by list name, in order of their place."""

    def __init__(self, words: Sequence[Word], hits: Mapping[str, Sequence[Hit]], scopes: "_Scopes") -> None:
        self.words = words
        self.hits = hits
        self._scopes = scopes
        self._doubts: dict[tuple[int, int], Doubt | None] = {}

    def quote(self, hit: Hit) -> str:
        """Return the message's own words that the hit covers."""
        return " ".join(word.text for word in self.words[hit.start : hit.end])

    def doubt(self, hit: Hit) -> Doubt | None:
        """Return why the hit's words are not meant as they stand, or None. Worked out once for a place."""
        span = (hit.start, hit.end)
        if span not in self._doubts:
            self._doubts[span] = self._scopes.doubt(hit)
        return self._doubts[span]

    def window_doubt(self, window: Hit, frame_words: int) -> Doubt | None:
        """Return why a whole sentence, or a piece of one, is not meant as it stands, or None.

        Args:
            window: The words looked at.
            frame_words: A frame such as "how do I know if" counts when it begins within so many words.
        """
        return self._scopes.window_doubt(window, frame_words)


class Reader:
    """Finds phrases and measures in a message and judges whether they are meant."""

    def __init__(
        self, vocabulary: Vocabulary, phrases: Phrases, measures: Mapping[str, Finder], excuses: Collection[str] = ()
    ) -> None:
        """Take the look-ups; ``excuses`` are the lists that only take rules back, so their phrases are no signs."""
        self._excuses = frozenset(excuses)
        self._vocabulary = vocabulary
        self._phrases = phrases
        self._measures = measures

    def read(self, text: str) -> Reading:
        """Return the message's words and hits."""
        words = self._vocabulary.words(text)
        found = self._phrases.find(words)
        language = {name: found.pop(name, []) for name in LANGUAGE}
        signs = {
            hit.start
            for name, hits in found.items()
            if name not in self._excuses
            for hit in hits
            if hit.end - hit.start > 1
        }
        scopes = _Scopes(words, language, signs)
        if any(word.number is not None for word in words):
            for name, finder in self._measures.items():
                if places := [Hit(start, end) for start, end in finder(words)]:
                    found[name] = places
        return Reading(words, found, scopes)


class _Scopes:
    """How far the words of ``language.yaml`` reach in one message."""

    def __init__(self, words: Sequence[Word], hits: Mapping[str, Sequence[Hit]], signs: Collection[int]) -> None:
        """Prepare the look-ups; ``signs`` is where signs of several words begin ("not felt" denies nothing)."""
        self._words = words
        by_name = {name: [hit for hit in found if not hit.weak] for name, found in hits.items()}
        self._idiom = _covered(by_name["idioms"])
        not_negating = _covered(by_name["not_negations"])
        self._negations = [
            hit for hit in by_name["negations"] if hit.start not in not_negating and hit.start not in signs
        ]
        self._break_starts = sorted({hit.start for hit in by_name["breaks"]})
        self._present = sorted({hit.start for hit in by_name["present"]})
        self._past = by_name["past"]
        self._questions_if = by_name["questions_if"]
        self._supposed = by_name["supposed"]
        asking = [*by_name["questions"], *(hit for hit in by_name["questions_first"] if self._opens(hit))]
        self._asking = {words[hit.start].sentence for hit in asking}
        framed = _covered([*asking, *by_name["questions_if"]])
        self._personal = {words[h.start].sentence for h in by_name["personal"] if h.start not in framed}
        self._present_in = {words[place].sentence for place in self._present}
        self._or = sorted(at for at, word in enumerate(words) if word.text in ("or", "nor"))

    def _opens(self, hit: Hit) -> bool:
        """Say whether the hit stands at the beginning of a sentence or after a comma."""
        word = self._words[hit.start]
        return hit.start == 0 or word.comma_before or self._words[hit.start - 1].sentence != word.sentence

    def doubt(self, hit: Hit) -> Doubt | None:
        """Return why the words are not meant as they stand, or None."""
        if any(at in self._idiom for at in range(hit.start, hit.end)):
            return "idiom"
        if self._is_negated(hit):
            return "negated"
        if self._is_past(hit):
            return "past"
        if self._is_supposed(hit):
            return "supposed"
        return "asked" if self._is_asked(hit) else None

    def window_doubt(self, window: Hit, frame_words: int) -> Doubt | None:
        """Return the doubt about a whole window; see ``Reading.window_doubt``."""
        sentence = self._words[window.start].sentence
        if sentence in self._present_in:
            return None
        if _any_in(self._past, window.start, window.end):
            return "past"
        if _any_in(self._supposed, window.start, window.start + frame_words):
            return "supposed"
        if _any_in(self._questions_if, window.start, window.start + frame_words):
            return "asked"
        return "asked" if sentence in self._asking and sentence not in self._personal else None

    def _is_negated(self, hit: Hit) -> bool:
        return self._denied_before(hit) or self._denied_after(hit)

    def _denied_before(self, hit: Hit) -> bool:
        near = slice(_first_at(self._negations, hit.start - LOOK), _first_at(self._negations, hit.start))
        for negation in reversed(self._negations[near]):
            if not self._same_sentence(negation, hit) or self._gap(negation, hit) > NEGATION_REACH:
                return False
            if negation.end > hit.start or self._broken(negation.end, hit.start):
                continue
            commas = [at for at in range(negation.end, hit.start + 1) if self._words[at].comma_before]
            if commas and not self._joined_by_or(negation, hit):
                continue
            return True
        return False

    def _joined_by_or(self, negation: Hit, hit: Hit) -> bool:
        at = bisect_left(self._or, negation.end)
        return (
            at < len(self._or)
            and self._words[self._or[at]].sentence == self._words[hit.start].sentence
            and (self._or[at] <= hit.end + 3)
        )

    def _denied_after(self, hit: Hit) -> bool:
        after = self._words[hit.end : hit.end + 2]
        if not after or after[0].sentence != self._words[hit.end - 1].sentence:
            return False
        if after[0].text not in ("no", "none", "denied", "nope", "absent"):
            return False
        return len(after) == 1 or after[1].comma_before or after[1].sentence != after[0].sentence

    def _is_past(self, hit: Hit) -> bool:
        near = slice(_first_at(self._past, hit.start - LOOK), _first_at(self._past, hit.end + LOOK))
        for marker in self._past[near]:
            if not self._same_sentence(marker, hit):
                continue
            first, second = (marker, hit) if marker.start < hit.start else (hit, marker)
            if self._gap(first, second) > PAST_REACH or self._broken(first.end, second.start):
                continue
            if not self._now_said_of(hit, first, second):
                return True
        return False

    def _now_said_of(self, hit: Hit, first: Hit, second: Hit) -> bool:
        """Say whether "now", "again" or "since this morning" stands with the sign rather than with the past."""
        at = bisect_left(self._present, first.end)
        if at < len(self._present) and self._present[at] < second.start:
            return True
        near = bisect_left(self._present, hit.end)
        return (
            near < len(self._present)
            and self._present[near] < min(hit.end + 3, len(self._words))
            and (self._words[self._present[near]].sentence == self._words[hit.start].sentence)
        )

    def _is_supposed(self, hit: Hit) -> bool:
        return self._follows(self._supposed, hit)

    def _is_asked(self, hit: Hit) -> bool:
        sentence = self._words[hit.start].sentence
        if sentence in self._present_in:
            return False
        return self._follows(self._questions_if, hit) or (sentence in self._asking and sentence not in self._personal)

    def _follows(self, frames: Sequence[Hit], hit: Hit) -> bool:
        """Say whether the hit stands in the reach of the last frame before it, and nothing says that it is so now."""
        at = _first_at(frames, hit.start + 1) - 1
        return (
            at >= 0
            and self._words[hit.start].sentence not in self._present_in
            and self._same_sentence(frames[at], hit)
            and self._gap(frames[at], hit) <= FRAME_REACH
            and not self._broken(frames[at].end, hit.start)
        )

    def _same_sentence(self, one: Hit, other: Hit) -> bool:
        return self._words[one.start].sentence == self._words[other.start].sentence

    def _gap(self, first: Hit, second: Hit) -> int:
        return self._words[second.start].place - self._words[min(first.end, len(self._words)) - 1].place

    def _broken(self, start: int, end: int) -> bool:
        at = bisect_left(self._break_starts, start)
        return at < len(self._break_starts) and self._break_starts[at] < end


def _covered(hits: Iterable[Hit]) -> frozenset[int]:
    return frozenset(at for hit in hits for at in range(hit.start, hit.end))


def _first_at(hits: Sequence[Hit], place: int) -> int:
    return bisect_left(hits, place, key=lambda hit: hit.start)


def _any_in(hits: Sequence[Hit], start: int, end: int) -> bool:
    at = _first_at(hits, start)
    return at < len(hits) and hits[at].start < end
