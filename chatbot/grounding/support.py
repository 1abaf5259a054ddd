"""Whether one vetted statement carries a sentence, and if not, why."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise, takewhile

from chatbot.grounding.alignment import Overlay, lay_over, strays
from chatbot.grounding.coverage import losses
from chatbot.grounding.statements import Statement
from chatbot.grounding.terms import Hedge, Reading, Term
from chatbot.grounding.wording import wording


def objections(claim: Reading, statement: Statement) -> tuple[str, ...]:
    """Return why the statement does not carry the claim; empty when it does."""
    laid = lay_over(claim, statement)
    found = _objections(laid)
    named = statement.context & {term.key for term in claim.terms}
    # A word of the title may be meant as in the title, although the statement has it elsewhere.
    for titled in dict.fromkeys((named, named & strays(laid))):
        if found and titled and not _objections(lay_over(claim, statement, titled=titled)):
            return ()
    return found


def _objections(laid: Overlay) -> tuple[str, ...]:
    if not laid.pairs:
        return laid.foreign or ("meaning: nothing of the passage is said",)
    found = [*laid.foreign, *_governed_alike(laid), *_same_pieces(laid), *losses(laid), *_same_hedges(laid)]
    return tuple(dict.fromkeys(found))


def _governed_alike(laid: Overlay) -> Iterator[str]:
    for term, place in laid.pairs:
        other = laid.support.terms[place]
        moved = term.fronted != other.fronted and term.preposition == other.preposition
        if (term.about and other.about) or (moved and term.condition == other.condition):
            continue  # "in adults" and "at the first sign" may stand before or behind the clause
        if term.negated != other.negated:
            yield f"negation: {term.word} is {'not ' * (not other.negated)}negated in the passage"
        if term.modality != other.modality and not _may_be_said_so(laid, term, other):
            said, vetted_ = term.modality or "a plain fact", other.modality or "a plain fact"
            yield f"modality: {term.word} is said as {said}, the passage says {vetted_}"
        told_as_reason = (term.condition, other.condition) == ("", "because")  # a reason given is a fact given
        if term.condition != other.condition and not told_as_reason:
            said, vetted_ = term.condition or "no condition", other.condition or "no condition"
            yield f"order: {term.word} stands under {said}, in the passage under {vetted_}"


def _may_be_said_so(laid: Overlay, term: Term, other: Term) -> bool:
    """Say whether a "may" covers the word in both texts, before or behind it, or the claim says how often instead."""
    if {term.modality, other.modality} != {"", "may"}:
        return False
    if laid.weakened and not other.modality:
        return True
    # In one piece of the claim, so that the order of its words is looked at too.
    here = any(hedge.name == "may" and hedge.segment == term.segment for hedge in laid.claim.hedges)
    segments = laid.support.segments
    return here and any(h.name == "may" and segments[h.segment].clause == other.clause for h in laid.support.hedges)


def _same_pieces(laid: Overlay) -> Iterator[str]:
    """Within a piece of the claim, words keep their order and belong together in the statement too."""
    terms = laid.support.terms
    for (term, place), (following, next_place) in pairwise(laid.pairs):
        one, other = terms[place], terms[next_place]
        if term.segment != following.segment:
            joined = laid.claim.segments[following.segment].opened_by in ("and", "or", ",")
            if one.item and other.item and one.item != other.item and not joined:
                yield "condition: mixes two list items"
            continue
        if next_place <= place and (
            _phrases_swapped(term, one, following, other)
            or _is_compound(term, following, place - next_place == 1 and one.chunk == other.chunk)
            or _is_compound(other, one, place - next_place == 1 and term.chunk == following.chunk)
            or _keeps_its_sides(laid, term)
        ):
            continue
        if next_place <= place:
            yield f"order: {term.word} and {following.word} are the other way round in the passage"
        elif one.segment != other.segment and other.fronted and following.preposition == other.preposition:
            continue
        elif one.segment != other.segment and not _may_join(laid, one, other):
            yield f"order: {term.word} and {following.word} do not belong together in the passage"
    if len(laid.used) < len(laid.pairs):
        yield "order: says twice what the passage says once"
    yield from _same_groups(laid)
    yield from _same_joins(laid)
    places = [place for _, place in laid.pairs]
    if laid.claim.in_sequence and (places != sorted(places) or not laid.in_order):
        yield "order: the passage does not have these steps in this order"
    grouped = {laid.support.terms[place].sentence for _, place in laid.pairs}
    if len(grouped) > 1 and any(term.group >= 0 for term in laid.claim.terms):
        yield "order: its condition and its statement come from different sentences"


def _keeps_its_sides(laid: Overlay, term: Term) -> bool:
    """Say whether the words of this piece stand before and behind the same verb as in the statement.

    Who does what to whom is told by the sides of the verb and by prepositions; within one side the order says little.
    """
    here = [(one, place) for one, place in laid.pairs if one.segment == term.segment]
    verbs = [(one, place) for one, place in here if one.word in wording().actions]
    pieces = {laid.support.terms[place].segment for _, place in here}
    parts = {(laid.support.terms[place].clause, laid.support.terms[place].item) for _, place in here}
    equates = not verbs and len(parts) == 1  # "thirst and tiredness are signs", "signs are thirst and tiredness"
    if (len(pieces) > 1 and not equates) or any(one.quantity for one, _ in here):
        return False
    if any(one.preposition != laid.support.terms[place].preposition for one, place in here):
        return False
    if all(one.modality == laid.support.terms[place].modality == "should" for one, place in here):
        return True  # "keep it covered", "cover it": an instruction has one doer and one thing to do it to
    order = {id(one): number for number, (one, _) in enumerate(here)}
    return all(
        (order[id(one)] < order[id(verb)]) == (place < verb_place)
        for verb, verb_place in verbs
        for one, place in here
        if one is not verb
    )


def _same_joins(laid: Overlay) -> Iterator[str]:
    """Hold "and" and "or" apart, unless an instruction denies both."""
    terms = laid.support.terms
    for (term, place), (following, next_place) in pairwise(laid.pairs):
        one, other = sorted((terms[place], terms[next_place]), key=lambda found: found.segment)
        if term.segment == following.segment or one.segment == other.segment:
            continue
        listed = one.item != other.item and other.group < 0  # items of a plain list may be joined either way
        denied = term.negated and following.negated and following.modality == "should" and other.group < 0
        said, vetted_ = _join_of(laid.claim, following.segment), _join_of(laid.support, other.segment)
        if one.item == 0 and other.item:  # the lead-in says how its items belong to it
            first_item = next(found.segment for found in terms if found.item)
            vetted_ = laid.support.segments[first_item - 1].opened_by
        apart = one.clause != other.clause and said == "and"  # two statements may both be said
        if {said, vetted_} == {"and", "or"} and not listed and not denied and not apart:
            yield f"order: says {said} where the passage says {vetted_}"


def _same_groups(laid: Overlay) -> Iterator[str]:
    """Each condition of the claim is one condition of the statement, and no two are the same one."""
    theirs: dict[int, set[int]] = {}
    for term, place in laid.pairs:
        if term.group >= 0:
            theirs.setdefault(term.group, set()).add(laid.support.terms[place].group)
    matched = [group for groups in theirs.values() for group in groups]
    if len(set(matched)) < len(matched) or any(len(groups) > 1 for groups in theirs.values()):
        yield "condition: mixes conditions that the passage keeps apart"


def _may_join(laid: Overlay, one: Term, other: Term) -> bool:
    """Say whether a subject may be carried over to a later piece: "Most fevers … and get better"."""
    if one.sentence != other.sentence or one.quantity is not None or other.quantity is not None:
        return False
    first_of_piece = next(term for term in laid.support.terms if term.segment == one.segment)
    return one is first_of_piece or laid.support.terms.index(first_of_piece) in laid.used


def _same_hedges(laid: Overlay) -> Iterator[str]:
    said = Counter(hedge.name for hedge in laid.claim.hedges)
    needed = Counter(hedge.name for hedge in laid.support.hedges if _governs_used(laid, hedge))
    for name, count in needed.items():
        if said[name] < count:
            yield f"{_kind_of(name)}: leaves out {name}"
    for name, count in said.items():
        if count > max(needed[name], _hedges_before_used(laid, name)) and not (name == "may" and laid.weakened):
            yield f"{_kind_of(name)}: {name} is not in the passage"


def _hedges_before_used(laid: Overlay, name: str) -> int:
    """Count the hedges whose list goes on to a word taken up: "may have ear pain, a fever and trouble sleeping"."""
    terms = laid.support.terms
    count = 0
    for hedge in laid.support.hedges:
        segment = laid.support.segments[hedge.segment]
        if hedge.name == name:
            count += any(
                terms[place].clause == segment.clause
                and terms[place].item == segment.item
                and terms[place].group == segment.group
                for place in laid.used
                if place >= hedge.before
            )
    return count


def _governs_used(laid: Overlay, hedge: Hedge) -> bool:
    """Say whether the words after the hedge, in its piece or else in its sentence, are taken up."""
    terms = laid.support.terms
    pieces = {hedge.segment}
    if hedge.segment + 1 < len(laid.support.segments) and laid.support.segments[hedge.segment + 1].bracketed:
        pieces.add(hedge.segment + 1)  # "dry out (dehydration)"
    following = [p for p in range(hedge.before, len(terms)) if terms[p].segment in pieces]
    if not following:
        sentence = laid.support.segments[hedge.segment].sentence
        following = [place for place, term in enumerate(terms) if term.sentence == sentence]
    return any(place in laid.used for place in following)


def _join_of(reading: Reading, segment: int) -> str:
    """Return "and" or "or" for what joins a piece to the one before; a comma is read as the join that ends its list."""
    filled = {term.segment for term in reading.terms}
    while segment > 0 and reading.segments[segment].opened_by not in ("and", "or", ",") and segment - 1 not in filled:
        segment -= 1
    if reading.segments[segment].opened_by in ("and", "or"):
        return reading.segments[segment].opened_by
    list_of = takewhile(lambda later: later.opened_by in ("and", "or", ","), reading.segments[segment:])
    # The last one: in "belly pain or cramps, nausea and fever" the "or" joins only two of the list.
    return next((later.opened_by for later in reversed(list(list_of)) if later.opened_by != ","), "")


def _phrases_swapped(term: Term, one: Term, following: Term, other: Term) -> bool:
    """Say whether two phrases only changed places: "for 20 seconds with soap", "with soap for 20 seconds"."""
    if term.about or following.about:
        return True
    apart = (
        term.chunk != following.chunk and one.chunk != other.chunk and bool(term.preposition or following.preposition)
    )
    return apart and term.preposition == one.preposition and following.preposition == other.preposition


def _is_compound(noun: Term, narrowed_by: Term, the_other_text_has_them_together: bool) -> bool:
    """Say whether one text has "test for HIV" where the other has "HIV test"."""
    return (
        the_other_text_has_them_together
        and narrowed_by.chunk == noun.chunk + 1
        and narrowed_by.preposition in wording().of_words
    )


def _kind_of(hedge: str) -> str:
    return "negation" if hedge == "not" else "condition" if hedge.startswith("empty") else "modality"
