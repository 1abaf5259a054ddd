"""A patient's message as words that safety rules can be matched against.

Case, accents, text-speak, typing errors, spelled-out numbers and run-together words are evened out here,
in time linear in the message's length. What is left are ``Word`` values that know which rule words they may stand for.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import Stemmer
from rapidfuzz.distance import OSA

SENTENCE_GAP = 2  # a full stop counts as so many words when distances between words are measured
TYPO_LETTERS = 5  # shorter words are too easily another word
TWO_TYPOS_LETTERS = 8
COMMON_RANK = 3000  # the commonest English words are never taken for a typing error

_PIECES = re.compile(r"\d{1,9}(?:[.,]\d{1,3})?|[a-z]+(?:['*@$][a-z]+)*|\.{2,}|[.!?;\n,:+()]")
_MARKS = str.maketrans({"\u2026": "...", "\u2019": "'", "\u2018": "'", "\u00b4": "'", "\u2032": "'", "\u02bc": "'"})
_STEMMER = Stemmer.Stemmer("english")
_SUFFIXES = {"s": (), "ll": ("will",), "ve": (), "re": (), "d": (), "m": ()}
_SENTENCE_ENDS = frozenset(".!?;\n")
_LONG_RUN = re.compile(r"([a-z])\1{2,}")
_UNITS = {
    word: value
    for value, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
}
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}


class Word(NamedTuple):
    """One word of a message.

    ``keys`` are the dictionary keys it matches: its stem, ``=`` and its exact form, and the same for the rule words
    it is a likely misspelling of. ``weak_keys`` are those it would match if a real word were a typing error.
    ``place`` counts words and sentence ends, without fillers.
    """

    text: str
    keys: tuple[str, ...]
    weak_keys: tuple[str, ...]
    place: int
    sentence: int
    filler: bool
    comma_before: bool
    number: float | None = None


@lru_cache(maxsize=16384)
def stem(word: str) -> str:
    """Return the word's Snowball stem (Porter 2)."""
    return str(_STEMMER.stemWord(word))


def fold(text: str) -> str:
    """Return the text in small plain letters: compatibility forms composed, accents and invisible characters gone."""
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text.translate(_MARKS))
        text = "".join(c for c in decomposed if c.isascii() or unicodedata.category(c) not in ("Mn", "Cf", "Me"))
    return text.casefold().replace("`", "'").replace("\r", "\n")


class ShortForms:
    """Text-speak of one to three words, and what it means."""

    def __init__(self, meanings: Mapping[str, str]) -> None:
        self._meanings = {tuple(_pieces(short)): tuple(_pieces(meaning)) for short, meaning in meanings.items()}
        self._first_words = {short[0] for short in self._meanings if short}

    def pieces(self, text: str) -> list[tuple[str, float | None]]:
        """Return the text's words and stops, text-speak written out, each with its value if it is a number."""
        pieces = _pieces(text)
        expanded: list[str] = []
        at = 0
        while at < len(pieces):
            if pieces[at] not in self._first_words:
                expanded.append(pieces[at])
                at += 1
                continue
            for length in (3, 2, 1):
                meaning = self._meanings.get(tuple(pieces[at : at + length]))
                if meaning is not None and at + length <= len(pieces):
                    expanded += meaning
                    at += length
                    break
            else:
                expanded.append(pieces[at])
                at += 1
        return list(_join_numbers(expanded))


