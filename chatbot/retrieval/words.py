"""Words for searching: tokens, stems, synonyms, and a second chance for misspelt ones."""

import re
import threading
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import Stemmer
import yaml
from pydantic import BaseModel, ConfigDict
from rapidfuzz import process
from rapidfuzz.distance import OSA

from chatbot.errors import Problem

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
_STEMMER = Stemmer.Stemmer("english", 0)  # no cache of its own: it is not made for threads, ours below is
_STEMMER_LOCK = threading.Lock()


class Lexicon(BaseModel):
    """Words about questions, from ``lexicon.yaml``: English, and free of any medical sentence."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stopwords: frozenset[str]
    short_forms: dict[str, str]
    question_cues: tuple[str, ...]
    lead_ins: tuple[str, ...]
    chatter: tuple[str, ...]
    follow_up_openings: tuple[str, ...]
    further_openings: tuple[str, ...]
    pronouns: frozenset[str]
    general: frozenset[str]
    aspects: dict[str, tuple[str, ...]]
    audiences: dict[str, tuple[str, ...]]


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    """Return the lexicon that ships with the program."""
    content = yaml.safe_load((Path(__file__).parent / "lexicon.yaml").read_text(encoding="utf-8"))
    content["short_forms"] = {str(short): str(full) for short, full in content["short_forms"].items()}
    return Lexicon(**content | {name: frozenset(content[name].split()) for name in ("stopwords", "general")})


def fold(text: str) -> str:
    """Return the text in small letters, without accents, with one kind of apostrophe."""
    text = text.replace("’", "'").replace("‘", "'").replace("´", "'")
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def words_of(text: str) -> list[str]:
    """Return the words in order, folded; possessive endings are cut."""
    return [word.removesuffix("'s") for word in _WORD.findall(fold(text))]


@lru_cache(maxsize=200_000)
def stem(word: str) -> str:
    """Return the word's stem (Snowball English)."""
    with _STEMMER_LOCK:
        return str(_STEMMER.stemWord(word))


def expand_short_forms(text: str) -> str:
    """Return the text with typed short forms ("u", "pls", "meds") written out."""
    forms = lexicon().short_forms
    return re.sub(r"[\w'/]+", lambda m: forms.get(m.group().lower(), m.group()), text)


@dataclass(frozen=True, slots=True)
class Synonyms:
    """Groups of words that mean the same, as staff wrote them in ``synonyms.yaml``."""

    groups: tuple[tuple[str, ...], ...] = ()
    phrases: Mapping[tuple[str, ...], tuple[int, ...]] = field(default_factory=dict, repr=False)  # stems: groups
    longest: int = 0

    @classmethod
    def of(cls, groups: Iterable[Sequence[str]]) -> "Synonyms":
        """Return the groups made ready to be looked up by stems."""
        kept = tuple(tuple(str(word) for word in group) for group in groups)
        phrases: dict[tuple[str, ...], tuple[int, ...]] = {}
        for number, group in enumerate(kept):
            for phrase in group:
                key = tuple(stem(word) for word in words_of(phrase))
                if key and number not in phrases.get(key, ()):
                    phrases[key] = (*phrases.get(key, ()), number)
        return cls(kept, phrases, max(map(len, phrases), default=0))

    def mentioned(self, stems: Sequence[str]) -> list[tuple[tuple[str, ...], tuple[int, ...]]]:
        """Return each phrase that the stems hold, with the numbers of its groups."""
        return [
            (phrase, groups)
            for start in range(len(stems))
            for end in range(start + 1, min(start + self.longest, len(stems)) + 1)
            if (groups := self.phrases.get(phrase := tuple(stems[start:end])))
        ]

    def found_in(self, stems: Sequence[str]) -> list[int]:
        """Return the number of each group that the stems mention, in order, once each."""
        return list(dict.fromkeys(number for _, groups in self.mentioned(stems) for number in groups))

    def stems(self) -> set[str]:
        """Return every stem that stands in a group."""
        return {part for phrase in self.phrases for part in phrase}

    def written_out(self, text: str) -> str:
        """Return the text with short forms of staff's groups followed by their full name: "BP (blood pressure)"."""

        def replaced(match: re.Match[str]) -> str:
            word = match.group()
            if len(word) > 5:
                return word
            for number in self.phrases.get((stem(fold(word)),), ()):
                full = next((phrase for phrase in self.groups[number] if len(phrase) > len(word) + 3), None)
                if full:
                    return f"{word} ({full})"
            return word

        return _WORD.sub(replaced, text)


