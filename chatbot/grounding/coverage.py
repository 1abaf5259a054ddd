"""What a sentence may not leave out of the statement that it takes up: amounts, conditions, restrictions, audience."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from chatbot.grounding.alignment import Overlay
from chatbot.grounding.wording import wording

MIN_SEGMENT_COVERAGE = 0.5  # of the words of each piece of the statement that a sentence takes up
MIN_STATEMENT_COVERAGE = 0.3


def losses(laid: Overlay) -> Iterator[str]:
    """Yield what of the statement the claim may not leave out, but does."""
    yield from _pieces_covered(laid)
    yield from _sentences_covered(laid)
    yield from _amounts_kept(laid)
    yield from _conditions_kept(laid)
    yield from _restrictions_kept(laid)
    yield from _narrowed_kept(laid)
    yield from _audience_kept(laid)


def _pieces_covered(laid: Overlay) -> Iterator[str]:
    used_segments = {laid.support.terms[place].segment for place in laid.used}
    lost: list[str] = []
    total = matched = 0
    for segment in used_segments:
        places = laid.places_of(segment=segment)
        found = sum(place in laid.used for place in places)
        total, matched = total + len(places), matched + found
        if _shared_only(laid, places):
            continue
        if found < MIN_SEGMENT_COVERAGE * len(places):
            lost += [laid.support.terms[place].word for place in places if place not in laid.used]
    if lost:
        yield f"meaning: leaves out {', '.join(lost[:4])}"
    if laid.from_context and not _names_what_is_meant(laid) and (matched < total or _alone(laid)):
        words = ", ".join(term.word for term in laid.from_context)
        yield f"word: {words} stands in the heading only"


def _alone(laid: Overlay) -> bool:
    """Say whether a piece of the claim has nothing but words of the title."""
    alone = {term.segment for term in laid.from_context} - {term.segment for term, _ in laid.pairs}
    if not laid.titled:  # "For a sunburn, …" may name what the title names
        alone -= {term.segment for term in laid.from_context if term.fronted}
    return bool(alone)


def _names_what_is_meant(laid: Overlay) -> bool:
    """Say whether the claim has the title's word where the statement only points back: it, "the illness"."""
    groups = {term.group for term, _ in laid.pairs}
    conditions = {term.condition for term in laid.support.terms}
    if any(term.condition not in conditions and term.group not in groups for term in laid.from_context):
        return False  # "unless you have diabetes" is more than a name
    taken_up = {laid.support.terms[place].segment for place in laid.used}
    taken_up = {segment for segment in taken_up if not _shared_only(laid, laid.places_of(segment=segment))}
    lost = {
        term.key for place, term in enumerate(laid.support.terms) if term.segment in taken_up and place not in laid.used
    }
    lost -= {term.key for term in laid.from_context}
    named = {term.segment for term, _ in laid.pairs if term.key in laid.context}  # "the pain" under "Period pain"
    half_named = all(term.segment in named for term in laid.from_context)
    points_back = laid.support.points_back or bool(lost) or half_named
    if laid.titled:  # "If ibuprofen upsets you, take it with milk": the name and "it" may change places
        return not lost and all(
            any(
                (other.key, other.negated) == (term.key, term.negated) and other.condition != term.condition
                for other in laid.support.terms
            )
            for term in laid.from_context
        )
    return points_back and lost <= wording().general


def _sentences_covered(laid: Overlay) -> Iterator[str]:
    """A sentence of which only a word or two is taken up lends that word to something it never said."""
    terms = laid.support.terms
    for item in {terms[place].item for place in laid.used} - {0}:
        places = laid.places_of(item=item)
        found = sum(place in laid.used for place in places)
        if found < MIN_STATEMENT_COVERAGE * len(places) and not _shared_only(laid, places):
            yield "meaning: takes single words out of another list item"
    sentences = {terms[place].sentence for place in laid.used}
    for sentence in sentences if len(sentences) > 1 else ():
        main = [place for place, term in enumerate(terms) if term.sentence == sentence and term.group == -1]
        if sum(place in laid.used for place in main) < MIN_SEGMENT_COVERAGE * len(main):
            yield "meaning: takes single words out of another sentence"


def _shared_only(laid: Overlay, places: Sequence[int]) -> bool:
    """Say whether only the part is taken up that a piece shares with another: its subject, or its end.

    So it is in "Most fevers come from an infection and get better" for a claim about getting better.
    """
    used = [place for place in places if place in laid.used]
    if used not in (list(places[: len(used)]), list(places[-len(used) :])):
        return False
    pieces = {term.segment for term, place in laid.pairs if place in used}
    elsewhere = {term.segment for term, place in laid.pairs if place not in places}
    return bool(pieces & elsewhere)


