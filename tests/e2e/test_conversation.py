"""The conversation: what is offered, opened, shortened, suggested; and that nothing is stored or shifted."""

import re
import sqlite3
import time

import pytest
from page_steps import FEVER, MODEL_SENTENCE, ask, newest, open_page, vetted, worded
from playwright.sync_api import Page, expect
from pypdf import PdfReader

pytestmark = pytest.mark.e2e


def box(page: Page):
    return page.get_by_label("Your question")


def test_a_topic_opens_to_questions_that_are_answered_at_a_tap(page, verbatim):
    open_page(page, verbatim.url)
    page.get_by_text("Topics", exact=True).click()
    page.get_by_text("Back and joints", exact=True).click()
    page.locator("#start details details[open] button").first.click()
    expect(vetted(page)).to_be_visible()


def test_suggestions_come_while_typing_and_work_by_keyboard_alone(page, verbatim):
    open_page(page, verbatim.url)
    box(page).press_sequentially("doctor fev")
    group = page.get_by_role("group", name="Questions the clinic has answers to")
    expect(group.get_by_role("button", name=FEVER)).to_be_visible()
    box(page).press("ArrowUp")
    expect(group.get_by_role("button").last).to_be_focused()
    page.keyboard.press("Escape")
    expect(group).to_be_hidden()
    expect(box(page)).to_be_focused()
    box(page).press_sequentially("e")
    group.get_by_role("button", name=FEVER).press("Enter")
    expect(vetted(page).get_by_role("heading", level=2)).to_have_text("Fever in adults")
    expect(group).to_be_hidden()
    expect(box(page)).to_have_value("")


def test_no_answer_offers_the_nearest_topics(page, verbatim):
    open_page(page, verbatim.url)
    ask(page, "Who won the football world cup in 1998?")
    near = newest(page).locator(".near")
    near.locator("summary").first.click()
    near.locator("button").first.click()
    expect(vetted(page)).to_be_visible()


def test_related_questions_lead_on(page, verbatim):
    open_page(page, verbatim.url)
    ask(page, FEVER)
    page.get_by_role("navigation", name="Related questions").get_by_role("button").first.click()
    expect(vetted(page).get_by_role("heading", level=2)).to_have_text("How to take a temperature")
    expect(page.locator("#past")).to_contain_text("Fever in adults")
    expect(page.get_by_role("navigation", name="Related questions")).to_have_count(1)


def test_explain_more_simply_leaves_the_first_vetted_paragraph_and_the_care_part(page, verbatim):
    open_page(page, verbatim.url)
    ask(page, FEVER)
    page.get_by_role("button", name="Explain more simply").click()
    expect(vetted(page).locator(".text p").first).to_be_visible()
    expect(vetted(page).get_by_text("Rest and drink plenty")).to_be_hidden()
    expect(vetted(page).get_by_role("heading", name="When to get help")).to_be_visible()
    page.get_by_role("button", name="Show the whole answer").click()
    expect(vetted(page).get_by_text("Rest and drink plenty")).to_be_visible()


def test_saying_that_it_did_not_help_leads_to_a_person_and_asks_for_no_words(page, verbatim):
    open_page(page, verbatim.url)
    ask(page, FEVER)
    page.get_by_role("group", name="Was this helpful?").get_by_role("button", name="No").click()
    expect(newest(page).locator(".thanks")).to_contain_text("202-555-0142")
    expect(newest(page).locator("input")).to_have_count(0)


def test_whom_to_call_stays_in_view_however_far_one_reads(page, verbatim):
    page.set_viewport_size({"width": 360, "height": 740})
    open_page(page, verbatim.url)
    ask(page, FEVER)
    expect(vetted(page)).to_be_visible()
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    phone = page.get_by_role("link", name=re.compile("Talk to a person: 202-555-0142"))
    expect(phone).to_be_in_viewport(ratio=1)
    expect(phone).to_have_attribute("href", "tel:2025550142")
    expect(page.get_by_role("link", name="Emergency: call 911")).to_be_in_viewport(ratio=1)
    expect(box(page)).to_be_in_viewport(ratio=1)


def test_enter_pressed_twice_asks_once(page, guided, stand_in):
    stand_in.pieces, stand_in.pause_s = ["Rest "] * 20, 0.05
    open_page(page, guided.url)
    box(page).fill(FEVER)
    box(page).press("Enter")
    box(page).press("Enter")
    expect(vetted(page)).to_be_visible()
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    expect(page.locator("article")).to_have_count(1)


def test_a_finished_reply_is_announced_once_and_whole(page, guided, stand_in):
    stand_in.pieces, stand_in.pause_s = ["Rest and drink plenty ", "of water or other ", "fluids. [1]"], 0.1
    open_page(page, guided.url)
    page.evaluate(
        """() => { window.heard = []; const live = document.querySelector('#announce [role=status]');
        new MutationObserver(() => heard.push(live.innerText))
        .observe(live, {childList: true, subtree: true, characterData: true}); }"""
    )
    ask(page, FEVER)
    expect(worded(page)).to_contain_text("Rest and drink plenty")
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    heard = [text for text in page.evaluate("heard") if text]
    assert len(set(heard)) == 1 and "Rest and drink plenty of water or other fluids." in heard[0]


