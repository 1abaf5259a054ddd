"""A sentence as the words that matter, each with what governs it: negation, modality, condition, place.

This is a shallow reading with a fixed set of cues, not grammar. Both texts of a comparison are read the same
way, so that a slip of the reading mostly shows as a difference, and a difference means that a sentence is dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from chatbot.grounding.quantities import Quantity, read_quantities
from chatbot.grounding.terms import Hedge, Reading, Segment, Term
from chatbot.grounding.wording import Wording, raw_words, stem, wording

_STOPS = (".", "!", "?", ";")
JOINS = ("and", "or", "nor", "but", ",", "(", ")", ":", "then")
_WHOLE_CLAUSES = ("most", "many", "some")  # after ", and" they begin a clause
_SUBJECTS = ("you", "it", "they", "we", "he", "she", "i", "your", "this", "these", "there")


@lru_cache(maxsize=8192)
def read(text: str) -> Reading:
    """Return the reading of one or a few sentences; ``|`` begins an item of the list that a lead-in opens."""
    return _Reader(read_quantities(raw_words(text)), wording()).read()


@dataclass
class _State:
    """What governs the next word."""

    sentence: int = 0
    group: int = -1
    condition: str = ""
    fronted: bool = False
    negated: bool = False
    subject_negated: bool = False
    modality: str = ""
    instruction: bool = False
    at_clause_start: bool = True
    bracketed: bool = False
    denied_list: bool = False  # inside "do not eat, drink or smoke"


class _Reader:
    def __init__(self, parts: Sequence[str | Quantity], known: Wording) -> None:
        self.parts = list(parts)
        self.known = known
        self.state = _State()
        self.terms: list[Term] = []
        self.segments: list[Segment] = [Segment(0, -1, "")]
        self.hedges: list[Hedge] = []
        self.groups = 0
        self.fronted_ends = -1
        self.item = 0
        self.in_alternative = False
        self.clause = 0
        self.chunk = 0
        self.preposition = ""
        self.breaks = {*JOINS, *_STOPS, *known.conditions, *known.reasons, *known.relatives, "that"}
        self.lead_state = _State()

    def read(self) -> Reading:
        while self._at(0) in ("no", "yes") and self._at(1) == ",":
            del self.parts[:2]
        if self._at(0) in self.known.openers:
            self.state.fronted, self.fronted_ends = True, self._end_of_fronted(0)
        for place, part in enumerate(self.parts):
            if isinstance(part, Quantity):
                self._add(str(part), f"quantity:{part}", part)
            else:
                self._take(part, place)
        known, words = self.known, [part for part in self.parts if isinstance(part, str)]
        self._mark_empty_conditions()
        return Reading(
            terms=tuple(self.terms),
            segments=tuple(self.segments),
            hedges=tuple(self.hedges),
            has_avoid=any(word in ("avoid", "avoids", "avoiding") for word in words),
            begins_with_pronoun=bool(words)
            and words[0] in ("it", "they", "this", "these", "those", "that", "he", "she"),
            points_back=any(word in known.pointers for word in words) or self._ends_with_one(),
            has_verb=self._has_verb(words),
            in_sequence=any(self._is_step(place) for place in range(len(self.parts))),
        )

    def _mark_empty_conditions(self) -> None:
        """Note conditions without a word of their own, such as "if you can", as hedges."""
        full = {term.group for term in self.terms}
        for number, segment in enumerate(self.segments):
            if segment.group >= 0 and segment.group not in full and segment.opened_by in self.known.conditions:
                before = next((n for n, term in enumerate(self.terms) if term.segment > number), len(self.terms))
                self.hedges.append(Hedge(f"empty {self.known.conditions[segment.opened_by]}", number, before))

    def _take(self, word: str, place: int) -> None:
        known, state = self.known, self.state
        if word in _STOPS:
            self.state = _State(sentence=state.sentence + 1)
            self.clause += 1
            self._open(word)
        elif word == "|":
            self._next_item()
        elif word in JOINS:
            self._join(word, place)
        elif (condition := known.conditions.get(word)) and not self._is_after_amount(place):
            self._condition(condition, word, place)
        elif word == "so" and self._at(place - 1) == "," and self._at(place + 1) != "that":
            self.clause += 1  # what follows from the clause before stands on its own
            self.state = _State(sentence=state.sentence, bracketed=state.bracketed)
            self._open(",")
        elif word in known.reasons or (word == "since" and self._at(place - 1) == ","):
            self.groups += 1
            self._govern(self.groups, "because")
            self._open(word)
        elif word in known.relatives:
            if word not in ("with", "without"):
                state.modality, state.negated, state.subject_negated = "", False, False
            elif word == "without":
                state.negated = True
            # ", with its number on the card" only adds; "people with asthma" tells which people
            self._open(word, narrows=self._at(place - 1) != ",")
            self.preposition = word
            if word == "without":
                self._hedge(word)
        elif word in known.negations or (word in known.ceasing and self._orders(place)):
            self._negate(word, place)
        elif word in known.modalities:
            self._modal(known.modalities[word], place)
        elif word in known.hedges:
            self._hedge(known.hedges[word])
        else:
            self._word(word, place)

    def _next_item(self) -> None:
        """Begin a list item, governed by what its lead-in ends with and by nothing of the item before."""
        if self.item == 0:
            self.lead_state = replace(self.state)
        self.item += 1
        self.state = replace(self.lead_state)
        self._open("or" if self.state.group >= 0 else "and")

    def _word(self, word: str, place: int) -> None:
        known, state = self.known, self.state
        if state.at_clause_start and word in known.imperatives and not self._is_noun_here(place):
            state.modality, state.instruction = "should", True
        if word in self.known.prepositions:
            self.chunk, self.preposition = self.chunk + 1, word
        if word not in ("please", "also", "do", "then", "not", "first", "to"):
            state.at_clause_start = False
        if word in known.audiences or (word not in known.closed and word not in known.neutral and word[0].isalnum()):
            self._add(word, known.key(word), None, light=word in known.light_verbs)

    def _orders(self, place: int) -> bool:
        """Say whether "stop" tells somebody to stop something, as against bleeding that does not stop."""
        return self.state.at_clause_start or self._at(place - 1) in self.known.modalities

    def _is_noun_here(self, place: int) -> bool:
        """Say whether an instruction's word is a subject here: "Exercise can help", "Rest is best"."""
        following = self._at(place + 1)
        if self._at(place) in self.known.ambiguous and following == ",":  # "Rest, fluids and honey may help"
            second = self._at(place + (3 if self._at(place + 2) in ("and", "or", "then", "also", "please") else 2))
            orders = {*self.known.imperatives, *_SUBJECTS, *self.known.negations, "do", "please"}
            return second not in orders and second not in self.known.conditions
        if self._at(place) in self.known.ambiguous:
            near = [self._at(place + ahead) for ahead in range(1, 5)]
            near = near[: next((n for n, word in enumerate(near) if word in self.breaks), 4)]
            if any(word in self.known.modalities or word in ("is", "are", "was", "were") for word in near):
                return True
        return following in ("is", "are", "was", "does", "helps") or (
            following in self.known.modalities and following not in ("will",)
        )

    def _add(self, word: str, key: str, quantity: Quantity | None, *, light: bool = False) -> None:
        state = self.state
        self.terms.append(
            Term(
                key, word, quantity, state.sentence, len(self.segments) - 1, state.group, state.condition,
                state.negated, "" if state.modality == "will" else state.modality, self.item, light,
                state.fronted and not state.condition, self.in_alternative, self.clause, self.chunk, self.preposition,
                key.startswith("audience:") and self.preposition in ("in", "for", "during", "among"),
            )
        )  # fmt: skip
        state.at_clause_start = False

    def _negate(self, word: str, place: int) -> None:
        state = self.state
        if word in ("avoid", "avoids", "avoiding") and state.at_clause_start:
            state.modality, state.instruction = "should", True
        if self._at(place - 1) == "to" and word == "avoid":  # "Foods to avoid"
            state.modality = "should"
        if word in ("stop", "quit") and state.at_clause_start:
            state.modality, state.instruction = "should", True
        if word in ("no", "nobody", "none", "nothing", "neither"):
            state.subject_negated = True
        if word == "never":
            self._hedge("never")
        self._hedge("not")
        state.negated = not state.negated if word not in ("nor", "neither") else True

    def _modal(self, modality: str, place: int) -> None:
        state = self.state
        before = self._at(place - 1)
        if before == "not":  # "do not have to" is not "must not"
            state.modality = f"not {modality}"
        elif before in self.known.modalities:  # "may need to"
            state.modality = f"{state.modality} {modality}"
        else:
            state.modality, state.negated = modality, state.subject_negated
        state.at_clause_start = False
        if modality in ("may", "must"):
            self._hedge(modality)

    def _hedge(self, name: str) -> None:
        self.hedges.append(Hedge(name, len(self.segments) - 1, len(self.terms)))

    def _condition(self, condition: str, word: str, place: int) -> None:
        self.groups += 1
        at_start = self._at_sentence_start(place)
        self._govern(self.groups, "if" if condition == "when" else condition)
        if at_start:
            self.state.fronted = True
            self.fronted_ends = self._end_of_fronted(place)
        self._open(word)

    def _govern(self, group: int, condition: str) -> None:
        state = self.state
        self.state = _State(sentence=state.sentence, group=group, condition=condition, bracketed=state.bracketed)
        self.state.fronted = state.fronted and state.group >= 0  # "If it began after a fall, call us"
        self.state.at_clause_start = False

    def _join(self, word: str, place: int) -> None:
        state = self.state
        if state.fronted and place == self.fronted_ends:
            self.state = _State(sentence=state.sentence)
        elif word == "(" and isinstance(self._part(place + 1), Quantity) and self._part(place + 2) == ")":
            self.in_alternative = True
            return
        elif word == ")" and self.in_alternative:
            self.in_alternative = False
            return
        elif word == "(":
            state.bracketed = True
        elif word == ")":
            self._open(word)
            state.bracketed = False
            return
        elif word == ":":
            state.at_clause_start = True
        elif word == "but":
            inside = self._at(place + 1) in self.known.negations or self._at(place - 1) != ","
            group, condition = (state.group, state.condition) if inside else (-1, "")
            self.clause += not inside
            self.state = _State(sentence=state.sentence, group=group, condition=condition)
            self.state.fronted = state.fronted and group >= 0
        else:
            self._continue(word, place)
        self._open(word)

    def _continue(self, word: str, place: int) -> None:
        """Decide what goes on governing after "and", "or", a comma or "then"."""
        state = self.state
        following = self._at(place + 1)
        skip = 2 if following in ("and", "or", "then", "also", "please") else 1
        following = self._at(place + skip)
        new_instruction = (
            state.instruction
            and word != "or"
            and following in self.known.imperatives | {"avoid", "never"}
            and not self._is_noun_here(place + skip)
        )
        if new_instruction and state.negated and word == "," and skip == 1:
            state.denied_list = True
        new_instruction = new_instruction and not state.denied_list
        if new_instruction and self._at(place + 1) != "or":
            self.clause += word == "," and skip == 2 and state.group < 0  # "Drink water, and eat if you missed a meal"
            self.state = _State(sentence=state.sentence, instruction=True, modality="should", bracketed=state.bracketed)
        elif word == "," and skip == 2 and state.group < 0 and following in _WHOLE_CLAUSES:
            self.clause += 1  # "…, and most people get better": a clause of its own
            self.state = _State(sentence=state.sentence, bracketed=state.bracketed)
        elif following in _SUBJECTS and word != "(":
            self.state = _State(
                sentence=state.sentence, group=state.group, condition=state.condition, bracketed=state.bracketed
            )
            self.state.fronted = state.fronted and state.group >= 0
            self.state.at_clause_start = False

    def _end_of_fronted(self, place: int) -> int:
        """Return the place of the comma after which the main clause begins, for "If …, …"."""
        end = next((n for n in range(place + 1, len(self.parts)) if self.parts[n] in _STOPS), len(self.parts))
        commas = [n for n in range(place + 1, end) if self.parts[n] == ","]
        starts = [comma for comma in commas if self._begins_main_clause(comma + 1)]
        return starts[-1] if starts else commas[-1] if commas else -1

    def _begins_main_clause(self, place: int) -> bool:
        first = self._at(place)
        known = first in self.known.imperatives | set(_SUBJECTS) | {"do", "please", "avoid", "never", "then"}
        listed = self._at(place + 1) in (",", "or", "and")  # "hard to breathe, swallow, or speak"
        return known and not listed and not self._is_noun_here(place)

    def _open(self, word: str, *, narrows: bool = False) -> None:
        state = self.state
        self.chunk, self.preposition = self.chunk + 1, ""
        last = self.segments[-1]
        within = len(self.segments) - 1 if narrows else last.within if word in ("and", "or") else -1
        if last.sentence != state.sentence or last.group != state.group:
            within = -1
        self.segments.append(
            Segment(state.sentence, state.group, word, narrows, state.bracketed, self.clause, self.item, within)
        )

    def _at_sentence_start(self, place: int) -> bool:
        before = place - 1
        while before >= 0 and self.parts[before] in ("and", "but", "also", "@only", "only", "so", "then", "@evenif"):
            before -= 1
        return before < 0 or self.parts[before] in _STOPS

    def _ends_with_one(self) -> bool:
        return any(self._at(place) == "one" and self._at(place + 1) in _STOPS for place in range(len(self.parts)))

    def _is_step(self, place: int) -> bool:
        """Say whether a word puts steps in order: "then", or "first" where a clause begins, not "the first sign"."""
        word, before = self._at(place), self._at(place - 1)
        return word in self.known.sequence and (
            word not in ("first", "next", "second", "third") or before in ("", *JOINS)
        )

    def _is_after_amount(self, place: int) -> bool:
        """Say whether "once" and the like belong to an amount and not to a clause."""
        return self.parts[place] == "once" and isinstance(self._part(place + 1), Quantity)

    def _part(self, place: int) -> str | Quantity:
        return self.parts[place] if 0 <= place < len(self.parts) else ""

    def _at(self, place: int) -> str:
        part = self._part(place)
        return part if isinstance(part, str) else ""

    def _has_verb(self, words: Sequence[str]) -> bool:
        known = self.known
        if any(word in known.modalities or stem(word) in known.verb_stems for word in words):
            return True
        return any(term.modality == "should" for term in self.terms)
