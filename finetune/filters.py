"""What of a teacher's text is kept: plain checks in a fixed order, each naming why it refuses."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz

from chatbot.grounding.checker import MARK
from chatbot.grounding.sentence_stream import split_stream
from finetune.rows import Row
from finetune.scoring import Checker, is_abstention

GRAM = 13  # words; so long a run in common with a held-back answer is a leak
_WORD = re.compile(r"[a-z0-9']+")
_LIST_MARK = re.compile(r"^\s*(?:\d{1,2}[.):]|[-*•])\s*")
_LATIN = re.compile(r"[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a text is kept; ``refused`` names the first filter that refused it."""

    refused: str = ""
    detail: str = ""

    @property
    def kept(self) -> bool:
        """Say whether every filter let it pass."""
        return not self.refused


def questions_in(text: str) -> list[str]:
    """Return the questions of a teacher's list: a line each, without numbers, bullets and quotation marks."""
    lines = (_LIST_MARK.sub("", line).strip().strip("\"'“”") for line in text.splitlines())
    return [line for line in lines if line]


def question_form(question: str) -> Verdict:
    """Refuse what is no question that a patient might type."""
    words = question.split()
    if not question.endswith("?") and len(words) > 12:
        return Verdict("form", "not a question")
    if not 3 <= len(words) <= 30 or len(_LATIN.findall(question)) < 0.6 * len(question.replace(" ", "")):
        return Verdict("form", "too short, too long, or not words")
    if re.search(r"\b(?:passage|text|according to|article|document)\b", question, re.IGNORECASE):
        return Verdict("form", "speaks of the passage")
    return Verdict()


def reply_form(text: str) -> Verdict:
    """Refuse what is not one to four plain sentences."""
    if not text or "<|" in text or "```" in text or "#" in text:
        return Verdict("form", "empty or marked up")
    count = sum(1 for _ in split_stream([text]))
    return Verdict() if 1 <= count <= 4 else Verdict("form", f"{count} sentences")


def reply_length(text: str, *, max_words: int) -> Verdict:
    """Refuse what is longer than a reply may be, or no sentence at all."""
    words = len(MARK.sub("", text).split())
    return Verdict() if 4 <= words <= max_words else Verdict("length", f"{words} words")


def reply_citations(row: Row, text: str) -> Verdict:
    """Refuse a sentence without a mark, or one that cites a passage that is not right."""
    right = {number for number, passage in enumerate(row.passages, 1) if passage.answer_id in row.right}
    for sentence in split_stream([text]):
        cited = {int(number) for number in MARK.findall(sentence)}
        if not cited or not cited <= right:
            return Verdict("citations", sentence[:80])
    return Verdict()


def reply_grounding(row: Row, text: str, checker: Checker) -> Verdict:
    """Refuse a reply of which the check that guards patients would drop a sentence."""
    for sentence in split_stream([text]):
        verdict = checker.check(sentence, row.passages)
        if not verdict.grounded:
            return Verdict("grounding", "; ".join(verdict.reasons)[:120])
    return Verdict()


def needless(text: str, without_passages: str, *, alike: int = 85) -> Verdict:
    """Refuse a reply that the teacher gives without the passages too: it teaches answering from memory."""
    if fuzz.token_set_ratio(MARK.sub("", text), MARK.sub("", without_passages)) >= alike:
        return Verdict("needless", "the same without the passages")
    return Verdict()


def leak(text: str, held_back: frozenset[tuple[str, ...]]) -> Verdict:
    """Refuse a text that shares a long run of words with a held-back answer or question."""
    shared = grams([text]) & held_back
    return Verdict("leak", " ".join(next(iter(shared)))) if shared else Verdict()


def grams(texts: Iterable[str]) -> frozenset[tuple[str, ...]]:
    """Return every run of ``GRAM`` words of the texts; a shorter text counts whole."""
    found = set()
    for text in texts:
        words = _WORD.findall(text.casefold())
        found |= {tuple(words[at : at + GRAM]) for at in range(max(1, len(words) - GRAM + 1))}
    return frozenset(found)


def reply_verdict(
    row: Row, text: str, *, checker: Checker, max_words: int, held_back: frozenset[tuple[str, ...]]
) -> Verdict:
    """Return the first refusal of a reply, or a pass: form, length, citations, grounding, leak."""
    if is_abstention(text):
        return Verdict("form", "abstains although a passage answers")
    checks: tuple[Callable[[], Verdict], ...] = (
        lambda: reply_form(text),
        lambda: reply_length(text, max_words=max_words),
        lambda: reply_citations(row, text),
        lambda: reply_grounding(row, text, checker),
        lambda: leak(text, held_back),
    )
    return next((verdict for check in checks if not (verdict := check()).kept), Verdict())


def tally(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Return how many each filter removed, and how many are left as ``kept``."""
    counts: dict[str, int] = {}
    for verdict in verdicts:
        name = verdict.refused or "kept"
        counts[name] = counts.get(name, 0) + 1
    return counts
