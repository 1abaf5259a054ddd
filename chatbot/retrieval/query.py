"""What a patient is asking: the question inside a long message, and what a follow-up leans on. No model."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from chatbot.reply import Turn
from chatbot.retrieval.words import content_words, expand_short_forms, fold, lexicon, stem, words_of

Leaning = Literal["no", "perhaps", "yes"]
SHORT_WORDS = 14  # a message of so few words is searched as it stands
MAX_CLAUSES = 10
LONGEST_FURTHER = 7  # words of a message such as "and what about my son?"
LONGEST_SHORT = 40  # words kept of a long one
_SENTENCE = re.compile(r"[^.!?\n;]+[.!?\n;]*")
_BREAK = re.compile(
    r",\s+|\s+-+\s+|\s+(?=(?:but|so|because|and i|and my|and is|and how|and what|wondering|how (?:do|can|long|often"
    r"|much|soon|to)|what (?:is|are|should|can|do)|should i|can i|is it|is there|are there|do i"
    r"|when (?:do|should|can))\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for one message."""

    text: str  # the whole message, short forms written out and misspelt words mended
    short: str  # the question found in it; the same as ``text`` for a short message
    earlier: str = ""  # the earlier question it leans on, or may lean on
    clauses: tuple[str, ...] = ()  # the parts of a long message, each searched too
    leaning: Leaning = "no"

    @property
    def whole(self) -> str:
        """The whole message; one that leans on an earlier question gets that one's subject."""
        return with_subject(self.short, self.earlier) if self.earlier else self.text

    @property
    def asked(self) -> str:
        """The question alone; one that leans on an earlier question gets that one's subject."""
        return self.whole if self.earlier else self.short

    @property
    def views(self) -> tuple[str, ...]:
        """The texts to search with, each once: the whole message, the question in it, its clauses."""
        return tuple(dict.fromkeys((self.whole, self.asked, *self.clauses)))


@dataclass(frozen=True, slots=True)
class _Clause:
    text: str
    place: int
    asks: float  # how much it looks like a question
    mass: float  # how much it says, by the rarity of its words


def understand(
    message: str, history: Sequence[Turn], *, weight: Callable[[str], float], mend: Callable[[str], str]
) -> Query:
    """Return what to search for.

    Args:
        message: The patient's words, cleaned.
        history: Earlier turns, oldest first; used only when the message cannot stand alone.
        weight: How telling a stem is (its inverse document frequency), 0 or more.
        mend: Returns a text with its misspelt words replaced.
    """
    text = mend(expand_short_forms(message))
    short = shorten(text, weight)
    clauses = tuple(_clauses(text)[:MAX_CLAUSES]) if len(text.split()) > SHORT_WORDS else ()
    leaning = leans_on_history(text)
    earlier = "" if leaning == "no" else _earlier_question(history, weight=weight, mend=mend)
    return Query(text, short, earlier, clauses, leaning if earlier else "no")


def shorten(text: str, weight: Callable[[str], float]) -> str:
    """Return the question inside a message, at most about 40 words; a short message comes back without its opening."""
    if len(text.split()) <= SHORT_WORDS:
        return without_lead_in(text) or text
    clauses = [_scored(clause, place, weight) for place, clause in enumerate(_clauses(text))]
    clauses = [clause for clause in clauses if clause.mass > 0]
    if not clauses:
        return text
    best = max(clauses, key=lambda clause: (clause.asks + 0.25 * min(clause.mass, 12.0), -clause.place))
    chosen = [best]
    if best.mass < _enough_mass(clauses):
        rest = [clause for clause in clauses if clause is not best]
        chosen += sorted(rest, key=lambda clause: (-clause.mass, clause.place))[:1]
    words: list[str] = []
    for clause in sorted(chosen, key=lambda clause: clause.place):
        words += without_lead_in(clause.text).split()
    return " ".join(words[:LONGEST_SHORT]) or text


def _enough_mass(clauses: Sequence[_Clause]) -> float:
    return 0.6 * max(clause.mass for clause in clauses)


