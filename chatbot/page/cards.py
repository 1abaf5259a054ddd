"""Replies as HTML: every word that comes from a patient, a knowledge file or a model is escaped here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import assert_never

from chatbot.knowledge import Answer, Knowledge
from chatbot.page.frame import topics_html
from chatbot.page.review import review_line
from chatbot.page.support import passage_html
from chatbot.page.words import Words, fill
from chatbot.reply import Citation, Outcome, Reply, Sentence
from chatbot.text import MARKDOWN, split_sentences

MAX_RELATED = 4
MAX_TOPICS = 3


@dataclass(frozen=True, slots=True)
class Setting:
    """What a turn is shown with."""

    knowledge: Knowledge  # in the language of the page
    words: Words
    code: str = "en"  # the language's
    languages: Callable[[str], tuple[Knowledge, Words] | None] = lambda _code: None  # the others, by code
    asks_for_a_word: bool = False  # after "no" to "was this helpful?": only where somebody will read it


def turn_html(reply: Reply, setting: Setting, *, number: int, newest: bool = True, finished: bool = True) -> str:
    """Return one turn: what was asked, and what was answered so far.

    Args:
        reply: What may be shown.
        setting: Language and knowledge.
        number: Makes the turn's ids unique on the page.
        newest: An alert is spoken and buttons are offered in the newest turn alone.
        finished: Nothing will be added to it.
    """
    setting = spoken_setting(reply, setting)
    words = setting.words
    body = _body(reply, setting, number, newest=newest)
    more = _offers(reply, setting, number) if newest and finished else ""
    lang = f'lang="{escape(reply.language or setting.code)}" dir="{words.direction}"'
    return (
        f'<article class="turn" id="turn-{number}" {lang} tabindex="-1" aria-label="{escape(words.you_asked)}: '
        f'{escape(reply.question[:80])}"><p class="asked" dir="auto"><span class="who">{escape(words.you_asked)}</span> '
        f"{escape(reply.question)}</p>{body}{more}</article>"
    )


def spoken_setting(reply: Reply, setting: Setting) -> Setting:
    """Return the setting in the language of the reply, where the page has its words; else in the page's own."""
    found = setting.languages(reply.language) if reply.language not in ("", setting.code) else None
    return replace(setting, knowledge=found[0], words=found[1], code=reply.language) if found else setting


def _body(reply: Reply, setting: Setting, number: int, *, newest: bool) -> str:
    heading = setting.words.heading(reply.outcome)
    match reply.outcome:
        case Outcome.EMERGENCY | Outcome.CRISIS:
            role = 'role="alert"' if newest else ""
            return _fixed_card(reply, heading, css=f"card alert {reply.outcome.value}", attributes=role)
        case Outcome.DID_YOU_MEAN:
            return _fixed_card(reply, heading, css="card fixed did_you_mean", more=_candidates(reply, setting, newest))
        case Outcome.NO_ANSWER:
            near = _nearest_topics(reply, setting) if newest else ""
            return _fixed_card(reply, heading, css="card fixed no_answer", more=near)
        case Outcome.DECLINED | Outcome.GREETING:
            return _fixed_card(reply, heading, css=f"card fixed {reply.outcome.value}")
        case Outcome.ANSWERED:
            answer = setting.knowledge.answers.get(reply.citations[0].id)
            if answer is None:
                return f'<section class="card fixed"><p>{escape(setting.words.withdrawn)}</p></section>'
            before = _fixed_lines([sentence for sentence in reply.sentences if sentence.origin == "fixed"])
            return before + _vetted_card(reply, answer, setting, number) + _worded(reply, setting, number)
        case _:
            assert_never(reply.outcome)


def _fixed_card(reply: Reply, heading: str, *, css: str, attributes: str = "", more: str = "") -> str:
    lines = [sentence for sentence in reply.sentences if sentence.origin == "fixed"]
    return f'<section class="{css}" {attributes}><h2>{escape(heading)}</h2>{_fixed_lines(lines)}{more}</section>'


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


def _nearest_topics(reply: Reply, setting: Setting) -> str:
    """Return the topics that came closest, to be opened to their questions."""
    topics = list(dict.fromkeys(hit.id.rpartition("/")[0] for hit in reply.hits))[:MAX_TOPICS]
    html = topics_html(topics, setting.knowledge)
    return f'<div class="near topics"><p>{escape(setting.words.nearest_topics)}</p>{html}</div>' if html else ""


def _candidates(reply: Reply, setting: Setting, newest: bool) -> str:
    """Return the answers to choose from, each with its first vetted sentence, so that one can see which fits."""
    answers = setting.knowledge.answers
    choices = [(citation.id, citation.title) for citation in reply.citations if citation.id in answers]
    if not newest:
        return f"<p>{escape(' · '.join(title for _, title in choices))}</p>"
    return choice_buttons(
        choices, setting.code, [(split_sentences(answers[id_].lead) or [""])[0] for id_, _ in choices]
    )


def choice_buttons(choices: Sequence[tuple[str, str]], code: str, previews: Sequence[str] = ()) -> str:
    """Return a button for each answer (id, title) in that language: it shows that very answer."""
    buttons = "".join(
        f'<li><button type="button" class="choice" data-do="choose" data-language="{escape(code)}" '
        f'data-answer="{escape(id_)}">{escape(title)}</button>'
        + (f'<p class="preview">{escape(preview)}</p>' if preview else "")
        + "</li>"
        for (id_, title), preview in zip(choices, [*previews, *[""] * len(choices)], strict=False)
    )
    return f'<ul class="choices">{buttons}</ul>'


