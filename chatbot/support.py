"""A passage as the statements that a sentence may rest on, and whether one of them carries it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from chatbot.clauses import Reading, Term, read
from chatbot.text import Block, markdown_blocks, split_sentences
from chatbot.wording import wording

MIN_SEGMENT_COVERAGE = 0.5  # of the words of each piece of the statement that a sentence takes up
MIN_STATEMENT_COVERAGE = 0.3


@dataclass(frozen=True, slots=True)
class Statement:
    """One or two vetted sentences, or a list item with the line that leads to it."""

    text: str
    context: frozenset[str]  # keys of the title and heading above it


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
            statements.append(Statement(text, context))
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
    if heading:
        yield from ((f"{heading}: {item[0]}", False) for item in items)


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
        join = ", or " if read(lead).segments[-1].group >= 0 else ", and "
        yield f"{lead} {join.join(_lower_first(first) for first in firsts)}.", False


def _leads(heading: str) -> bool:
    """Say whether items under this heading mean nothing, or the opposite, without it."""
    reading = read(heading)
    last_word = heading.casefold().split()[-1] if heading else ""
    if heading.endswith("?"):
        return False
    return last_word in wording().conditions or (
        bool(reading.terms)
        and (any(term.negated for term in reading.terms) or any(term.is_audience for term in reading.terms))
    )


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
    return text if text[:2].isupper() or text[:2] == "I " else text[:1].lower() + text[1:]


# How a sentence and a statement compare.


def objections(claim: Reading, statement: Statement) -> tuple[str, ...]:
    """Return why the statement does not carry the claim; empty when it does."""
    support = read(statement.text)
    return _Comparison(claim, support, statement.context).objections()


class _Comparison:
    """One claim laid over one statement."""

    def __init__(self, claim: Reading, support: Reading, context: frozenset[str]) -> None:
        self.claim = claim
        self.support = support
        self.context = context
        self.from_context: list[Term] = []
        self.reasons: list[str] = []

    def objections(self) -> tuple[str, ...]:
        candidates = [self._candidates(term) for term in self.claim.terms]
        self._foreign(candidates)
        kept = [(term, places) for term, places in zip(self.claim.terms, candidates, strict=True) if places]
        if not kept:
            return tuple(self.reasons) or ("meaning: nothing of the passage is said",)
        self.pairs = list(zip([term for term, _ in kept], self._align(kept), strict=True))
        self.used = {place for _, place in self.pairs}
        self._governed_alike()
        self._same_pieces()
        self._nothing_lost()
        self._same_hedges()
        return tuple(dict.fromkeys(self.reasons))

    def _candidates(self, term: Term) -> list[int]:
        places = []
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
            if term.negated != other.negated:
                self.reasons.append(f"negation: {term.word} is {'not ' * (not other.negated)}negated in the passage")
            if term.modality != other.modality:
                said, vetted_ = term.modality or "a plain fact", other.modality or "a plain fact"
                self.reasons.append(f"modality: {term.word} is said as {said}, the passage says {vetted_}")
            if term.condition != other.condition:
                said, vetted_ = term.condition or "no condition", other.condition or "no condition"
                self.reasons.append(f"order: {term.word} stands under {said}, in the passage under {vetted_}")

    def _same_pieces(self) -> None:
        """Within a piece of the claim, words keep their order and belong together in the statement too."""
        terms = self.support.terms
        for (term, place), (following, next_place) in pairwise(self.pairs):
            if term.segment != following.segment:
                continue
            one, other = terms[place], terms[next_place]
            if next_place <= place:
                self.reasons.append(f"order: {term.word} and {following.word} are the other way round in the passage")
            elif one.segment != other.segment and not self._may_join(one, other):
                self.reasons.append(f"order: {term.word} and {following.word} do not belong together in the passage")
        grouped = {self.support.terms[place].sentence for _, place in self.pairs}
        if len(grouped) > 1 and any(term.group >= 0 for term in self.claim.terms):
            self.reasons.append("order: its condition and its statement come from different sentences")

    def _may_join(self, one: Term, other: Term) -> bool:
        """Say whether a subject may be carried over to a later piece: "Most fevers … and get better"."""
        if one.sentence != other.sentence:
            return False
        first_of_piece = next(term for term in self.support.terms if term.segment == one.segment)
        return one is first_of_piece or self.support.terms.index(first_of_piece) in self.used

    def _nothing_lost(self) -> None:
        self._pieces_covered()
        self._amounts_kept()
        self._conditions_kept()
        self._restrictions_kept()
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
        if self.from_context and matched < total:
            words = ", ".join(term.word for term in self.from_context)
            self.reasons.append(f"word: {words} stands in the heading only")

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
            beside = [near for near in (place - 1, place + 1) if near in self.used]
            if not any(self._is_same_amount(place, near) for near in beside):
                self.reasons.append(f"number: leaves out {term.word}")

    def _is_same_amount(self, place: int, near: int) -> bool:
        """Say whether two amounts stand for one another, as in "100.4 °F (38 °C)"."""
        one, other = self.support.terms[place], self.support.terms[near]
        bracketed = self.support.segments[one.segment].bracketed != self.support.segments[other.segment].bracketed
        return one.quantity is not None and other.quantity is not None and bracketed

    def _conditions_kept(self) -> None:
        terms = self.support.terms
        sentences = {terms[place].sentence for place in self.used}
        for group in {term.group for term in terms if term.group >= 0 and term.sentence in sentences}:
            members = [place for place, term in enumerate(terms) if term.group == group]
            if terms[members[0]].condition == "because":
                continue
            if not any(place in self.used for place in members):
                self.reasons.append(f"condition: leaves out {terms[members[0]].condition} {terms[members[0]].word}")
                continue
            outside = [
                place for place, term in enumerate(terms)
                if term.sentence == terms[members[0]].sentence and term.group == -1
            ]  # fmt: skip
            if outside and not any(place in self.used for place in outside):
                self.reasons.append("condition: says the condition without what it is for")
            self._joined_by_and(members)

    def _joined_by_and(self, members: Sequence[int]) -> None:
        terms = self.support.terms
        segments = list(dict.fromkeys(terms[place].segment for place in members))
        used = {terms[place].segment for place in members if place in self.used}
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

    def _audience_kept(self) -> None:
        terms = self.support.terms
        sentences = {terms[place].sentence for place in self.used}
        named = {term.key for term in terms if term.is_audience and term.sentence in sentences and term.group == -1}
        said = {term.key for term in self.claim.terms if term.is_audience}
        if named and not said & named:
            names = ", ".join(sorted(key.partition(":")[2] for key in named))
            self.reasons.append(f"audience: the passage speaks of {names}, the sentence does not")

    def _same_hedges(self) -> None:
        said = {hedge.name for hedge in self.claim.hedges}
        used_segments = {self.support.terms[place].segment for place in self.used}
        everywhere = {hedge.name for hedge in self.support.hedges}
        for hedge in self.support.hedges:
            if (
                hedge.segment in used_segments
                and hedge.name not in said
                and self._governs_used(hedge.segment, hedge.before)
            ):
                self.reasons.append(f"modality: leaves out {hedge.name}")
        for name in said - everywhere:
            self.reasons.append(f"modality: {name} is not in the passage")

    def _governs_used(self, segment: int, before: int) -> bool:
        following = [p for p in range(before, len(self.support.terms)) if self.support.terms[p].segment == segment]
        return not following or any(place in self.used for place in following)
