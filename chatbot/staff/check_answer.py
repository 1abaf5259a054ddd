"""What is wrong with one answer, by itself: its head, its text as it stands in the file, how hard it is to read."""

from collections.abc import Iterator
from datetime import date

from chatbot.errors import Problem
from chatbot.knowledge import PLACEHOLDER, Answer, Clinic
from chatbot.staff.check_text import line_problems, number_problems, safety_problems
from chatbot.staff.readability import MAX_PARAGRAPH_SENTENCES, MAX_SENTENCE_WORDS, Reading
from chatbot.text import lead_paragraph

QUOTED = 70


def text_problems(text: str, clinic: Clinic | None, shown: str) -> Iterator[Problem]:
    """Yield what must not stand in an answer's text. ``text`` is Markdown before placeholders are filled in."""
    yield from number_problems(text, clinic, shown, "text")
    yield from safety_problems(text, shown, "text")


def answer_problems(answer: Answer, today: date) -> Iterator[Problem]:
    """Yield what is wrong with the answer's head and its shape; ``today`` is the day dates are judged by."""
    path = f"answers/{answer.id}.md"
    for field, line in (("title", answer.title), *(("questions", question) for question in answer.questions)):
        yield from line_problems(line, path, field)
        if PLACEHOLDER.search(line):
            yield Problem(path, field, f"holds a placeholder in {line[:QUOTED]!r}; it is filled in below the head only")
    if not lead_paragraph(answer.text):
        yield Problem(path, "text", "has no opening paragraph; start with two or three plain sentences")
    for source in answer.sources:
        yield from line_problems(f"{source.title} {source.publisher}", path, "sources")
        if source.checked is not None and source.checked > today:
            yield Problem(path, "sources.checked", f"is {source.checked}, a day to come; write the day it was compared")
        if source.url.scheme not in ("http", "https"):
            yield Problem(path, "sources.url", "must begin with https://")
    if answer.id in answer.see_also:
        yield Problem(path, "see_also", "names this answer itself; take it out")
    review = answer.review
    if review.reviewed is not None and review.reviewed > today:
        yield Problem(path, "review.reviewed", f"is {review.reviewed}, a day to come; write the day it was reviewed")
    if review.reviewed is not None and review.due is not None and review.due <= review.reviewed:
        yield Problem(path, "review.due", f"is {review.due}, not after the review on {review.reviewed}")


def reading_problems(answer: Answer, reading: Reading, max_grade: float) -> Iterator[Problem]:
    """Yield a warning for everything that makes the answer hard to read."""
    path = f"answers/{answer.id}.md"
    if reading.grade > max_grade:
        message = (
            f"asks for reading grade {reading.grade:.1f}; aim at {max_grade:g} or less with shorter sentences and words"
        )
        yield Problem(path, "reading", message, "warning")
    for sentence in reading.long_sentences:
        message = f"has a sentence of more than {MAX_SENTENCE_WORDS} words; split it: {sentence[:QUOTED]!r}"
        yield Problem(path, "reading", message, "warning")
    for paragraph in reading.long_paragraphs:
        message = f"has a paragraph of more than {MAX_PARAGRAPH_SENTENCES} sentences; split it: {paragraph[:QUOTED]!r}"
        yield Problem(path, "reading", message, "warning")
