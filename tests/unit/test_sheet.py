"""The take-away sheet: word for word what was shown, on the page and as a PDF."""

import io
from dataclasses import replace
from datetime import date

import pytest
from fakes import CHILD_FEVER, FEVER
from pypdf import PdfReader

from chatbot.page.cards import Setting
from chatbot.page.pdf import MISSING, sheet_pdf
from chatbot.page.sheet import sheet_html, sheet_of
from chatbot.page.words import shipped_words
from chatbot.pipeline import citation_of, vetted_sentences
from chatbot.reply import Outcome, Reply, Sentence
from chatbot.text import markdown_sentences

pytestmark = pytest.mark.unit
WORDS = shipped_words()
DAY = date(2026, 11, 23)


def answered(answer, *worded, question="Is it a fever?"):
    sentences = (*vetted_sentences(answer), *(Sentence(text, "generated", answer.id) for text in worded))
    return Reply(question, Outcome.ANSWERED, "", sentences, (citation_of(answer),))


def fixed(outcome, question, *lines):
    return Reply(question, outcome, "", tuple(Sentence(line, "fixed") for line in lines))


def pdf_text(pdf):
    return " ".join(" ".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages).split())


def test_without_a_model_the_summary_is_the_first_vetted_sentences(small_knowledge):
    sheet = sheet_of([answered(FEVER)], Setting(small_knowledge, WORDS["en"]), day=DAY)
    assert sheet.summary == ("A fever is 100.4 °F (38 °C) or more.", "Rest and drink water.")


def test_with_a_model_the_summary_is_its_checked_sentences(small_knowledge):
    sheet = sheet_of([answered(FEVER, "Drink water.")], Setting(small_knowledge, WORDS["en"]), day=DAY)
    assert sheet.summary == ("Drink water.",)


def test_every_line_of_the_summary_stood_in_the_conversation(small_knowledge):
    replies = [answered(FEVER), answered(CHILD_FEVER, "Do not give aspirin."), answered(FEVER)]
    shown = {sentence.text for reply in replies for sentence in reply.sentences}
    assert set(sheet_of(replies, Setting(small_knowledge, WORDS["en"]), day=DAY).summary) <= shown


def test_an_answer_shown_twice_is_printed_once(small_knowledge):
    sheet = sheet_of([answered(FEVER), answered(FEVER)], Setting(small_knowledge, WORDS["en"]), day=DAY)
    assert [entry.answer.id for entry in sheet.entries] == [FEVER.id]


def test_what_was_not_answered_is_to_be_asked_at_the_visit(small_knowledge):
    replies = [
        fixed(Outcome.NO_ANSWER, "Can I fly?", "No."), fixed(Outcome.DECLINED, "How much?", "No."),
        fixed(Outcome.GREETING, "hello", "Hello."), fixed(Outcome.NO_ANSWER, " ", "Please type."),
    ]  # fmt: skip
    assert sheet_of(replies, Setting(small_knowledge, WORDS["en"]), day=DAY).unanswered == ("Can I fly?", "How much?")


def test_an_emergency_card_is_printed_whole(small_knowledge):
    sheet = sheet_of(
        [fixed(Outcome.EMERGENCY, "chest pain", "Call 000 now.", "- Sit down.")],
        Setting(small_knowledge, WORDS["en"]),
        day=DAY,
    )
    html = sheet_html(sheet, Setting(small_knowledge, WORDS["en"]))
    assert "Call 000 now." in html and "- Sit down." in html


def test_the_page_and_the_pdf_hold_every_vetted_sentence_and_its_source(small_knowledge):
    sheet = sheet_of([answered(FEVER), answered(CHILD_FEVER)], Setting(small_knowledge, WORDS["en"]), day=DAY)
    html = sheet_html(sheet, Setting(small_knowledge, WORDS["en"]))
    text = pdf_text(sheet_pdf(sheet, small_knowledge, WORDS["en"], language="en"))
    for answer in (FEVER, CHILD_FEVER):
        for sentence in markdown_sentences(answer.text):
            assert sentence in html and sentence in text
    for wanted in ("https://example.org/page", "not reviewed by a clinician", "2026-11-23", "202-555-0100", "000"):
        assert wanted in html and wanted in text


def test_a_withdrawn_answer_is_not_printed(small_knowledge):
    sheet = sheet_of([answered(FEVER)], Setting(replace(small_knowledge, answers={}), WORDS["en"]), day=DAY)
    assert sheet.entries == () and sheet.summary == ()


def test_nothing_asked_nothing_printed(small_knowledge):
    html = sheet_html(
        sheet_of([], Setting(small_knowledge, WORDS["en"]), day=DAY), Setting(small_knowledge, WORDS["es"])
    )
    assert "Haga primero una pregunta" in html and 'data-do="print"' not in html


def test_hostile_words_stay_words(small_knowledge):
    hostile = "<img src=x onerror=alert(1)>"
    replies = [answered(FEVER, hostile, question=hostile), fixed(Outcome.NO_ANSWER, hostile, "No.")]
    html = sheet_html(
        sheet_of(replies, Setting(small_knowledge, WORDS["en"]), day=DAY), Setting(small_knowledge, WORDS["en"])
    )
    assert "<img" not in html and html.count("&lt;img") == 3


def test_signs_that_the_fonts_lack_are_replaced_and_never_logged(small_knowledge, caplog):
    replies = [answered(FEVER, question="发烧 🤒 fièvre ąžß жар πυρετός sốt?")]
    sheet = sheet_of(replies, Setting(small_knowledge, WORDS["en"]), day=DAY)
    text = pdf_text(sheet_pdf(sheet, small_knowledge, WORDS["es"], language="es"))
    assert "fièvre ąžß жар πυρετός sốt?" in text and MISSING * 2 in text
    assert "Su hoja para llevar" in text
    assert not [record for record in caplog.records if "发" in record.getMessage()]


def test_a_language_from_right_to_left_is_printed_by_the_browser_alone(small_knowledge):
    words = WORDS["en"].model_copy(update={"direction": "rtl"})
    html = sheet_html(
        sheet_of([answered(FEVER)], Setting(small_knowledge, WORDS["en"]), day=DAY), Setting(small_knowledge, words)
    )
    assert 'data-do="print"' in html and 'data-do="pdf"' not in html
