"""Replies as HTML: every word that comes from a patient, a knowledge file or a model is escaped here."""

from collections.abc import Sequence
from html import escape
from typing import assert_never

from chatbot.knowledge import Answer, Knowledge
from chatbot.reply import Citation, Outcome, Reply, Sentence
from chatbot.text import MARKDOWN

CARE_HEADING = "when to get help"

HEADINGS = {
    Outcome.ANSWERED: "From the clinic's answers",
    Outcome.DID_YOU_MEAN: "Which one did you mean?",
    Outcome.NO_ANSWER: "No answer to this yet",
    Outcome.EMERGENCY: "Get help now",
    Outcome.CRISIS: "Help is there for you now",
    Outcome.DECLINED: "A person should answer this",
    Outcome.GREETING: "Hello",
}


def turn_html(reply: Reply, knowledge: Knowledge, *, number: int) -> str:
    """Return one turn: what was asked, and what was answered so far. ``number`` makes its ids unique."""
    body = _body(reply, knowledge, number)
    return (
        f'<article class="turn" id="turn-{number}"><p class="asked"><span class="who">You asked</span> '
        f"{escape(reply.question)}</p>{body}</article>"
    )


def _body(reply: Reply, knowledge: Knowledge, number: int) -> str:
    heading = HEADINGS[reply.outcome]
    match reply.outcome:
        case Outcome.EMERGENCY | Outcome.CRISIS:
            return _fixed_card(reply, heading, css=f"card alert {reply.outcome.value}", attributes='role="alert"')
        case Outcome.NO_ANSWER | Outcome.DECLINED | Outcome.GREETING | Outcome.DID_YOU_MEAN:
            return _fixed_card(reply, heading, css=f"card fixed {reply.outcome.value}")
        case Outcome.ANSWERED:
            answer = knowledge.answers.get(reply.citations[0].id)
            vetted = _vetted_card(reply, answer, number) if answer else _gone_card()
            return vetted + _worded(reply, number)
        case _:
            assert_never(reply.outcome)


def _fixed_card(reply: Reply, heading: str, *, css: str, attributes: str = "") -> str:
    lines = [sentence for sentence in reply.sentences if sentence.origin == "fixed"]
    return f'<section class="{css}" {attributes}><h2>{escape(heading)}</h2>{_fixed_lines(lines)}</section>'


def _fixed_lines(sentences: Sequence[Sentence]) -> str:
    parts: list[str] = []
    in_list = False
    for sentence in sentences:
        is_item = sentence.text.startswith("- ")
        if is_item != in_list:
            parts.append("<ul>" if is_item else "</ul>")
            in_list = is_item
        text = escape(sentence.text.removeprefix("- "))
        parts.append(f"<li>{text}</li>" if is_item else f"<p>{text}</p>")
    return "".join(parts) + ("</ul>" if in_list else "")


def _vetted_card(reply: Reply, answer: Answer, number: int) -> str:
    text, care = split_care(answer.text)
    care_html = f'<section class="care">{markdown_html(care)}</section>' if care else ""
    return (
        f'<section class="card vetted" id="vetted-{number}"><p class="kind">{HEADINGS[Outcome.ANSWERED]}</p>'
        f"<h2>{escape(answer.title)}</h2>{markdown_html(text)}{care_html}{_source(reply.citations[0])}</section>"
    )


def _gone_card() -> str:
    return '<section class="card fixed"><p>The clinic has withdrawn this answer.</p></section>'


def _worded(reply: Reply, number: int) -> str:
    sentences = [sentence for sentence in reply.sentences if sentence.origin == "generated"]
    if not sentences:
        return ""
    places = {citation.id: place for place, citation in enumerate(reply.citations, 1)}
    marks = "".join(
        f'<p>{escape(sentence.text)} <a class="mark" href="#vetted-{number}" '
        f'aria-label="Source {places[str(sentence.citation)]}">[{places[str(sentence.citation)]}]</a></p>'
        for sentence in sentences
    )
    others = "".join(
        f"<li>[{place}] {escape(citation.title)}: {_link(citation)}</li>"
        for place, citation in enumerate(reply.citations, 1)
        if place > 1
    )
    notes = f'<ul class="sources">{others}</ul>' if others else ""
    return (
        '<section class="card worded"><p class="kind">Picked for your question by software, and checked against the text above'
        f"</p>{marks}{notes}</section>"
    )


def _source(citation: Citation) -> str:
    reviewed = f"Reviewed {citation.reviewed}. Next review {citation.due}."
    state = reviewed if citation.reviewed else "Demonstration text, not reviewed by a clinician."
    return f'<p class="source">Source: {_link(citation)}. <span class="review">{escape(state)}</span></p>'


def _link(citation: Citation) -> str:
    name = f"{citation.publisher}: {citation.title}"
    if not citation.url.startswith(("https://", "http://")):
        return escape(name)
    return f'<a href="{escape(citation.url)}" target="_blank" rel="noopener noreferrer">{escape(name)}</a>'


def split_care(markdown: str) -> tuple[str, str]:
    """Return an answer's text without and from its "When to get help" heading on; that part gets its own card."""
    lines = markdown.splitlines()
    for place, line in enumerate(lines):
        if line.startswith("#") and line.strip("# ").casefold() == CARE_HEADING:
            return "\n".join(lines[:place]), "\n".join(lines[place:])
    return markdown, ""


def markdown_html(markdown: str) -> str:
    """Return the Markdown as HTML: no raw HTML, no images, headings one level below the card's own."""
    tokens = MARKDOWN.parse(markdown)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = "h3"
        for child in token.children or []:
            if child.type == "image":
                child.type, child.tag, child.children = "text", "", None
    return str(MARKDOWN.renderer.render(tokens, MARKDOWN.options, {}))
