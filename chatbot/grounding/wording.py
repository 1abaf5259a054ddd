"""The plain words and cues of ``grounding.yaml``, and text as the tokens that are compared."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import Stemmer
import yaml

_FILE = Path(__file__).with_name("grounding.yaml")
_CONTRACTIONS = (
    (re.compile(r"\bcan't\b|\bcannot\b"), "can not"),
    (re.compile(r"\bwon't\b"), "will not"),
    (re.compile(r"n't\b"), " not"),
    (re.compile(r"\b(it|that|there|what|he|she|here)'s\b"), r"\1 is"),
    (re.compile(r"'s\b|s'(?=\s)"), ""),
    (re.compile(r"'re\b"), " are"),
    (re.compile(r"'ll\b"), " will"),
    (re.compile(r"'ve\b"), " have"),
    (re.compile(r"\ba\.m\."), "am"),
    (re.compile(r"\bp\.m\."), "pm"),
    (re.compile(r"\be\.g\.,?"), "such as"),
    (re.compile(r"\bi\.e\.,?"), ","),
)
_SAME_SIGNS = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": ",", "−": "-", "‑": "-", "º": "°"})
_WORDS = re.compile(
    r"(?P<link>https?://\S+|www\.\S+|\S+@\S+\.\w+|\b[a-z0-9-]+\.(?:com|org|net|gov|edu|info|io)\b\S*)"
    r"|(?P<phone>\+?\d{1,3}(?:[-. ]\d{3}){1,2}[-. ]\d{4}\b|\(\d{3}\) ?\d{3}-\d{4}|\b\d{3}-\d{4}\b)"
    r"|(?P<pair>\b\d{2,3}/\d{1,3}\b)"
    r"|(?P<mixed>\b[^\W\d_][^\W_]*(?:-?\d+[^\W_]*)+)"
    r"|(?P<number>\d+(?:,\d{3})+(?:\.\d+)?|\d+/\d+|\d+(?:\.\d+)?)"
    r"|(?P<unit>°\s?[fc]\b|°|%|mg/dl|mm hg\b)"
    r"|(?P<word>@?[^\W\d_]+)"
    r"|(?P<sign>[.,;:!?()$|-])"
)
_stemmer = Stemmer.Stemmer("english")


@dataclass(frozen=True)
class Wording:
    """Everything of ``grounding.yaml``, ready for looking up. Every word is in small letters."""

    data: Mapping[str, Any]

    @cached_property
    def closed(self) -> frozenset[str]:
        """Words that say nothing of their own."""
        return frozenset(self.data["closed"].split())

    @cached_property
    def neutral(self) -> frozenset[str]:
        """Open-class words too general to change what a sentence says."""
        return frozenset(self.data["neutral"].split())

    @cached_property
    def light_verbs(self) -> frozenset[str]:
        """Verbs that may follow "do not" where the passage says "avoid"."""
        return frozenset(self.data["light_verbs"].split())

    @cached_property
    def imperatives(self) -> frozenset[str]:
        """First words that make a clause an instruction."""
        return frozenset(self.data["imperatives"].split())

    @cached_property
    def verb_stems(self) -> frozenset[str]:
        """Stems of the words one of which every sentence has."""
        return frozenset(stem(word) for word in [*self.data["finite_verbs"].split(), *self.imperatives])

    @cached_property
    def actions(self) -> frozenset[str]:
        """Words that may be the verb of a sentence."""
        return frozenset([*self.data["finite_verbs"].split(), *self.imperatives])

    @cached_property
    def ambiguous(self) -> frozenset[str]:
        """Instruction words that may be a noun or an adjective as well."""
        return frozenset(self.data["ambiguous"])

    @cached_property
    def prepositions(self) -> frozenset[str]:
        """Words that begin a phrase which may stand in another place of its clause."""
        return frozenset(self.data["prepositions"])

    @cached_property
    def pointers(self) -> frozenset[str]:
        """Words that point back at something named before."""
        return frozenset(self.data["pointers"].split())

    @cached_property
    def general(self) -> frozenset[str]:
        """What nouns are compared by that point back at what the passage is about: "the illness"."""
        return frozenset(self.key(word) for word in self.data["general"].split())

    @cached_property
    def of_words(self) -> frozenset[str]:
        """Prepositions that only tie one noun to another: "disease of the lungs"."""
        return frozenset(self.data["of_words"])

    @cached_property
    def sequence(self) -> frozenset[str]:
        """Words that say that one step follows another."""
        return frozenset(self.data["sequence"])

    @cached_property
    def openers(self) -> frozenset[str]:
        """Words that open a phrase in front of the main clause: "In adults, …"."""
        return frozenset(self.data["openers"])

    @cached_property
    def negations(self) -> frozenset[str]:
        """Words after which a clause says the opposite."""
        return frozenset(self.data["negations"])

    @cached_property
    def dangling(self) -> frozenset[str]:
        """Words that no sentence ends with."""
        return frozenset(self.data["dangling"])

    @cached_property
    def ceasing(self) -> frozenset[str]:
        """Words that turn an instruction into its opposite: "stop taking"."""
        return frozenset(self.data["ceasing"])

    @cached_property
    def modalities(self) -> dict[str, str]:
        """Each modal word's class."""
        return _by_word(self.data["modalities"])

    @cached_property
    def hedges(self) -> dict[str, str]:
        """Each narrowing or widening word's class."""
        return _by_word(self.data["hedges"])

    @cached_property
    def conditions(self) -> dict[str, str]:
        """Each condition or time marker's class."""
        return _by_word(self.data["conditions"])

    @cached_property
    def reasons(self) -> dict[str, str]:
        """Each reason marker's class."""
        return _by_word(self.data["reasons"])

    @cached_property
    def relatives(self) -> dict[str, str]:
        """Each marker that narrows the noun before it."""
        return _by_word(self.data["relatives"])

    @cached_property
    def audiences(self) -> dict[str, str]:
        """Each word for whom a sentence is about."""
        return _by_word(self.data["audiences"])

    @cached_property
    def units(self) -> dict[str, str]:
        """Each way to write a unit, and the unit's one name."""
        return _by_word(self.data["units"])

    @cached_property
    def synonyms(self) -> dict[str, str]:
        """Each stem that may be said another way, and the first stem of its line."""
        return {stem(word): f"={stem(line[0])}" for line in self.data["synonyms"] for word in line}

    @cached_property
    def phrases(self) -> dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]]:
        """Each phrase by its first word, longest first, with the words it is read as."""
        found: dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]] = {}
        for phrase, meaning in self.data["phrases"].items():
            words = tuple(str(phrase).split())
            found.setdefault(words[0], []).append((words, tuple((meaning or "").split())))
        return {first: sorted(rows, key=lambda row: -len(row[0])) for first, rows in found.items()}

    def key(self, word: str) -> str:
        """Return what a word is compared by: its audience, its synonyms' common name, or its stem."""
        if word in self.audiences:
            return f"audience:{self.audiences[word]}"
        root = stem(self.data["irregular"].get(word, word))
        return self.synonyms.get(root, root)


