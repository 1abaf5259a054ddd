"""A passage as the statements that a sentence may rest on, and whether one of them carries it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from chatbot.grounding.clauses import Hedge, Reading, Term, read
from chatbot.grounding.wording import wording
from chatbot.text import Block, markdown_blocks, split_sentences

MIN_SEGMENT_COVERAGE = 0.5  # of the words of each piece of the statement that a sentence takes up
MIN_STATEMENT_COVERAGE = 0.3
_FREQUENCIES = {"often", "usually", "sometimes", "some", "many", "most"}


@dataclass(frozen=True, slots=True)
class Statement:
    """One or two vetted sentences, or a list item with the line that leads to it."""

    text: str
    context: frozenset[str]  # keys of the title and heading above it
    in_order: bool = False  # steps of a numbered list


@dataclass(frozen=True, slots=True)
class Vetted:
    """A passage made ready for checking."""

    statements: tuple[Statement, ...]
    verbatim: frozenset[str]  # what may be shown as it stands, see ``plain_form``
    everything: str  # the whole passage in small letters, to look links and set phrases up


@lru_cache(maxsize=1024)
def vetted(title: str, markdown: str) -> Vetted:
    """Return the passage's statements and its sentences that may be shown word for word."""
    statements: list[Statement] = []
    verbatim: set[str] = set()
    title_keys = keys_of(title)
    for heading, lead, blocks in _sections(markdown_blocks(markdown)):
        context = title_keys | keys_of(heading)
        for text, stands_alone in _statements(heading, lead, blocks):
            statements.append(Statement(text, context, blocks[0].number is not None))
            if stands_alone:
                verbatim.add(plain_form(text))
    return Vetted(tuple(statements), frozenset(verbatim), " ".join([title, *_texts(markdown)]).casefold())


def _texts(markdown: str) -> list[str]:
    return [block.text for block in markdown_blocks(markdown)]


def keys_of(text: str) -> frozenset[str]:
    """Return what the words of a text are compared by."""
    return frozenset(term.key for term in read(text).terms)


def plain_form(text: str) -> str:
    """Return the text without what may differ in a word-for-word quotation: case, spaces, marks, the final stop."""
    return " ".join(text.replace("**", "").replace(":", " ").casefold().split()).rstrip(".!;, ")


def _sections(blocks: Sequence[Block]) -> Iterator[tuple[str, str, list[Block]]]:
    """Yield (heading, lead-in, blocks): a list with its lead-in, or one paragraph."""
    heading = ""
    lead = ""
    items: list[Block] = []
    for block in blocks:
        if block.kind == "item":
            items.append(block)
            continue
        if items:
            yield heading, lead, items
            items = []
        lead = ""
        if block.kind == "heading":
            heading = block.text
            continue
        sentences = split_sentences(block.text)
        if sentences and sentences[-1].endswith(":"):
            lead = sentences[-1].rstrip(": ")
            sentences = sentences[:-1]
        if sentences:
            yield heading, "", [Block("paragraph", " ".join(sentences))]
    if items:
        yield heading, lead, items


def _statements(heading: str, lead: str, blocks: Sequence[Block]) -> Iterator[tuple[str, bool]]:
    if blocks[0].kind == "paragraph":
        sentences = split_sentences(blocks[0].text)
        yield from ((sentence, True) for sentence in sentences)
        yield from ((f"{first} {second}", False) for first, second in pairwise(sentences))
        return
    if not lead and _leads(heading):
        lead = heading
    if lead:
        yield from _led(lead, [block.text for block in blocks])
        return
    items = [split_sentences(block.text) for block in blocks]
    flat = [sentence for item in items for sentence in item]
    yield from ((sentence, is_sentence(sentence)) for sentence in flat)
    yield from ((f"{_closed(first)} {second}", False) for first, second in pairwise(flat))