def _vetted_card(reply: Reply, answer: Answer, setting: Setting, number: int) -> str:
    words = setting.words
    text, care = split_care(answer.text, words.care_heading)
    care_html = (
        f'<div class="care" role="group" aria-labelledby="care-{number}">{care_part(care, number)}</div>'
        if care
        else ""
    )
    return (
        f'<section class="card vetted" id="vetted-{number}"><p class="kind">{escape(words.heading_answered)}</p>'
        f'<h2>{escape(answer.title)}</h2><div class="text">{markdown_html(text)}</div>{care_html}'
        f"{source_html(reply.citations[0], words, setting.knowledge.texts.being_reviewed)}{_tools(number, setting)}</section>"
    )


def care_part(care: str, number: int) -> str:
    """Return the "When to get help" part with its heading as the section's name."""
    return markdown_html(care).replace("<h3>", f'<h3 id="care-{number}">', 1)


def _tools(number: int, setting: Setting) -> str:
    words = setting.words
    return (
        '<p class="card-tools">'
        f'<button type="button" data-do="shorten" data-for="vetted-{number}" aria-pressed="false" '
        f'data-on="{escape(words.in_full)}" data-off="{escape(words.in_short)}">{escape(words.in_short)}</button>'
        f'<button type="button" data-do="speak" data-for="vetted-{number}" data-lang="{escape(setting.code)}" hidden '
        f'data-on="{escape(words.stop_reading)}" data-off="{escape(words.read_aloud)}">{escape(words.read_aloud)}</button></p>'
    )


def _worded(reply: Reply, setting: Setting, number: int) -> str:
    sentences = [sentence for sentence in reply.sentences if sentence.origin == "generated"]
    if not sentences:
        return ""
    said = "".join(_said(sentence, setting, f"{number}-{place}") for place, sentence in enumerate(sentences))
    return f'<section class="card worded"><p class="kind">{escape(setting.words.worded)}</p>{said}</section>'


def _said(sentence: Sentence, setting: Setting, key: str) -> str:
    """Return a worded sentence with the mark that opens the vetted sentence it rests on."""
    words = setting.words
    answer = setting.knowledge.answers.get(str(sentence.citation))
    if answer is None:
        return ""  # what it rests on has been withdrawn
    return (
        f'<p>{escape(sentence.text)} <button type="button" class="mark" data-do="reveal" aria-expanded="false" '
        f'aria-controls="support-{key}" aria-label="{escape(words.worded_mark)}">'
        '<span aria-hidden="true">i</span></button></p>'
        f'<div class="support" id="support-{key}" hidden><p class="kind">'
        f"{escape(fill(words.worded_source, title=answer.title))}</p>{passage_html(answer.text, sentence.support)}</div>"
    )


def _offers(reply: Reply, setting: Setting, number: int) -> str:
    """Return what may be done next: related questions, and saying whether it helped."""
    if reply.outcome is not Outcome.ANSWERED or reply.citations[0].id not in setting.knowledge.answers:
        return ""
    words, answers = setting.words, setting.knowledge.answers
    related = [(id_, answers[id_].title) for id_ in answers[reply.citations[0].id].see_also if id_ in answers]
    html = ""
    if related:
        html = f'<nav class="related" aria-label="{escape(words.related)}"><h3>{escape(words.related)}</h3>'
        html += f"{choice_buttons(related[:MAX_RELATED], setting.code)}</nav>"
    return html + _helpful(setting, number)


def _helpful(setting: Setting, number: int) -> str:
    words, clinic = setting.words, setting.knowledge.clinic
    sorry = fill(words.helpful_sorry, phone=clinic.phone, hours=clinic.hours)
    form = (
        f'<label for="word-{number}">{escape(words.helpful_word)}</label>'
        f'<input id="word-{number}" maxlength="200" autocomplete="off">'
        f'<button type="button" data-do="helpful" data-helpful="no">{escape(words.helpful_send)}</button>'
        if setting.asks_for_a_word
        else ""
    )
    return (
        f'<div class="helpful" data-turn="{number}"><p id="helpful-{number}">{escape(words.helpful)}</p>'
        f'<div role="group" aria-labelledby="helpful-{number}">'
        f'<button type="button" data-do="helpful" data-helpful="yes">{escape(words.helpful_yes)}</button>'
        f'<button type="button" data-do="unhelpful">{escape(words.helpful_no)}</button></div>'
        f'<div class="thanks" role="status" data-thanks="{escape(words.helpful_thanks)}" data-sorry="{escape(sorry)}"></div>'
        f'<div class="word" hidden>{form}</div></div>'
    )


def source_html(citation: Citation, words: Words, being_reviewed: str, *, address: bool = False) -> str:
    """Return where an answer comes from, and whether a clinician vouches for it; on paper with the address."""
    state = review_line(citation, words, being_reviewed)
    where = f" ({escape(citation.url)})" if address else ""
    return f'<p class="source">{escape(words.source)} {_link(citation)}{where}. <span class="review">{escape(state)}</span></p>'


def _link(citation: Citation) -> str:
    name = f"{citation.publisher}: {citation.title}"
    if not citation.url.startswith(("https://", "http://")):
        return escape(name)
    return f'<a href="{escape(citation.url)}" target="_blank" rel="noopener noreferrer">{escape(name)}</a>'


def split_care(markdown: str, heading: str = "When to get help") -> tuple[str, str]:
    """Return an answer's text without and from its "When to get help" heading on; that part gets its own card."""
    lines = markdown.splitlines()
    for place, line in enumerate(lines):
        if line.startswith("#") and line.strip("# ").casefold() == heading.casefold():
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