def _clauses(text: str) -> list[str]:
    clauses = []
    for sentence in _SENTENCE.findall(text):
        if len(sentence.split()) <= 16:
            clauses.append(sentence.strip())
            continue
        pieces = [piece.strip() for piece in _BREAK.split(sentence) if piece and piece.strip()]
        merged: list[str] = []
        for piece in pieces:
            if merged and len(merged[-1].split()) < 4:
                merged[-1] = f"{merged[-1]} {piece}"
            else:
                merged.append(piece)
        clauses += merged
    return [clause for clause in clauses if clause]


def _scored(clause: str, place: int, weight: Callable[[str], float]) -> _Clause:
    words = lexicon()
    opened = without_lead_in(clause)
    folded = f" {' '.join(words_of(opened))} "
    asks = 0.0
    if clause.rstrip().endswith("?"):
        asks += 2.0
    if any(folded.startswith(f" {cue} ") for cue in words.question_cues):
        asks += 1.5
    elif any(f" {cue} " in folded for cue in words.question_cues):
        asks += 0.7
    if opened != clause:
        asks += 0.5
    if any(f" {phrase} " in f" {' '.join(words_of(clause))} " for phrase in words.chatter):
        asks -= 2.0
    mass = sum(weight(s) for s in dict.fromkeys(stem(word) for word in content_words(opened)))
    return _Clause(clause, place, asks, mass)


def without_lead_in(text: str) -> str:
    """Return the text without openings that say nothing ("Hi, I was wondering…"), at most three of them."""
    for _ in range(3):
        folded = fold(text)
        opening = next((o for o in _openings() if re.match(rf"{re.escape(o)}\b[\s,:.!-]*", folded)), None)
        if opening is None:
            break
        match = re.match(rf"{re.escape(opening)}\b[\s,:.!-]*", folded)
        rest = text[match.end() :] if match else text
        if not rest.strip():
            break
        text = rest
    return text.strip()


def _openings() -> list[str]:
    return sorted(lexicon().lead_ins, key=len, reverse=True)


def leans_on_history(text: str) -> Leaning:
    """Say whether a message can be understood alone.

    It cannot when it names no subject, or opens as a further question does; a very short one that names something
    ("what can I eat?", "does it cause fever?") may be a question of its own or one about what came before.
    """
    words = words_of(text)
    if not words or len(words) > SHORT_WORDS:
        return "no"
    known = lexicon()
    subject = subject_of(text)
    folded = f"{' '.join(words)} "
    opens = any(folded.startswith(f"{opening} ") for opening in known.follow_up_openings)
    points = any(word in known.pronouns for word in words)
    if len(words) <= LONGEST_FURTHER and any(folded.startswith(f"{opening} ") for opening in known.further_openings):
        return "yes"
    if not subject and (opens or points or len(words) <= 6):
        return "yes"
    return "perhaps" if len(words) <= LONGEST_FURTHER else "no"


def with_subject(text: str, earlier: str) -> str:
    """Return "how is it treated?" after "What are the symptoms of the flu?" as "how is flu treated?"."""
    subject = " ".join(subject_of(earlier)) or earlier
    filled, n = re.subn(
        r"\b(?:it|they|this|that|them|those|these)\b", lambda _: subject, text, count=1, flags=re.IGNORECASE
    )
    return filled if n else f"{text} {subject}"


def subject_of(text: str) -> list[str]:
    """Return the words that say what a message is about, leaving out those that fit any subject ("how long")."""
    known = lexicon()
    return [word for word in content_words(text) if word not in known.general and word not in known.pronouns]


def _earlier_question(history: Sequence[Turn], *, weight: Callable[[str], float], mend: Callable[[str], str]) -> str:
    """Return the patient's last question that stood alone, shortened; empty when there is none."""
    for turn in reversed(history):
        if turn.role == "user":
            text = mend(expand_short_forms(turn.text))
            if leans_on_history(text) != "yes":
                return shorten(text, weight)
    return ""
