"""A sentence laid over a vetted statement: which word of the one stands for which word of the other."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chatbot.grounding.clauses import read
from chatbot.grounding.statements import Statement
from chatbot.grounding.terms import Reading, Term

_FREQUENCIES = {"often", "usually", "sometimes", "some", "many", "most"}
Pair = tuple[Term, int]  # a term of the claim and the place of its counterpart in the statement


@dataclass(frozen=True, slots=True)
class Overlay:
    """One claim laid over one statement."""

    claim: Reading
    support: Reading
    pairs: tuple[Pair, ...]  # in the claim's order
    foreign: tuple[str, ...]  # why words of the claim have no counterpart
    from_context: tuple[Term, ...]  # words of the claim that stand in the title or heading only
    context: frozenset[str]  # what the words of the title and heading are compared by
    in_order: bool  # the statement is one of steps that follow each other
    titled: frozenset[str]  # words that are read as the title means them, although the statement has them too

    @property
    def used(self) -> frozenset[int]:
        """Places of the statement that the claim takes up."""
        return frozenset(place for _, place in self.pairs)

    @property
    def weakened(self) -> bool:
        """Whether the claim says how often: "can often help" is no more than "often helps"."""
        return bool({hedge.name for hedge in self.claim.hedges} & _FREQUENCIES)

    def places_of(self, **wanted: int) -> list[int]:
        """Return the statement's places whose fields have these values: ``segment=3``, ``item=1``."""
        return [
            place
            for place, term in enumerate(self.support.terms)
            if all(getattr(term, name) == value for name, value in wanted.items())
        ]


def lay_over(claim: Reading, statement: Statement, *, titled: frozenset[str] = frozenset()) -> Overlay:
    """Return the claim's words with their counterparts in the statement, so that the two run alike."""
    support = read(statement.text)
    candidates = [_candidates(term, support, titled) for term in claim.terms]
    foreign, from_context = _foreign(claim, support, candidates, statement.context)
    kept = [(term, places) for term, places in zip(claim.terms, candidates, strict=True) if places]
    pairs: list[Pair] = []
    if kept:
        pairs = list(zip([term for term, _ in kept], _align(kept, support), strict=True))
        pairs = _spread(pairs, {id(term): places for term, places in kept})
    in_order = statement.in_order or support.in_sequence
    return Overlay(
        claim, support, tuple(pairs), tuple(foreign), tuple(from_context), statement.context, in_order, titled
    )


def strays(laid: Overlay) -> frozenset[str]:
    """Return words whose counterpart stands in another clause than those of most words."""
    clauses = Counter(laid.support.terms[place].clause for _, place in laid.pairs)
    main = max(clauses, key=lambda clause: clauses[clause], default=0)
    return frozenset(term.key for term, place in laid.pairs if laid.support.terms[place].clause != main)


def _candidates(term: Term, support: Reading, titled: frozenset[str]) -> list[int]:
    if term.quantity is None and not term.is_audience and term.key in titled:
        return []
    places: list[int] = []
    for place, other in enumerate(support.terms):
        if term.quantity is not None:
            if other.quantity is not None and term.quantity.same_as(other.quantity):
                places.append(place)
        elif term.key == other.key:
            places.append(place)
    return places


def _foreign(
    claim: Reading, support: Reading, candidates: Sequence[Sequence[int]], context: frozenset[str]
) -> tuple[list[str], list[Term]]:
    """Return why terms without a counterpart are not of this statement, and those that its title has."""
    reasons: list[str] = []
    from_context: list[Term] = []
    found = [term for term, places in zip(claim.terms, candidates, strict=True) if places]
    said, groups = {term.segment for term in found}, {term.group for term in found} | {-1}
    free = {other.key for other in support.terms if other.light} - {term.key for term in claim.terms}
    for term, places in zip(claim.terms, candidates, strict=True):
        if term.key == "one" and not places and term.group in groups:
            continue  # "the first visit is the longest one"
        denied = support.has_avoid and term.negated  # "do not eat fish" for "avoid fish"
        if places or (term.light and term.group in groups and (term.segment in said or free or denied)):
            continue  # "put cream on" and "use cream" are one, "avoid smoke" and "do not breathe smoke" are not
        if term.quantity is not None:
            reasons.append(f"number: {term.word} is not in the passage like that")
        elif term.is_audience:
            reasons.append(f"audience: {term.word} is not who the passage speaks of")
        elif term.key in context:
            from_context.append(term)
        else:
            reasons.append(f"word: {term.word} is not in that part of the passage")
    return reasons, from_context


def _align(kept: Sequence[tuple[Term, Sequence[int]]], support: Reading) -> list[int]:
    """Return the place of each kept term in the statement, so that the two run alike (Viterbi)."""
    best: list[dict[int, tuple[float, int]]] = []
    before: Term | None = None
    for term, places in kept:
        row: dict[int, tuple[float, int]] = {}
        for place in places:
            own = _mismatch(term, support.terms[place])
            if not best:
                row[place] = (own, -1)
                continue
            same_piece = before is not None and before.segment == term.segment
            row[place] = min(
                (cost + own + _step(support, last, place, same_piece), last) for last, (cost, _) in best[-1].items()
            )
        best.append(row)
        before = term
    place = min(best[-1], key=lambda place: best[-1][place][0])
    path = [place]
    for row in reversed(best[1:]):
        place = row[path[-1]][1]
        path.append(place)
    return path[::-1]


def _spread(pairs: Sequence[Pair], candidates: Mapping[int, Sequence[int]]) -> list[Pair]:
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


def _mismatch(term: Term, other: Term) -> float:
    return (
        4.0 * (term.negated != other.negated) + 2.0 * (term.modality != other.modality)
        + 2.0 * (term.condition != other.condition)
    )  # fmt: skip


def _step(support: Reading, last: int, place: int, same_piece: bool) -> float:
    one, other = support.terms[last], support.terms[place]
    if place == last:
        return 3.0
    cost = 0.1 * abs(one.segment - other.segment) + 1.0 * (one.sentence != other.sentence)
    if same_piece:
        cost += 2.0 * (place < last) + 0.5 * (one.segment != other.segment)
    return cost
