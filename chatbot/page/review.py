"""What a patient is told about who vouches for an answer."""

from datetime import date

from chatbot.page.words import Words, fill
from chatbot.reply import Citation


def review_line(citation: Citation, words: Words, being_reviewed: str, *, today: date | None = None) -> str:
    """Return that no clinician has checked the answer, or who it was and until when, or that this is due again.

    Args:
        citation: The answer's source and review.
        words: The page's words.
        being_reviewed: The clinic's sentence for an answer whose review has run out.
        today: The day; the present one when left out.
    """
    if not citation.reviewed or not citation.due:
        return words.not_reviewed
    if date.fromisoformat(citation.due) < (today or date.today()):
        return being_reviewed
    return fill(words.reviewed, reviewed=citation.reviewed, due=citation.due)