def _by_word(groups: Mapping[str, Iterable[str]]) -> dict[str, str]:
    return {word: name for name, words in groups.items() for word in words}


@lru_cache(maxsize=1)
def wording() -> Wording:
    """Return the words of ``grounding.yaml``; the file is part of the program and is read once."""
    return Wording(yaml.safe_load(_FILE.read_text(encoding="utf-8")))


@lru_cache(maxsize=20_000)
def stem(word: str) -> str:
    """Return the word's stem (Snowball English)."""
    return str(_stemmer.stemWord(word))


def raw_words(text: str) -> list[str]:
    """Return a text's words, numbers and signs in small letters, contractions and set phrases opened out.

    Links come out as ``link:…``, telephone numbers as ``phone:…``, readings such as 120/80 as ``pair:…``.
    """
    plain = " ".join(text.translate(_SAME_SIGNS).replace("**", "").casefold().split())
    for pattern, meaning in _CONTRACTIONS:
        plain = pattern.sub(meaning, plain)
    return _with_phrases([_named(match) for match in _WORDS.finditer(plain)])


def _named(match: re.Match[str]) -> str:
    kind, text = str(match.lastgroup), match.group()
    match kind:
        case "link":
            return f"link:{text.rstrip('.,;:!?)')}"
        case "phone":
            return f"phone:{re.sub(r'[^0-9]', '', text)}"
        case "pair":
            return f"pair:{text}"
        case "number":
            return text.replace(",", "")
        case _:
            return text.replace(" ", "")


def _with_phrases(words: list[str]) -> list[str]:
    phrases = wording().phrases
    out: list[str] = []
    place = 0
    while place < len(words):
        for phrase, meaning in phrases.get(words[place], ()):
            if tuple(words[place : place + len(phrase)]) == phrase:
                out += meaning
                place += len(phrase)
                break
        else:
            out.append(words[place])
            place += 1
    return out