def test_nothing_on_the_page_moves_while_a_reply_arrives(page, guided, stand_in):
    stand_in.pieces, stand_in.pause_s = [MODEL_SENTENCE, " You have a stiff neck. [1]", " x"], 0.7
    open_page(page, guided.url)
    page.evaluate(
        """() => { window.shift = 0; new PerformanceObserver((list) => { for (const e of list.getEntries())
        if (!e.hadRecentInput) shift += e.value; }).observe({type: 'layout-shift', buffered: false}); }"""
    )
    ask(page, FEVER)
    expect(worded(page)).to_contain_text("Rest and drink plenty")
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    assert page.evaluate("shift") <= 0.05


def test_what_is_typed_while_a_reply_arrives_stays(page, guided, stand_in):
    stand_in.pieces, stand_in.pause_s = ["Rest "] * 30, 0.05
    open_page(page, guided.url)
    ask(page, FEVER)
    expect(vetted(page)).to_be_visible()
    box(page).fill("and a cough?")
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    expect(box(page)).to_have_value("and a cough?")


def test_the_take_away_sheet_holds_what_was_shown_and_can_be_saved(page, verbatim, tmp_path):
    open_page(page, verbatim.url)
    ask(page, FEVER)
    expect(vetted(page)).to_be_visible()
    page.get_by_role("button", name="Print or save").click()
    expect(page.get_by_role("heading", name="Your take-away sheet")).to_be_focused()
    sheet = page.locator("#sheet")
    for line in ("Fever in adults", "Rest and drink plenty of water", "medlineplus.gov", "What can I do at home?"):
        expect(sheet).to_contain_text(line)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as PDF").click()
    download.value.save_as(tmp_path / "sheet.pdf")
    text = " ".join(" ".join(part.extract_text() for part in PdfReader(tmp_path / "sheet.pdf").pages).split())
    assert "Rest and drink plenty of water or other fluids." in text
    page.get_by_role("button", name="Back to the conversation").click()
    expect(vetted(page)).to_be_visible()
    expect(sheet).to_be_hidden()


def test_the_sheet_prints_alone(page, verbatim):
    open_page(page, verbatim.url)
    ask(page, FEVER)
    expect(vetted(page)).to_be_visible()
    page.get_by_role("button", name="Print or save").click()
    expect(page.get_by_role("heading", name="Your take-away sheet")).to_be_visible()
    page.emulate_media(media="print")
    expect(page.locator("#sheet")).to_contain_text("Fever in adults")
    for gone in (
        page.locator("#composer"),
        page.locator(".sheet-buttons"),
        page.locator("#newest"),
        page.locator("#help-bar"),
    ):
        expect(gone).to_be_hidden()


def test_a_page_nobody_touches_warns_and_then_wipes_itself(page, serve):
    served = serve(mode="verbatim", idle_minutes=0.1)
    open_page(page, served.url)
    ask(page, "fever zebramarker")
    expect(newest(page).locator("article")).to_be_visible()
    warning = page.get_by_role("alertdialog", name="Are you still there?")
    expect(warning).to_be_visible()
    expect(warning.get_by_role("button", name="I am still here")).to_be_focused()
    page.keyboard.press("Escape")
    expect(warning).to_be_hidden()
    expect(newest(page).locator("article")).to_be_visible()
    expect(page.locator("article")).to_have_count(0, timeout=15_000)
    assert "zebramarker" not in page.content()


def test_after_clear_and_finish_neither_back_nor_reload_shows_a_word(page, verbatim):
    open_page(page, verbatim.url)
    ask(page, "fever zebramarker")
    expect(newest(page).locator("article")).to_be_visible()
    page.get_by_role("button", name="Print or save").click()
    expect(page.get_by_role("heading", name="Your take-away sheet")).to_be_visible()
    page.get_by_role("button", name="Back to the conversation").click()
    page.get_by_role("button", name="Clear and finish").click()
    expect(page.locator("article")).to_have_count(0)
    page.goto("about:blank")
    page.go_back()
    expect(box(page)).to_be_visible()
    expect(page.locator("article")).to_have_count(0)
    assert "zebramarker" not in page.content()


def test_the_back_button_shows_no_conversation_even_when_nobody_cleared(page, verbatim):
    open_page(page, verbatim.url)
    ask(page, "fever zebramarker")
    expect(newest(page).locator("article")).to_be_visible()
    page.goto("about:blank")
    page.go_back()
    expect(box(page)).to_be_visible()
    assert "zebramarker" not in page.content()


def test_what_did_not_help_reaches_the_record_that_staff_switched_on_without_names(page, serve, tmp_path):
    record = tmp_path / "gaps.db"
    served = serve(mode="verbatim", gaps={"record": True, "url": f"sqlite:///{record}"})
    open_page(page, served.url)
    ask(page, FEVER)
    newest(page).get_by_role("group", name="Was this helpful?").get_by_role("button", name="No").click()
    newest(page).get_by_label(re.compile("what was missing")).fill("call me on 202-555-0177")
    newest(page).get_by_role("button", name="Send").click()
    expect(newest(page).locator(".thanks")).to_have_text("Thank you.")

    def kept():
        with sqlite3.connect(record) as database:
            return database.execute("select question, kind, nearest from gaps").fetchall()

    deadline = time.monotonic() + 20
    while not kept() and time.monotonic() < deadline:
        time.sleep(0.1)
    ((question, kind, nearest),) = kept()
    assert "fever" in question.lower() and "0177" not in question
    assert kind == "not_helpful" and "fever/adults" in nearest
