"""What a reading of a text consists of: its words that matter, its pieces, its hedges."""

from dataclasses import dataclass

from chatbot.grounding.quantities import Quantity


@dataclass(frozen=True, slots=True)
class Term:
    """One word or amount that says something."""

    key: str  # what it is compared by
    word: str  # as written, for reasons
    quantity: Quantity | None
    sentence: int  # number of its sentence in the text, from 0
    segment: int  # number of its piece between joins, from 0
    group: int  # number of its condition, or -1 in the main clause
    condition: str  # class of that condition, or empty
    negated: bool
    modality: str
    item: int = 0  # number of its list item, from 1; 0 outside lists
    light: bool = False
    fronted: bool = False  # in a phrase before the main clause: "At the first sign, …"
    alternative: bool = False  # an amount in brackets behind the same amount: "100.4 °F (38 °C)"
    clause: int = 0  # number of its clause: a full stop, ";" or ", but" begins a new one
    chunk: int = 0  # number of its phrase: a preposition begins a new one
    preposition: str = ""  # what begins that phrase
    about: bool = False  # an audience after in, for or during: "in adults"

    @property
    def is_audience(self) -> bool:
        """Say whether the word tells who the sentence is about."""
        return self.key.startswith("audience:")


@dataclass(frozen=True, slots=True)
class Hedge:
    """A word such as "usually" or "only", and where it stands."""

    name: str
    segment: int
    before: int  # index of the next term


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece between joins. ``opened_by`` is the join or marker before it."""

    sentence: int
    group: int
    opened_by: str
    narrows: bool = False  # opened by who, with, without: tells which one is meant
    bracketed: bool = False
    clause: int = 0
    item: int = 0
    within: int = -1  # number of the piece whose noun this one narrows, for "and" and "or" after a narrowing too


@dataclass(frozen=True, slots=True)
class Reading:
    """A text read: its terms, pieces and hedges, in order."""

    terms: tuple[Term, ...]
    segments: tuple[Segment, ...]
    hedges: tuple[Hedge, ...]
    has_avoid: bool
    begins_with_pronoun: bool
    points_back: bool  # at something named before: it, one, them
    has_verb: bool
    in_sequence: bool  # says that one step follows another
