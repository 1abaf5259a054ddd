"""Checks each generated sentence against the passage it cites, before anybody reads it.

The checks run in this order, and each says in words why a sentence is refused:

1. it cites a passage that exists;   2. it is one whole declarative sentence;   3. word for word in the passage: shown;
4. it does not soothe;   5. one statement of the passage (``grounding/support.py``) carries it: every amount with its unit,
comparison and rate, every word that is not a neutral one, negation, modality, audience, order, conditions;
6. meaning: its embedding is close to that statement's.

A wrongly dropped sentence costs little, because the vetted text is on the page already. So every doubt drops.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from chatbot.embedder import Embedder, Vectors
from chatbot.grounding.clauses import read
from chatbot.grounding.rewording import joined_parts, other_forms, put_together
from chatbot.grounding.sentence_stream import split_stream as split_stream
from chatbot.grounding.statements import Statement, Vetted, is_sentence, plain_form, vetted
from chatbot.grounding.support import objections
from chatbot.grounding.terms import Reading
from chatbot.grounding.wording import raw_words, wording
from chatbot.prompting import ABSTENTION, Passage
from chatbot.text import split_sentences

MARK = re.compile(r"\s*\[(\d{1,3})\]")
MIN_SIMILARITY = 0.45  # cosine of sentence and statement: only a floor, see tests/measurements/grounding.md
MAX_WORDS = 60
_NOT_PROSE = re.compile(r"[{}<>|#\[\]=\\^~`]|\b(?:passage|question|answer) ?\d*:|https?:", re.IGNORECASE)

Similarity = Callable[[str, str], float]


@dataclass(frozen=True, slots=True)
class SentenceVerdict:
    """Whether a sentence may be shown, and if not, why."""

    grounded: bool
    text: str  # the sentence as shown: without its [n] mark
    citation: str | None = None  # the answer id it rests on
    reasons: tuple[str, ...] = ()  # e.g. ("number: 39 °C is not in the passage",)
    support: tuple[str, ...] = ()  # the vetted statements that carry it


def check_sentence(
    sentence: str, passages: Sequence[Passage], similarity: Similarity | None = None, *, find_citation: bool = False
) -> SentenceVerdict:
    """Return whether the sentence says nothing that a passage it cites does not.

    Args:
        sentence: One sentence with its [n] mark, before or after the full stop.
        passages: What the model was given, in the order of their numbers.
        similarity: Cosine of two texts' meaning; without it the meaning step is left to words alone.
        find_citation: Check a sentence without any mark against every passage and cite the one that carries it,
            for models that were not trained to set marks. A wrong mark is refused all the same.
    """
    text = " ".join(MARK.sub("", sentence).replace("**", "").split())
    text = re.sub(r"\s+([.!?,;])", r"\1", text)
    cited = [int(number) for number in MARK.findall(sentence)]
    if not cited and find_citation:
        cited = list(range(1, len(passages) + 1))
    if reason := _not_citing(cited, len(passages)) or _not_a_sentence(text):
        return SentenceVerdict(False, text, None, (reason,))
    verdicts = [_check_against(text, passages[number - 1], similarity) for number in dict.fromkeys(cited)]
    return next((verdict for verdict in verdicts if verdict.grounded), verdicts[0])


class GroundingChecker:
    """Decides whether a generated sentence may be shown (a Checker, see pipeline)."""

    def __init__(self, embedder: Embedder | None, *, find_citation: bool = False) -> None:
        self._find_citation = find_citation
        self._similarity = _similarity_of(embedder) if embedder is not None else None

    def check(self, sentence: str, passages: Sequence[Passage]) -> SentenceVerdict:
        """Return whether the sentence says nothing that its cited passage does not."""
        return check_sentence(sentence, passages, self._similarity, find_citation=self._find_citation)


def _similarity_of(embedder: Embedder) -> Similarity:
    @lru_cache(maxsize=4096)
    def vector(text: str) -> Vectors:
        row: Vectors = embedder.encode([text])[0]
        return row

    return lambda one, other: float(vector(one) @ vector(other))


def _not_citing(cited: Sequence[int], n_passages: int) -> str:
    if not cited:
        return "citation: names no passage"
    wrong = [number for number in cited if not 1 <= number <= n_passages]
    return f"citation: there is no passage {wrong[0]}" if wrong else ""


def _not_a_sentence(text: str) -> str:
    if plain_form(ABSTENTION) in plain_form(text):
        return "sentence: says that the passages do not answer"
    if not text.endswith((".", "!")):
        return "sentence: is not finished" if not text.endswith("?") else "sentence: is a question"
    if _NOT_PROSE.search(text) or len(text.split()) > MAX_WORDS:
        return "sentence: is not plain prose"
    if len(split_sentences(text)) > 1:
        return "sentence: is more than one"
    if text.rstrip(".! ").rpartition(" ")[2].casefold() in wording().dangling or text.count("(") != text.count(")"):
        return "sentence: is not finished"
    return ""


def _check_against(text: str, passage: Passage, similarity: Similarity | None) -> SentenceVerdict:
    known = vetted(passage.title, passage.text)
    if plain_form(text) in known.verbatim:
        return SentenceVerdict(True, text, passage.answer_id, support=(text,))
    if not is_sentence(text):
        return SentenceVerdict(False, text, passage.answer_id, ("sentence: is not a whole one",))
    if reason := _soothes(text, known):
        return SentenceVerdict(False, text, passage.answer_id, (reason,))
    carried_by, reasons = _carriers(text, known)
    if not carried_by:
        return SentenceVerdict(False, text, passage.answer_id, reasons)
    if read(text).begins_with_pronoun and not read(carried_by[0].text).begins_with_pronoun:
        return SentenceVerdict(False, text, passage.answer_id, ("meaning: does not say what it speaks of",))
    support = " ".join(statement.text for statement in carried_by)
    if similarity is not None and (cosine := similarity(text, support)) < MIN_SIMILARITY:
        return SentenceVerdict(False, text, passage.answer_id, (f"meaning: only {cosine:.2f} like the passage",))
    return SentenceVerdict(True, text, passage.answer_id, support=tuple(one.text for one in carried_by))


def _carriers(text: str, known: Vetted) -> tuple[tuple[Statement, ...], tuple[str, ...]]:
    """Return the statements that carry a sentence between them, or why the closest one does not."""
    whole, reasons = _carrier(read(text), known)
    if whole is not None:
        return (whole,), ()
    for variant in other_forms(text):
        if (other := _carrier(read(variant), known)[0]) is not None:
            return (other,), ()
    return _carriers_of_parts(joined_parts(text), known), reasons


def _carriers_of_parts(parts: Sequence[str], known: Vetted) -> tuple[Statement, ...]:
    """Return the statements that carry the pieces, neighbours taken together where needed; empty if some fail."""
    if len(parts) < 2:
        return ()
    reached: dict[int, tuple[Statement, ...]] = {0: ()}
    for start in range(len(parts)):
        for end in range(start + 1, len(parts) + 1) if start in reached else ():
            if end not in reached and (end - start) < len(parts):
                piece = read(put_together(parts[start:end]))
                carrier = _carrier(piece, known)[0]
                if carrier is None or carrier in reached[start]:  # the same one: the whole would have passed
                    continue
                if not piece.points_back or _means(carrier, piece, "".join(parts[:start])):
                    reached[end] = (*reached[start], carrier)
    return reached.get(len(parts), ())


def _means(carrier: Statement, piece: Reading, before: str) -> bool:
    """Say whether "it" or "them" of a piece stands for what its statement names and the pieces before it name too."""
    named = {term.key for term in read(carrier.text).terms} - {term.key for term in piece.terms}
    return bool(named & {term.key for term in read(before).terms})


def _carrier(claim: Reading, known: Vetted) -> tuple[Statement | None, tuple[str, ...]]:
    """Return the first statement that carries the claim, or the objections of the one that comes closest."""
    keys = {term.key for term in claim.terms}
    closest: tuple[str, ...] = ("meaning: no sentence of the passage says that",)
    fewest = len(claim.terms) + 100
    for statement in known.statements:
        if not keys & {term.key for term in read(statement.text).terms}:
            continue
        found = objections(claim, statement)
        if not found:
            return statement, ()
        if len(found) < fewest:
            closest, fewest = found, len(found)
    return None, closest


def _soothes(text: str, known: Vetted) -> str:
    said = f" {' '.join(raw_words(text))} "
    vetted_words = f" {' '.join(raw_words(known.everything))} "
    for phrase in wording().data["reassurances"]:
        plain = f" {' '.join(raw_words(phrase))} "
        if plain in said and plain not in vetted_words:
            return f"reassurance: the passage does not say {phrase!r}"
    return ""