def _amounts_kept(laid: Overlay) -> Iterator[str]:
    used_segments = {laid.support.terms[place].segment for place in laid.used}
    for place, term in enumerate(laid.support.terms):
        if term.quantity is None or term.segment not in used_segments or place in laid.used:
            continue
        if _shared_only(laid, laid.places_of(segment=term.segment)):
            continue
        beside = [near for near in (place - 1, place + 1) if near in laid.used]
        if not any(_is_same_amount(laid, place, near) for near in beside):
            yield f"number: leaves out {term.word}"


def _is_same_amount(laid: Overlay, place: int, near: int) -> bool:
    """Say whether two amounts stand for one another, as in "100.4 °F (38 °C)"."""
    one, other = laid.support.terms[place], laid.support.terms[near]
    return one.quantity is not None and other.quantity is not None and one.alternative != other.alternative


def _conditions_kept(laid: Overlay) -> Iterator[str]:
    terms = laid.support.terms
    clauses = {terms[place].clause for place in laid.used}
    for groups in _alternatives(laid):
        members = [place for place, term in enumerate(terms) if term.group in groups]
        if not members or terms[members[0]].clause not in clauses or terms[members[0]].condition == "because":
            continue
        if not any(place in laid.used for place in members):
            items = {terms[place].item for place in laid.used}
            if terms[members[0]].item and terms[members[0]].item not in items and items - {0}:
                continue  # belongs to another item of the list
            only_points_back = all(terms[place].key == "one" for place in members)
            if only_points_back and any(term.condition == terms[members[0]].condition for term in laid.from_context):
                continue  # "if you have one", with what the title names in its place
            if not laid.support.segments[terms[members[0]].segment].bracketed:
                yield f"condition: leaves out {terms[members[0]].condition} {terms[members[0]].word}"
            continue
        outside = [
            place for place, term in enumerate(terms)
            if term.clause == terms[members[0]].clause and term.group == -1
        ]  # fmt: skip
        if outside and not any(place in laid.used for place in outside):
            yield "condition: says the condition without what it is for"
        for group in groups:
            yield from _joined_by_and(laid, [place for place in members if terms[place].group == group])


def _alternatives(laid: Overlay) -> list[set[int]]:
    """Return the statement's conditions, those joined by "or if" together: one of them is enough."""
    found: list[set[int]] = []
    filled = {term.segment for term in laid.support.terms}
    for number, (before, segment) in enumerate(pairwise(laid.support.segments)):
        if segment.group < 0 or any(segment.group in groups for groups in found):
            continue
        or_if = before.opened_by == "or" and number not in filled and segment.opened_by in wording().conditions
        if found and or_if and _item_of(laid, number + 1) == _item_of(laid, number - 1):
            found[-1].add(segment.group)
        else:
            found.append({segment.group})
    return found


def _item_of(laid: Overlay, segment: int) -> int:
    return next((term.item for term in laid.support.terms if term.segment >= segment), 0)


def _joined_by_and(laid: Overlay, members: Sequence[int]) -> Iterator[str]:
    terms = laid.support.terms
    segments = list(dict.fromkeys(terms[place].segment for place in members))
    used = {terms[place].segment for place in members if place in laid.used}
    lead = {terms[place].segment for place in members if terms[place].item == 0}
    items = set(segments) - lead
    both = lead and items and laid.support.segments[min(items) - 1].opened_by == "and"  # "if you have a fever and:"
    if both and not (used & lead and used & items):
        yield "condition: keeps one half of two that are joined by and"
    for one, other in pairwise(segments):
        if laid.support.segments[other].opened_by == "and" and (one in used) != (other in used):
            yield "condition: keeps one half of two that are joined by and"


def _restrictions_kept(laid: Overlay) -> Iterator[str]:
    terms = laid.support.terms
    for number, segment in enumerate(laid.support.segments):
        members = laid.places_of(segment=number)
        if not segment.narrows or not members or any(place in laid.used for place in members):
            continue
        if not any(terms[place].clause == segment.clause for place in laid.used):
            continue
        head = members[0] - 1
        same_sentence = [place for place in laid.used if terms[place].sentence == segment.sentence]
        is_first = head < 0 or terms[head].sentence != segment.sentence
        if (is_first and same_sentence) or (not is_first and head in laid.used):
            yield f"condition: leaves out {segment.opened_by} {terms[members[0]].word}"


def _narrowed_kept(laid: Overlay) -> Iterator[str]:
    """What only narrows a noun says nothing without that noun."""
    used = {laid.support.terms[place].segment for place in laid.used}
    filled = {term.segment for term in laid.support.terms}
    for segment in used:
        within = laid.support.segments[segment].within
        if within in filled and within not in used:
            yield "meaning: takes up a side remark without what it is about"


def _audience_kept(laid: Overlay) -> Iterator[str]:
    terms = laid.support.terms
    sentences = {terms[place].sentence for place in laid.used}
    named = {term.key for term in terms if term.is_audience and term.sentence in sentences and term.group == -1}
    said = {term.key for term in laid.claim.terms if term.is_audience}
    if named and not said & named:
        names = ", ".join(sorted(key.partition(":")[2] for key in named))
        yield f"audience: the passage speaks of {names}, the sentence does not"
