"""Finds answers in a language that the embedder and the English word lists do not know: by their words alone.

A translation has few answers, and nothing is calibrated on them, so the rule is plain and careful: an answer is given
when one of its questions, or its title, holds nearly all that the message says; when it holds about half, it is offered.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import Stemmer

from chatbot.knowledge import Answer
from chatbot.reply import Turn
from chatbot.retrieval.retriever import Decision, Hit

SNOWBALL = {"es": "spanish", "fr": "french", "de": "german", "pt": "portuguese", "it": "italian", "ru": "russian"}
ANSWERED = 0.7  # share of what the message says, weighted by how telling each word is
OFFERED = 0.4
CLEAR_OF_NEXT = 0.12
MAX_OFFERED = 3
SHOWN_HITS = 10
BODY_SHARE = 0.75  # a word that stands in the text alone counts so much of one that stands in a question
ASKED_SHARE = 0.5  # of the message that one question or the title must hold, for an answer at once
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class _Entry:
    answer_id: str
    asked: tuple[frozenset[str], ...]  # the stems of each question and of the title
    body: frozenset[str]


class WordRetriever:
    """Searches one language's answers (a Retriever, see ``pipeline``). Safe to share between threads."""

    def __init__(self, answers: Mapping[str, Answer], language: str) -> None:
        self._stemmer_name = SNOWBALL.get(language)
        self._entries = [
            _Entry(
                answer.id,
                tuple(frozenset(self._stems(text)) for text in (*answer.questions, answer.title)),
                frozenset(self._stems(answer.plain)),
            )
            for answer in answers.values()
        ]
        n_with = Counter(stem for entry in self._entries for stem in entry.body.union(*entry.asked))
        self._weights = {stem: self._weight(n) for stem, n in n_with.items()}

    def decide(self, question: str, history: Sequence[Turn] = ()) -> Decision:
        """Return what this turn's evidence allows; earlier turns count for nothing."""
        said = self._stems(question)
        hits = self._hits(said)
        best = hits[0].score if hits else 0.0
        margin = best - hits[1].score if len(hits) > 1 else best
        shown = tuple(hits[:SHOWN_HITS])
        if best >= ANSWERED and margin >= CLEAR_OF_NEXT and self._asked_share(hits[0].answer_id, said) >= ASKED_SHARE:
            top = (hits[0].answer_id,)
            return Decision("answered", top, top, shown, margin, best, ANSWERED, OFFERED)
        offered = tuple(hit.answer_id for hit in hits[:MAX_OFFERED] if hit.score >= max(OFFERED, best - 0.3))
        if offered:
            return Decision("did_you_mean", offered, (), shown, margin, best, ANSWERED, OFFERED)
        return Decision("no_answer", (), (), shown, margin, best, ANSWERED, OFFERED)

    def _hits(self, said: Sequence[str]) -> list[Hit]:
        scored = sorted(
            ((self._score(entry, said), entry.answer_id) for entry in self._entries), key=lambda one: -one[0]
        )
        return [Hit(id_, round(score, 4), rank) for rank, (score, id_) in enumerate(scored, 1) if score > 0]

    def _score(self, entry: _Entry, said: Sequence[str]) -> float:
        """Return the share of the message that the answer speaks of, in [0, 1]."""
        return max(self._share(said, asked, entry.body) for asked in entry.asked)

    def _asked_share(self, answer_id: str, said: Sequence[str]) -> float:
        """Return the share of the message that one of the answer's questions holds."""
        entry = next(one for one in self._entries if one.answer_id == answer_id)
        return max(self._share(said, asked, frozenset()) for asked in entry.asked)

    def _share(self, said: Sequence[str], asked: frozenset[str], body: frozenset[str]) -> float:
        whole = sum(self._weights.get(stem, self._weight(0)) for stem in said)
        held = sum(
            self._weights[stem] * (1 if stem in asked else BODY_SHARE) for stem in said if stem in asked or stem in body
        )
        return held / whole if whole else 0.0

    def _weight(self, n_with: int) -> float:
        """Return how telling a word is that so many answers hold; one that most of them hold says nothing."""
        return max(math.log((len(self._entries) + 1) / (n_with + 0.5)), 0.0)

    def _stems(self, text: str) -> list[str]:
        plain = unicodedata.normalize("NFKD", text.casefold())
        words = _WORD.findall("".join(sign for sign in plain if not unicodedata.combining(sign)))
        # A stemmer is not safe to share between threads; making one costs microseconds.
        return list(
            dict.fromkeys(Stemmer.Stemmer(self._stemmer_name).stemWords(words) if self._stemmer_name else words)
        )
