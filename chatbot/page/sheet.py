"""The take-away sheet: what was asked, the vetted answers word for word, and what to ask at the visit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape

from chatbot.knowledge import Answer, Knowledge
from chatbot.page.cards import Setting, markdown_html, source_html, spoken_setting
from chatbot.page.words import Words, fill
from chatbot.reply import Citation, Outcome, Reply
from chatbot.text import split_sentences

MAX_SUMMARY_SENTENCES = 3  # a turn, where no checked sentence of a model is there


@dataclass(frozen=True, slots=True)
class SheetEntry:
    """One question and what was shown for it: a vetted answer, or fixed lines (an emergency card)."""

    question: str
    answer: Answer | None = None
    citation: Citation | None = None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sheet:
    """A whole sheet as plain values; it is made anew whenever somebody wants it, and kept nowhere."""

    day: date
    summary: tuple[str, ...]  # each line stood in the conversation, word for word
    entries: tuple[SheetEntry, ...]
    unanswered: tuple[str, ...]  # the patient's own questions that the answers did not cover
    visit_questions: tuple[str, ...]


def sheet_of(replies: Sequence[Reply], setting: Setting, *, day: date) -> Sheet:
    """Return the sheet of a conversation; an answer that was shown twice stands on it once."""
    entries: list[SheetEntry] = []
    summary: list[str] = []
    unanswered: list[str] = []
    seen: set[tuple[str, str]] = set()
    for reply in replies:
        match reply.outcome:
            case Outcome.ANSWERED:
                answer = spoken_setting(reply, setting).knowledge.answers.get(reply.citations[0].id)
                if answer is not None and (answer.id, reply.language) not in seen:
                    seen.add((answer.id, reply.language))
                    entries.append(SheetEntry(reply.question, answer, reply.citations[0]))
                    summary += _summary(reply, answer)
            case Outcome.EMERGENCY | Outcome.CRISIS:
                entries.append(SheetEntry(reply.question, lines=tuple(one.text for one in reply.sentences)))
            case Outcome.NO_ANSWER | Outcome.DECLINED if reply.question.strip():
                unanswered.append(reply.question)
            case _:
                continue
    return Sheet(
        day, tuple(dict.fromkeys(summary)), tuple(entries), tuple(dict.fromkeys(unanswered)),
        setting.knowledge.texts.visit_questions,
    )  # fmt: skip


def _summary(reply: Reply, answer: Answer) -> list[str]:
    """Return the checked sentences that the model worded for this turn, or the answer's first vetted ones."""
    worded = [sentence.text for sentence in reply.sentences if sentence.origin == "generated"]
    return worded or split_sentences(answer.lead)[:MAX_SUMMARY_SENTENCES]


def intro(sheet: Sheet, knowledge: Knowledge, words: Words) -> str:
    """Return what the sheet is, where it comes from and when."""
    return fill(words.sheet_intro, clinic=knowledge.clinic.name, date=sheet.day.isoformat())


def calls(knowledge: Knowledge, words: Words) -> str:
    """Return whom to call."""
    clinic = knowledge.clinic
    return fill(words.sheet_emergency, number=clinic.emergency_number, phone=clinic.phone, hours=clinic.hours)


def sheet_html(sheet: Sheet, setting: Setting) -> str:
    """Return the sheet as a page to read or print, with its buttons."""
    words, knowledge = setting.words, setting.knowledge
    if not sheet.entries and not sheet.unanswered:
        inside = f"<p>{escape(words.sheet_empty)}</p>"
        return f'<section class="sheet">{_title(words)}{inside}{_buttons(words, "close-sheet")}</section>'
    pdf = ("pdf",) if words.direction == "ltr" else ()  # the PDF's fonts write from left to right alone
    notice = f'<p class="demo">{escape(knowledge.texts.demonstration_notice)}</p>' if knowledge.has_drafts else ""
    return (
        f'<section class="sheet">{_title(words)}{_buttons(words, "print", *pdf, "close-sheet")}'
        f"<p>{escape(intro(sheet, knowledge, words))}</p><p><strong>{escape(calls(knowledge, words))}</strong></p>{notice}"
        f"{''.join(_parts(sheet, setting))}</section>"
    )


def _title(words: Words) -> str:
    return f'<h1 tabindex="-1">{escape(words.sheet_title)}</h1>'


def _buttons(words: Words, *actions: str) -> str:
    labels = {"print": words.sheet_print, "pdf": words.sheet_pdf, "close-sheet": words.sheet_back}
    buttons = "".join(f'<button type="button" data-do="{one}">{escape(labels[one])}</button>' for one in actions)
    return f'<p class="sheet-buttons">{buttons}</p>'


def _parts(sheet: Sheet, setting: Setting) -> Iterator[str]:
    words = setting.words
    if sheet.summary:
        yield f"<h2>{escape(words.sheet_summary)}</h2>{_list(sheet.summary)}"
    if sheet.entries:
        yield f"<h2>{escape(words.sheet_questions)}</h2>"
    for entry in sheet.entries:
        shown = _entry(entry, words, setting.knowledge.texts.being_reviewed)
        yield f'<article><p class="asked" dir="auto">{escape(entry.question)}</p>{shown}</article>'
    yield f"<h2>{escape(words.sheet_visit)}</h2>"
    if sheet.unanswered:
        yield f"<p>{escape(words.sheet_unanswered)}</p>{_list(sheet.unanswered)}"
    yield _list(sheet.visit_questions)
    yield f'<h2>{escape(words.sheet_notes)}</h2><div class="notes"></div>'


def _entry(entry: SheetEntry, words: Words, being_reviewed: str) -> str:
    if entry.answer is None or entry.citation is None:
        return "".join(f"<p>{escape(line)}</p>" for line in entry.lines)
    answer = entry.answer
    source = source_html(entry.citation, words, being_reviewed, address=True)
    return f'<h3 class="entry">{escape(answer.title)}</h3>{markdown_html(answer.text)}{source}'


def _list(lines: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""
