"""A passage as the statements that a sentence may rest on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from chatbot.grounding.clauses import read
from chatbot.grounding.wording import wording
from chatbot.text import Block, markdown_blocks, split_sentences


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
        if (free or (_only_denies(lead) and _denies(first))) and read(first).terms and is_sentence(first):
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


def _only_denies(lead: str) -> bool:
    """Say whether a lead-in adds nothing but a "not": "What to avoid"."""
    reading = read(lead)
    conditional = any(segment.group >= 0 for segment in reading.segments)
    last = lead.casefold().split()[-1:]
    return not (
        conditional or {*last} & wording().conditions.keys() or any(t.is_audience or t.quantity for t in reading.terms)
    )


def _denies(text: str) -> bool:
    """Say whether an item forbids something by itself: "Do not use teething necklaces"."""
    terms = read(text).terms
    return bool(terms) and terms[0].negated and terms[0].modality == "should"


def is_sentence(text: str) -> bool:
    """Say whether the text has a verb and enough words to be a sentence and not a heading or a list item."""
    reading = read(text)
    return reading.has_verb and bool(reading.terms)


def _closed(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _lower_first(text: str) -> str:
    return text if len(text) > 1 and text[1].isupper() else text[:1].lower() + text[1:]