def read_synonyms(path: Path, root: Path, problems: list[Problem]) -> Synonyms:
    """Return the groups of the synonyms file that can be used, and note what is wrong with the others.

    Args:
        path: The file; when there is none, there are no synonyms.
        root: The knowledge folder, so that problems name the file as staff know it.
        problems: What is wrong is added here.
    """
    if not path.exists():
        return Synonyms()
    shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig")) or []
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        problems.append(Problem(shown, "", f"cannot be read: {' '.join(str(error).split())}"))
        return Synonyms()
    if not isinstance(content, list):
        problems.append(Problem(shown, "", "must be a list of groups such as '- [BP, blood pressure]'"))
        return Synonyms()
    groups = []
    for number, group in enumerate(content, 1):
        if isinstance(group, list) and len(group) > 1 and all(isinstance(word, str | int) for word in group):
            groups.append([str(word) for word in group])
        else:
            problems.append(
                Problem(shown, f"group {number}", "must hold two or more words, as in '[BP, blood pressure]'")
            )
    return Synonyms.of(groups)


def search_stems(text: str, synonyms: Synonyms) -> list[str]:
    """Return the stems a text is found by: its content words, and a mark for each synonym group it mentions."""
    stopwords = lexicon().stopwords
    words = words_of(text)
    stems = [stem(word) for word in words]
    content = [s for s, word in zip(stems, words, strict=True) if word not in stopwords]
    return content + [f"={number}" for number in synonyms.found_in(stems)]


def content_words(text: str) -> list[str]:
    """Return the words that carry meaning, in order."""
    stopwords = lexicon().stopwords
    return [word for word in words_of(text) if word not in stopwords]


@lru_cache(maxsize=200_000)
def sound_of(word: str) -> str:
    """Return a rough key of how a word sounds, so that "ibuprophen" meets "ibuprofen"."""
    key = word
    for written, heard in _SOUNDS:
        key = key.replace(written, heard)
    key = key[:1] + re.sub(r"[aeiouyhw]", "", key[1:])
    return re.sub(r"(.)\1+", r"\1", key)


_SOUNDS = (("ph", "f"), ("ch", "k"), ("ck", "k"), ("ce", "se"), ("ci", "si"), ("cy", "si"), ("c", "k"), ("q", "k"),
           ("x", "ks"), ("z", "s"), ("kn", "n"), ("pn", "n"))  # fmt: skip


_ENDINGS = (("s", ""), ("es", ""), ("ed", ""), ("ed", "e"), ("ing", ""), ("ing", "e"), ("y", ""), ("ly", ""))


def _may_be_meant(word: str, other: str) -> bool:
    """Say whether a word may be a misspelling of one that sounds alike, and not another word ("lupus" is not "laps").

    Up to one letter in three is wrong; in a short word letters are left out, not wrong.
    """
    if len(word) < 6:
        letters = iter(other)
        return all(letter in letters for letter in word) or OSA.distance(word, other) == 1
    return OSA.distance(word, other) <= len(other) // 3


class Speller:
    """Finds the knowledge's word that a patient probably meant."""

    def __init__(self, known: Iterable[str], *, english: frozenset[str] = frozenset()) -> None:
        """Take the words to correct towards, and further words that are right as they stand."""
        self._known = {word for word in known if word.isalpha()}
        self._stems = {stem(word) for word in self._known}
        self._english = english
        self._by_shape: dict[tuple[str, int], list[str]] = {}  # first letter and length
        self._by_sound: dict[str, list[str]] = {}
        for word in sorted(word for word in self._known if len(word) >= 4):
            self._by_shape.setdefault((word[0], len(word)), []).append(word)
            self._by_sound.setdefault(sound_of(word), []).append(word)
        self.correct = lru_cache(maxsize=4096)(self._correct)

    def _correct(self, word: str) -> str:
        """Return the knowledge's word, or the word itself when it is known or nothing is near enough."""
        if len(word) < 4 or not word.isalpha() or self._is_right(word):
            return word
        sounds = [other for other in self._by_sound.get(sound_of(word), ()) if _may_be_meant(word, other)]
        alike = self._nearest(word, sounds, 3)
        near = None
        if len(word) > 4:
            shapes = [self._by_shape.get((word[0], len(word) + longer), ()) for longer in (-1, 0, 1)]
            near = self._nearest(word, [other for shape in shapes for other in shape], 1)
        if near is None or (alike is not None and alike[0] <= near[0]):
            near = alike
        return word if near is None else near[1]

    @staticmethod
    def _nearest(word: str, others: Sequence[str], most: int) -> tuple[int, str] | None:
        """Return the distance and the nearest of the others, the first in the alphabet among equals."""
        best = process.extractOne(word, others, scorer=OSA.distance, score_cutoff=most)
        return None if best is None else (int(best[1]), str(best[0]))

    def _is_right(self, word: str) -> bool:
        if word in self._known or stem(word) in self._stems or word in lexicon().stopwords:
            return True
        bases = (word, *(word.removesuffix(ending) + rest for ending, rest in _ENDINGS if word.endswith(ending)))
        return any(base in self._english for base in bases)

    def mend(self, text: str) -> str:
        """Return the text with its misspelt words replaced."""

        def replaced(match: re.Match[str]) -> str:
            word = match.group()
            mended = self.correct(fold(word).removesuffix("'s"))
            return word if mended == fold(word).removesuffix("'s") else mended

        return _WORD.sub(replaced, text)