class Vocabulary:
    """The words of all rules, and which words of a message may stand for them."""

    def __init__(
        self,
        rule_words: Iterable[str],
        exact_words: Iterable[str],
        prefixes: Iterable[str],
        *,
        short_forms: ShortForms,
        fillers: Iterable[str],
        english: Mapping[str, int],
    ) -> None:
        """Prepare the look-up tables.

        Args:
            rule_words: Words of phrases, matched by their stem.
            exact_words: Words of phrases that are matched as they stand.
            prefixes: Beginnings of words; ``swell`` stands for swelled and swellings.
            short_forms: Text-speak and what it means.
            fillers: Words that may stand inside any phrase.
            english: Real words and their rank by frequency; real words are hardly ever typing errors.
        """
        self._keys: dict[str, set[str]] = {}
        for word in rule_words:
            self._keys.setdefault(word, set()).add(stem(word))
        for word in exact_words:
            self._keys.setdefault(word, set()).add(f"={word}")
        self._stems = {stem(word) for word in self._keys}
        self._prefixes = sorted(set(prefixes), key=len)
        self._short_forms = short_forms
        self._fillers = frozenset(fillers)
        self._english = english
        self._near: dict[str, list[str]] = {}
        for word in self._keys:
            if len(word) >= TYPO_LETTERS:
                for variant in _deletions(word, 2 if len(word) >= TWO_TYPOS_LETTERS else 1):
                    self._near.setdefault(variant, []).append(word)
        self._used = {key for keys in self._keys.values() for key in keys} | {f"{prefix}*" for prefix in self._prefixes}
        self._lookup = lru_cache(maxsize=8192)(self._find_keys)

    def words(self, text: str) -> list[Word]:
        """Return the message's words in order."""
        words: list[Word] = []
        place, sentence, comma = 0, 0, False
        for piece, number in self._short_forms.pieces(text):
            if piece in _SENTENCE_ENDS:
                if words and words[-1].sentence == sentence:
                    sentence += 1
                    place += SENTENCE_GAP
                comma = False
                continue
            if piece in (",", ":", "+", "(", ")") or piece.startswith(".."):
                comma = True
                continue
            filler = piece in self._fillers
            place += not filler
            keys, weak_keys = self._lookup(piece) if number is None else (self._number_keys(piece, number), ())
            words.append(Word(piece, keys, weak_keys, place, sentence, filler, comma, number))
            comma = False
        return words

    def _find_keys(self, word: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        plain = word.replace("'", "")
        keys = self._own_keys(plain)
        known = plain in self._keys or plain in self._english or (len(plain) > 3 and stem(plain) in self._stems)
        if not known and (shorter := self._without_runs(plain)) is not None:
            keys |= self._own_keys(shorter)
            known = True
        if known:
            rank = self._english.get(plain)
            doubtful = rank is not None and rank >= COMMON_RANK and plain not in self._keys and not keys & self._stems
            weak = self._misspelt(plain, at_most=1) - keys if doubtful else set()
            return tuple(keys & self._used), tuple(weak)
        return tuple((keys | self._misspelt(plain)) & self._used), ()

    def _number_keys(self, piece: str, number: float) -> tuple[str, ...]:
        return f"{number:g}", *(f"{prefix}*" for prefix in self._prefixes if piece.startswith(prefix))

    def _own_keys(self, word: str) -> set[str]:
        return {stem(word), f"={word}", *(f"{prefix}*" for prefix in self._prefixes if word.startswith(prefix))}

    def _without_runs(self, word: str) -> str | None:
        """Return ``help`` for ``heeelp``, when that is a word."""
        if not _LONG_RUN.search(word):
            return None
        shorter = (_LONG_RUN.sub(r"\1\1", word), _LONG_RUN.sub(r"\1", word))
        return next((form for form in shorter if form in self._keys or form in self._english), None)

    def _misspelt(self, word: str, at_most: int = 2) -> set[str]:
        """Return the keys of rule words within one typing error (two in long words): OSA distance, Damerau 1964."""
        if len(word) < TYPO_LETTERS - 1 or len(word) > 24:
            return set()
        found: set[str] = set()
        for variant in _deletions(word, 2 if len(word) >= TWO_TYPOS_LETTERS else 1):
            for candidate in self._near.get(variant, ()):
                allowed = min(2 if min(len(word), len(candidate)) >= TWO_TYPOS_LETTERS else 1, at_most)
                if OSA.distance(word, candidate, score_cutoff=allowed) <= allowed:
                    found |= self._keys[candidate]
                    found.update(f"{prefix}*" for prefix in self._prefixes if candidate.startswith(prefix))
        return found


def _deletions(word: str, depth: int) -> set[str]:
    """Return the word and all forms with up to ``depth`` letters left out (symmetric deletion, Garbe 2012)."""
    forms = {word}
    layer = {word}
    for _ in range(depth):
        layer = {form[:at] + form[at + 1 :] for form in layer for at in range(len(form))}
        forms |= layer
    return forms


def _pieces(text: str) -> list[str]:
    pieces: list[str] = []
    for match in _PIECES.finditer(fold(text)):
        piece = match.group()
        if "'" in piece:
            head, _, tail = piece.rpartition("'")
            pieces.append((head if tail in _SUFFIXES else piece).replace("'", ""))
            pieces += _SUFFIXES.get(tail, ())
        else:
            pieces.append(piece if piece.isalnum() or not piece[0].isalpha() else re.sub(r"[*@$]", "", piece))
    return pieces


def _join_numbers(pieces: Sequence[str]) -> Iterable[tuple[str, float | None]]:
    """Yield each piece with its value, ``thirty eight point five`` as the one piece ``38.5``."""
    at = 0
    while at < len(pieces):
        piece = pieces[at]
        if piece[0].isdigit():
            yield piece, _number(piece)
            at += 1
        elif piece in _UNITS or piece in _TENS or (piece == "hundred"):
            value, at = _spelled(pieces, at)
            yield f"{value:g}", value
        else:
            yield piece, None
            at += 1


def _number(piece: str) -> float:
    whole, mark, part = piece.replace(",", ".").partition(".")
    if mark and len(part) == 3:  # 1,500
        return float(whole + part)
    return float(f"{whole}.{part}" if mark else whole)


def _spelled(pieces: Sequence[str], at: int) -> tuple[float, int]:
    total = 0.0
    last = ""  # what kind of number word came before: "five six" are two numbers, "thirty six" is one
    while at < len(pieces):
        piece = pieces[at]
        if piece in _TENS and last in ("", "hundred"):
            total, last = total + _TENS[piece], "ten"
        elif piece in _UNITS and last in ("", "ten", "hundred") and not (last == "ten" and _UNITS[piece] > 9):
            total, last = total + _UNITS[piece], "unit"
        elif piece == "hundred" and last in ("", "unit"):
            total, last = max(total, 1) * 100, "hundred"
        elif piece == "and" and last == "hundred" and at + 1 < len(pieces) and pieces[at + 1] in {**_UNITS, **_TENS}:
            pass
        else:
            break
        at += 1
    if at + 1 < len(pieces) and pieces[at] == "point" and pieces[at + 1] in _UNITS:
        total, at = total + _UNITS[pieces[at + 1]] / 10, at + 2
    return total, at
