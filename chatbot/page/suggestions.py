"""Vetted questions that fit what is being typed: by words and beginnings of words, no model."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from chatbot.knowledge import Answer
from chatbot.page.words import Words

MAX_SHOWN = 5
MIN_TYPED = 3
N_PLAIN = 3  # an answer's first questions are in plain words; those after them are as patients write
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class _Asked:
    words: tuple[str, ...]
    question: str
    answer_id: str
    is_plain: bool


class Suggestions:
    """The questions of the answers, ready to be looked through at every key. Never changes."""

    def __init__(self, answers: Mapping[str, Answer], words: Words) -> None:
        self._little = frozenset(words_of(words.little_words))
        asked: list[_Asked] = []
        by_word: dict[str, list[int]] = {}
        for answer in answers.values():
            for place, question in enumerate(answer.questions):
                spelled = tuple(words_of(question))
                for word in set(spelled):
                    by_word.setdefault(word, []).append(len(asked))
                asked.append(_Asked(spelled, question, answer.id, place < N_PLAIN))
        self._asked = asked
        self._by_word = by_word

    def matching(self, typed: str) -> list[str]:
        """Return the questions, best first, at most one an answer, that hold every word typed.

        The last word may be unfinished. Words such as "the" count only while nothing else has been typed.
        """
        words = words_of(typed)
        telling = [word for word in words if word not in self._little or word == words[-1]]
        if sum(map(len, telling)) < MIN_TYPED:
            return []
        begun = telling[-1] if not typed[-1:].isspace() else None
        found: set[int] | None = None
        for word in telling:
            places = set(self._by_word.get(word, ()))
            if word is begun:
                places = {n for known, at in self._by_word.items() if known.startswith(word) for n in at}
            found = places if found is None else found & places
        best: dict[str, _Asked] = {}
        for asked in sorted((self._asked[n] for n in found or ()), key=lambda one: self._rank(one, words)):
            best.setdefault(asked.answer_id, asked)
        return [asked.question for asked in list(best.values())[:MAX_SHOWN]]

    @staticmethod
    def _rank(asked: _Asked, typed: list[str]) -> tuple[bool, bool, int]:
        """Order: questions that begin as the typed one does, then those in plain words, then the shorter ones."""
        return (asked.words[: len(typed) - 1] != tuple(typed[:-1]), not asked.is_plain, len(asked.words))


def words_of(text: str) -> list[str]:
    """Return the words in small letters without accents."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return _WORD.findall("".join(sign for sign in plain if not unicodedata.combining(sign)))


def suggestions_html(questions: list[str], words: Words) -> str:
    """Return the questions as buttons in a named group; empty for none."""
    if not questions:
        return ""
    rows = "".join(
        f'<li><button type="button" class="suggestion" data-do="ask" data-ask="{escape(question)}">{escape(question)}'
        "</button></li>"
        for question in questions
    )
    return f'<div role="group" aria-label="{escape(words.suggestions)}"><p>{escape(words.suggestions)}</p><ul>{rows}</ul></div>'
