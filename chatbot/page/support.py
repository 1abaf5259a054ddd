"""The vetted sentences that a worded one rests on, marked in the paragraphs they stand in."""

import re
from collections.abc import Sequence
from html import escape

from chatbot.grounding.statements import plain_form
from chatbot.text import Block, markdown_blocks, split_sentences


def passage_html(markdown: str, support: Sequence[str]) -> str:
    """Return the paragraphs, list items and lead-in lines of an answer that hold the statements, these marked.

    Args:
        markdown: The vetted answer's text.
        support: Vetted statements as grounding gives them: one or two sentences, or an item behind its lead-in.
    """
    carried = [plain_form(statement) for statement in support]
    shown = [html for block in markdown_blocks(markdown) if (html := _marked(block, carried))]
    return "".join(shown) or "".join(f"<p><mark>{escape(statement)}</mark></p>" for statement in support)


def _marked(block: Block, carried: Sequence[str]) -> str:
    """Return the block with the sentences marked that a statement is made of; empty when it has none."""
    sentences = split_sentences(block.text)
    found = [_is_in(sentence, carried) for sentence in sentences]
    if not any(found):
        return ""
    html = " ".join(
        f"<mark>{escape(sentence)}</mark>" if is_found else escape(sentence)
        for sentence, is_found in zip(sentences, found, strict=True)
    )
    return f"<p>{'• ' if block.kind == 'item' else ''}{html}</p>"


def _is_in(sentence: str, carried: Sequence[str]) -> bool:
    whole = re.compile(rf"(?<!\w){re.escape(plain_form(sentence))}(?!\w)")
    return any(whole.search(statement) for statement in carried)
