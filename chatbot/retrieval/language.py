"""Which language a message is written in, where that can be told."""

from collections.abc import Sequence
from functools import lru_cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from chatbot.retrieval.words import words_of

# Languages that are told apart; more of them would only make short messages less sure.
KNOWN = ("en", "es", "fr", "de", "pt", "zh", "vi", "ar", "ru", "ko", "tl", "it", "pl", "ht", "hi", "fa")
SURE = 0.8  # of 709 English acceptance questions one reaches 0.76 for another language, none more
MIN_LETTERS = 4
# Everyday words that stand in no other of these languages: one of them outweighs what rare names look like.
ENGLISH = frozenset((
    "the", "how", "what", "when", "why", "where", "who", "which", "is", "are", "does", "did", "can", "should", "could",
    "would", "with", "have", "your", "and", "for", "this", "that",
))  # fmt: skip


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(list(KNOWN))
    return identifier


def language_of(message: str, *, known: Sequence[str] = KNOWN) -> str | None:
    """Return the code of the language that the message is clearly written in, None when it is not clear.

    Args:
        message: As it was typed; one word is seldom enough.
        known: Codes that may be returned.
    """
    letters = sum(sign.isalpha() for sign in message)
    if letters < MIN_LETTERS and message.isascii():
        return None
    if not ENGLISH.isdisjoint(words_of(message)):
        return "en" if "en" in known else None
    code, certainty = _identifier().rank(message.casefold())[0]
    return str(code) if certainty >= SURE and code in known else None