def _led(lead: str, items: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Yield each item behind its lead-in, and all of them together; never an item alone."""
    firsts = [split_sentences(item)[0].rstrip(".") for item in items]
    free = not _binds(lead)
    for item, first in zip(items, firsts, strict=True):
        yield f"{lead} {_lower_first(first)}.", True
        if item.rstrip(".") != first:
            yield f"{lead} {_lower_first(item)}", True
        if free and read(first).terms and is_sentence(first):
            yield from ((sentence, True) for sentence in split_sentences(item))
    if len(firsts) > 1:
        yield f"{lead} | {' | '.join(_lower_first(first) for first in firsts)}.", False


def _leads(heading: str) -> bool:
    """Say whether items under this heading mean nothing, or the opposite, without it."""
    words = heading.casefold().split()
    if not words or heading.endswith("?"):
        return False
    terms = read(heading).terms
    names_audience = words[0] in wording().openers and any(term.is_audience for term in terms)
    return words[-1] in wording().conditions or names_audience or bool(wording().negations & set(words))


def _binds(lead: str) -> bool:
    """Say whether a lead-in carries a condition, a negation, an audience or a hedge for its items."""
    reading = read(lead)
    last_words = lead.casefold().split()
    return (
        bool(reading.hedges) or any(segment.group >= 0 for segment in reading.segments)
        or any(term.negated or term.is_audience or term.quantity for term in reading.terms)
        or any(word in wording().negations or word in wording().conditions for word in last_words)
    )  # fmt: skip


def is_sentence(text: str) -> bool:
    """Say whether the text has a verb and enough words to be a sentence and not a heading or a list item."""
    reading = read(text)
    return reading.has_verb and bool(reading.terms)


def _closed(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _lower_first(text: str) -> str:
    return text if len(text) > 1 and text[1].isupper() else text[:1].lower() + text[1:]


# How a sentence and a statement compare.


def objections(claim: Reading, statement: Statement) -> tuple[str, ...]:
    """Return why the statement does not carry the claim; empty when it does."""
    support = read(statement.text)
    found = _Comparison(claim, support, statement).objections()
    if found and any(term.key in statement.context for term in claim.terms):
        # A word of the title may be meant as in the title, although the statement has it elsewhere.
        return _Comparison(claim, support, statement, by_context=True).objections() and found
    return found


class _Comparison:
    """One claim laid over one statement."""

    def __init__(self, claim: Reading, support: Reading, statement: Statement, *, by_context: bool = False) -> None:
        self.by_context = by_context
        self.claim = claim
        self.support = support
        self.context = statement.context
        self.in_order = statement.in_order or support.in_sequence
        # "often helps" may be said as "can often help": still no more than the passage says.
        self.weakened = bool({hedge.name for hedge in claim.hedges} & _FREQUENCIES)
        self.from_context: list[Term] = []
        self.reasons: list[str] = []

    def objections(self) -> tuple[str, ...]:
        candidates = [self._candidates(term) for term in self.claim.terms]
        self._foreign(candidates)
        kept = [(term, places) for term, places in zip(self.claim.terms, candidates, strict=True) if places]
        if not kept:
            return tuple(self.reasons) or ("meaning: nothing of the passage is said",)
        self.pairs = list(zip([term for term, _ in kept], self._align(kept), strict=True))
        self.pairs = self._spread(self.pairs, dict(zip((id(t) for t, _ in kept), (p for _, p in kept), strict=True)))
        self.used = {place for _, place in self.pairs}
        self._governed_alike()
        self._same_pieces()
        self._nothing_lost()
        self._same_hedges()
        return tuple(dict.fromkeys(self.reasons))

    def _candidates(self, term: Term) -> list[int]:
        places: list[int] = []
        if self.by_context and term.quantity is None and not term.is_audience and term.key in self.context:
            return places
        for place, other in enumerate(self.support.terms):
            if term.quantity is not None:
                if other.quantity is not None and term.quantity.same_as(other.quantity):
                    places.append(place)
            elif term.key == other.key:
                places.append(place)
        return places

    def _foreign(self, candidates: Sequence[Sequence[int]]) -> None:
        for term, places in zip(self.claim.terms, candidates, strict=True):
            if places or (term.light and self.support.has_avoid and term.negated):
                continue
            if term.quantity is not None:
                self.reasons.append(f"number: {term.word} is not in the passage like that")
            elif term.is_audience:
                self.reasons.append(f"audience: {term.word} is not who the passage speaks of")
            elif term.key in self.context:
                self.from_context.append(term)
            else:
                self.reasons.append(f"word: {term.word} is not in that part of the passage")

    def _align(self, kept: Sequence[tuple[Term, Sequence[int]]]) -> list[int]:
        """Return the place of each kept term in the statement, so that the two run alike (Viterbi)."""
        best: list[dict[int, tuple[float, int]]] = []
        before: Term | None = None
        for term, places in kept:
            row: dict[int, tuple[float, int]] = {}
            for place in places:
                own = self._mismatch(term, self.support.terms[place])
                if not best:
                    row[place] = (own, -1)
                    continue
                same_piece = before is not None and before.segment == term.segment
                row[place] = min(
                    (cost + own + self._step(last, place, same_piece), last) for last, (cost, _) in best[-1].items()
                )
            best.append(row)
            before = term
        place = min(best[-1], key=lambda place: best[-1][place][0])
        path = [place]
        for row in reversed(best[1:]):
            place = row[path[-1]][1]
            path.append(place)
        return path[::-1]

    def _spread(self, pairs: list[tuple[Term, int]], candidates: dict[int, Sequence[int]]) -> list[tuple[Term, int]]:
        """Give a word that the statement says twice its second place when both are said."""
        taken = {place for _, place in pairs}
        seen: set[int] = set()
        out = []
        for term, place in pairs:
            free = [other for other in candidates[id(term)] if other not in taken]
            if place in seen and free:
                place = free[0]
                taken.add(place)
            seen.add(place)
            out.append((term, place))
        return out

    def _mismatch(self, term: Term, other: Term) -> float:
        return (
            4.0 * (term.negated != other.negated) + 2.0 * (term.modality != other.modality)
            + 2.0 * (term.condition != other.condition)
        )  # fmt: skip

    def _step(self, last: int, place: int, same_piece: bool) -> float:
        one, other = self.support.terms[last], self.support.terms[place]
        if place == last:
            return 3.0
        cost = 0.1 * abs(one.segment - other.segment) + 1.0 * (one.sentence != other.sentence)
        if same_piece:
            cost += 2.0 * (place < last) + 0.5 * (one.segment != other.segment)
        return cost

    def _governed_alike(self) -> None:
        for term, place in self.pairs:
            other = self.support.terms[place]
            moved = term.fronted != other.fronted and term.preposition == other.preposition
            if (term.about and other.about) or (moved and term.condition == other.condition):
                continue  # "in adults" and "at the first sign" may stand before or behind the clause
            if term.negated != other.negated:
                self.reasons.append(f"negation: {term.word} is {'not ' * (not other.negated)}negated in the passage")
            if term.modality != other.modality and not (
                self.weakened and (term.modality, other.modality) == ("may", "")
            ):
                said, vetted_ = term.modality or "a plain fact", other.modality or "a plain fact"
                self.reasons.append(f"modality: {term.word} is said as {said}, the passage says {vetted_}")
            told_as_reason = (term.condition, other.condition) == ("", "because")  # a reason given is a fact given
            if term.condition != other.condition and not told_as_reason:
                said, vetted_ = term.condition or "no condition", other.condition or "no condition"
                self.reasons.append(f"order: {term.word} stands under {said}, in the passage under {vetted_}")

    def _same_pieces(self) -> None:
        """Within a piece of the claim, words keep their order and belong together in the statement too."""
        terms = self.support.terms
        for (term, place), (following, next_place) in pairwise(self.pairs):
            one, other = terms[place], terms[next_place]
            if term.segment != following.segment:
                joined = self.claim.segments[following.segment].opened_by in ("and", "or", ",")
                if one.item and other.item and one.item != other.item and not joined:
                    self.reasons.append("condition: mixes two list items")
                continue
            if next_place <= place and _phrases_swapped(term, one, following, other):
                continue
            if next_place <= place:
                self.reasons.append(f"order: {term.word} and {following.word} are the other way round in the passage")
            elif one.segment != other.segment and other.fronted and following.preposition == other.preposition:
                continue
            elif one.segment != other.segment and not self._may_join(one, other):
                self.reasons.append(f"order: {term.word} and {following.word} do not belong together in the passage")
        if len(self.used) < len(self.pairs):
            self.reasons.append("order: says twice what the passage says once")
        self._same_groups()
        self._same_joins()
        places = [place for _, place in self.pairs]
        if self.claim.in_sequence and (places != sorted(places) or not self.in_order):
            self.reasons.append("order: the passage does not have these steps in this order")
        grouped = {self.support.terms[place].sentence for _, place in self.pairs}
        if len(grouped) > 1 and any(term.group >= 0 for term in self.claim.terms):
            self.reasons.append("order: its condition and its statement come from different sentences")

    def _same_joins(self) -> None:
        """Hold "and" and "or" apart, unless an instruction denies both."""
        terms = self.support.terms
        for (term, place), (following, next_place) in pairwise(self.pairs):
            one, other = sorted((terms[place], terms[next_place]), key=lambda found: found.segment)
            if term.segment == following.segment or one.segment == other.segment or one.clause != other.clause:
                continue
            listed = one.item != other.item and other.group < 0  # items of a plain list may be joined either way
            denied = term.negated and following.negated and following.modality == "should" and other.group < 0
            said, vetted_ = _join_of(self.claim, following.segment), _join_of(self.support, other.segment)
            if one.item == 0 and other.item:  # the lead-in says how its items belong to it
                first_item = next(found.segment for found in terms if found.item)
                vetted_ = self.support.segments[first_item - 1].opened_by
            if {said, vetted_} == {"and", "or"} and not listed and not denied:
                self.reasons.append(f"order: says {said} where the passage says {vetted_}")

    def _same_groups(self) -> None:
        """Each condition of the claim is one condition of the statement, and no two are the same one."""
        theirs: dict[int, set[int]] = {}
        for term, place in self.pairs:
            if term.group >= 0:
                theirs.setdefault(term.group, set()).add(self.support.terms[place].group)
        matched = [group for groups in theirs.values() for group in groups]
        if len(set(matched)) < len(matched) or any(len(groups) > 1 for groups in theirs.values()):
            self.reasons.append("condition: mixes conditions that the passage keeps apart")

    def _may_join(self, one: Term, other: Term) -> bool:
        """Say whether a subject may be carried over to a later piece: "Most fevers … and get better"."""
        if one.sentence != other.sentence or one.quantity is not None or other.quantity is not None:
            return False
        first_of_piece = next(term for term in self.support.terms if term.segment == one.segment)
        return one is first_of_piece or self.support.terms.index(first_of_piece) in self.used

    def _nothing_lost(self) -> None:
        self._pieces_covered()
        self._sentences_covered()
        self._amounts_kept()
        self._conditions_kept()
        self._restrictions_kept()
        self._narrowed_kept()
        self._audience_kept()

    def _pieces_covered(self) -> None:
        used_segments = {self.support.terms[place].segment for place in self.used}
        lost: list[str] = []
        total = matched = 0
        for segment in used_segments:
            places = [place for place, term in enumerate(self.support.terms) if term.segment == segment]
            found = sum(place in self.used for place in places)
            total, matched = total + len(places), matched + found
            if self._shared_only(places):
                continue
            if found < MIN_SEGMENT_COVERAGE * len(places):
                lost += [self.support.terms[place].word for place in places if place not in self.used]
        if lost:
            self.reasons.append(f"meaning: leaves out {', '.join(lost[:4])}")
        alone = {term.segment for term in self.from_context} - {term.segment for term, _ in self.pairs}
        if not self.by_context:  # "For a sunburn, …" may name what the title names
            alone.discard(min(term.segment for term in self.claim.terms))
        if self.from_context and (matched < total or alone):
            words = ", ".join(term.word for term in self.from_context)
            self.reasons.append(f"word: {words} stands in the heading only")

    def _sentences_covered(self) -> None:
        """A sentence of which only a word or two is taken up lends that word to something it never said."""
        terms = self.support.terms
        for item in {terms[place].item for place in self.used} - {0}:
            places = [place for place, term in enumerate(terms) if term.item == item]
            found = sum(place in self.used for place in places)
            if found < MIN_STATEMENT_COVERAGE * len(places) and not self._shared_only(places):
                self.reasons.append("meaning: takes single words out of another list item")
        sentences = {terms[place].sentence for place in self.used}
        for sentence in sentences if len(sentences) > 1 else ():
            main = [place for place, term in enumerate(terms) if term.sentence == sentence and term.group == -1]
            if sum(place in self.used for place in main) < MIN_SEGMENT_COVERAGE * len(main):
                self.reasons.append("meaning: takes single words out of another sentence")

    def _shared_only(self, places: Sequence[int]) -> bool:
        """Say whether only the part is taken up that a piece shares with another: its subject, or its end.

        So it is in "Most fevers come from an infection and get better" for a claim about getting better.
        """
        used = [place for place in places if place in self.used]
        if used not in (list(places[: len(used)]), list(places[-len(used) :])):
            return False
        pieces = {term.segment for term, place in self.pairs if place in used}
        elsewhere = {term.segment for term, place in self.pairs if place not in places}
        return bool(pieces & elsewhere)

    def _amounts_kept(self) -> None:
        used_segments = {self.support.terms[place].segment for place in self.used}
        for place, term in enumerate(self.support.terms):
            if term.quantity is None or term.segment not in used_segments or place in self.used:
                continue
            if self._shared_only([p for p, other in enumerate(self.support.terms) if other.segment == term.segment]):
                continue
            beside = [near for near in (place - 1, place + 1) if near in self.used]
            if not any(self._is_same_amount(place, near) for near in beside):
                self.reasons.append(f"number: leaves out {term.word}")

    def _is_same_amount(self, place: int, near: int) -> bool:
        """Say whether two amounts stand for one another, as in "100.4 °F (38 °C)"."""
        one, other = self.support.terms[place], self.support.terms[near]
        return one.quantity is not None and other.quantity is not None and one.alternative != other.alternative

    def _conditions_kept(self) -> None:
        terms = self.support.terms
        clauses = {terms[place].clause for place in self.used}
        for groups in self._alternatives():
            members = [place for place, term in enumerate(terms) if term.group in groups]
            if not members or terms[members[0]].clause not in clauses or terms[members[0]].condition == "because":
                continue
            if not any(place in self.used for place in members):
                items = {terms[place].item for place in self.used}
                if terms[members[0]].item and terms[members[0]].item not in items and items - {0}:
                    continue  # belongs to another item of the list
                if not self.support.segments[terms[members[0]].segment].bracketed:
                    self.reasons.append(f"condition: leaves out {terms[members[0]].condition} {terms[members[0]].word}")
                continue
            outside = [
                place for place, term in enumerate(terms)
                if term.clause == terms[members[0]].clause and term.group == -1
            ]  # fmt: skip
            if outside and not any(place in self.used for place in outside):
                self.reasons.append("condition: says the condition without what it is for")
            for group in groups:
                self._joined_by_and([place for place in members if terms[place].group == group])

    def _alternatives(self) -> list[set[int]]:
        """Return the statement's conditions, those joined by "or if" together: one of them is enough."""
        found: list[set[int]] = []
        filled = {term.segment for term in self.support.terms}
        for number, (before, segment) in enumerate(pairwise(self.support.segments)):
            if segment.group < 0 or any(segment.group in groups for groups in found):
                continue
            or_if = before.opened_by == "or" and number not in filled and segment.opened_by in wording().conditions
            if found and or_if and self._item_of(number + 1) == self._item_of(number - 1):
                found[-1].add(segment.group)
            else:
                found.append({segment.group})
        return found

    def _item_of(self, segment: int) -> int:
        return next((term.item for term in self.support.terms if term.segment >= segment), 0)

    def _joined_by_and(self, members: Sequence[int]) -> None:
        terms = self.support.terms
        segments = list(dict.fromkeys(terms[place].segment for place in members))
        used = {terms[place].segment for place in members if place in self.used}
        lead = {terms[place].segment for place in members if terms[place].item == 0}
        items = set(segments) - lead
        both = lead and items and self.support.segments[min(items) - 1].opened_by == "and"  # "if you have a fever and:"
        if both and not (used & lead and used & items):
            self.reasons.append("condition: keeps one half of two that are joined by and")
        for one, other in pairwise(segments):
            if self.support.segments[other].opened_by == "and" and (one in used) != (other in used):
                self.reasons.append("condition: keeps one half of two that are joined by and")

    def _restrictions_kept(self) -> None:
        terms = self.support.terms
        for number, segment in enumerate(self.support.segments):
            members = [place for place, term in enumerate(terms) if term.segment == number]
            if not segment.narrows or not members or any(place in self.used for place in members):
                continue
            head = members[0] - 1
            same_sentence = [place for place in self.used if terms[place].sentence == segment.sentence]
            is_first = head < 0 or terms[head].sentence != segment.sentence
            if (is_first and same_sentence) or (not is_first and head in self.used):
                self.reasons.append(f"condition: leaves out {segment.opened_by} {terms[members[0]].word}")

    def _narrowed_kept(self) -> None:
        """What only narrows a noun says nothing without that noun."""
        used = {self.support.terms[place].segment for place in self.used}
        filled = {term.segment for term in self.support.terms}
        for segment in used:
            within = self.support.segments[segment].within
            if within in filled and within not in used:
                self.reasons.append("meaning: takes up a side remark without what it is about")

    def _audience_kept(self) -> None:
        terms = self.support.terms
        sentences = {terms[place].sentence for place in self.used}
        named = {term.key for term in terms if term.is_audience and term.sentence in sentences and term.group == -1}
        said = {term.key for term in self.claim.terms if term.is_audience}
        if named and not said & named:
            names = ", ".join(sorted(key.partition(":")[2] for key in named))
            self.reasons.append(f"audience: the passage speaks of {names}, the sentence does not")

    def _same_hedges(self) -> None:
        said = Counter(hedge.name for hedge in self.claim.hedges)
        needed = Counter(hedge.name for hedge in self.support.hedges if self._governs_used(hedge))
        for name, count in needed.items():
            if said[name] < count:
                self.reasons.append(f"{_kind_of(name)}: leaves out {name}")
        for name, count in said.items():
            if count > max(needed[name], self._hedges_before_used(name)) and not (name == "may" and self.weakened):
                self.reasons.append(f"{_kind_of(name)}: {name} is not in the passage")

    def _hedges_before_used(self, name: str) -> int:
        """Count the hedges whose list goes on to a word taken up: "may have ear pain, a fever and trouble sleeping"."""
        terms = self.support.terms
        count = 0
        for hedge in self.support.hedges:
            segment = self.support.segments[hedge.segment]
            if hedge.name == name:
                count += any(
                    terms[place].clause == segment.clause
                    and terms[place].item == segment.item
                    and terms[place].group == segment.group
                    for place in self.used
                    if place >= hedge.before
                )
        return count

    def _governs_used(self, hedge: Hedge) -> bool:
        """Say whether the words after the hedge, in its piece or else in its sentence, are taken up."""
        terms = self.support.terms
        pieces = {hedge.segment}
        if hedge.segment + 1 < len(self.support.segments) and self.support.segments[hedge.segment + 1].bracketed:
            pieces.add(hedge.segment + 1)  # "dry out (dehydration)"
        following = [p for p in range(hedge.before, len(terms)) if terms[p].segment in pieces]
        if not following:
            sentence = self.support.segments[hedge.segment].sentence
            following = [place for place, term in enumerate(terms) if term.sentence == sentence]
        return any(place in self.used for place in following)


def _join_of(reading: Reading, segment: int) -> str:
    """Return "and" or "or" for what joins a piece to the one before; a comma is read as the join that ends its list."""
    filled = {term.segment for term in reading.terms}
    while segment > 0 and reading.segments[segment].opened_by not in ("and", "or", ",") and segment - 1 not in filled:
        segment -= 1
    for later in reading.segments[segment:]:
        if later.opened_by in ("and", "or"):
            return later.opened_by
        if later.opened_by != ",":
            break
    return ""


def _phrases_swapped(term: Term, one: Term, following: Term, other: Term) -> bool:
    """Say whether two phrases only changed places: "for 20 seconds with soap", "with soap for 20 seconds"."""
    if term.about or following.about:
        return True
    apart = term.chunk != following.chunk and one.chunk != other.chunk
    return apart and term.preposition == one.preposition and following.preposition == other.preposition


def _kind_of(hedge: str) -> str:
    return "negation" if hedge == "not" else "condition" if hedge.startswith("empty") else "modality"
