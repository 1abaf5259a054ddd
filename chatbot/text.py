"""Plain text out of Markdown, and sentences out of plain text."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from markdown_it import MarkdownIt

# Raw HTML stays visible text: a knowledge file can never put a tag on the page.
MARKDOWN = MarkdownIt("commonmark", {"html": False, "linkify": False})

ABBREVIATIONS = ("e.g.", "i.e.", "Dr.", "Mr.", "Mrs.", "Ms.", "St.", "vs.", "No.", "approx.", "a.m.", "p.m.", "U.S.")
_PLAIN_START = re.compile(r"(?:\A|\n[ \t]*\n)[^\W\d_]")  # a letter after an empty line: always a paragraph
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z0-9¿¡])")


@dataclass(frozen=True, slots=True)
class Block:
    """One heading, paragraph or list item of a Markdown text, as plain text."""

    kind: Literal["heading", "paragraph", "item"]
    text: str
    number: int | None = None  # the place in a numbered list, from 1


@lru_cache(maxsize=4096)
def markdown_blocks(markdown: str) -> tuple[Block, ...]:
    """Return the text's blocks in reading order; nested lists come out flat."""
    blocks: list[Block] = []
    numbers: list[int | None] = []
    kind: Literal["heading", "paragraph", "item"] = "paragraph"
    for token in MARKDOWN.parse(markdown):
        match token.type:
            case "heading_open":
                kind = "heading"
            case "heading_close":
                kind = "paragraph"
            case "ordered_list_open":
                numbers.append(int(token.attrGet("start") or 1) - 1)
            case "bullet_list_open":
                numbers.append(None)
            case "ordered_list_close" | "bullet_list_close":
                numbers.pop()
            case "list_item_open":
                if numbers[-1] is not None:
                    numbers[-1] += 1
            case "inline":
                text = " ".join(_inline_text(token.children or []).split())
                in_list = bool(numbers) and kind != "heading"
                blocks.append(Block("item" if in_list else kind, text, numbers[-1] if in_list else None))
            case "code_block" | "fence":
                blocks.append(Block("paragraph", " ".join(token.content.split())))
            case _:
                pass
    return tuple(block for block in blocks if block.text)


def _inline_text(tokens: list) -> str:  # type: ignore[type-arg]
    parts = []
    for token in tokens:
        if token.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif token.type == "image":
            parts.append(token.content)
        else:
            parts.append(token.content)
    return "".join(parts)


def plain_text(markdown: str) -> str:
    """Return readable plain text: one block a line, list items marked with a dash or their number."""
    return "\n".join(mark_item(block) for block in markdown_blocks(markdown))


def mark_item(block: Block) -> str:
    """Return the block's text, with its dash or number in front when it is a list item."""
    if block.kind != "item":
        return block.text
    return f"{block.number}. {block.text}" if block.number is not None else f"- {block.text}"


def lead_paragraph(markdown: str) -> str:
    """Return the first paragraph as plain text, or an empty string."""
    return next((block.text for block in markdown_blocks(markdown) if block.kind == "paragraph"), "")


def has_paragraph(markdown: str) -> bool:
    """Say whether the text has a paragraph; much faster than ``lead_paragraph`` for text that begins as it should."""
    return _PLAIN_START.search(markdown) is not None or bool(lead_paragraph(markdown))


def markdown_sentences(markdown: str) -> list[str]:
    """Return every sentence and list item of a Markdown text, in order, headings included."""
    return [sentence for block in markdown_blocks(markdown) for sentence in split_sentences(block.text)]


def split_sentences(text: str) -> list[str]:
    """Return the sentences of one paragraph; abbreviations and decimals do not end one."""
    sentences: list[str] = []
    for piece in _pieces(text):
        if sentences and sentences[-1].endswith(ABBREVIATIONS):
            sentences[-1] = f"{sentences[-1]} {piece}"
        else:
            sentences.append(piece)
    return sentences


def _pieces(text: str) -> Iterator[str]:
    start = 0
    for match in _SENTENCE_END.finditer(text):
        yield text[start : match.start()].strip() + match.group().rstrip()
        start = match.end()
    if rest := text[start:].strip():
        yield rest


def clean_message(text: str, *, limit: int) -> str:
    """Return a patient's message made fit to read: no control characters, one kind of space, cut at ``limit``.

    Unicode is composed (NFC) and bidirectional overrides are removed, so that what staff and rules
    see is what the patient saw.
    """
    composed = unicodedata.normalize("NFC", text[: 4 * limit])
    kept = "".join(
        c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co") else " " for c in composed
    )
    return " ".join(kept.split())[:limit]
