"""What a patient meets in the browser."""

import re
import time

import pytest
from page_steps import FEVER, MODEL_SENTENCE, ask, newest, open_page, vetted, worded
from playwright.sync_api import expect

pytestmark = pytest.mark.e2e


def test_the_first_page_says_what_it_is_and_whom_to_call(page, verbatim):
    open_page(page, verbatim.url)
    expect(page.get_by_role("heading", level=1)).to_have_text("Riverside Demonstration Clinic")
    expect(page.get_by_text("This is software (an AI)")).to_be_visible()
    expect(page.get_by_role("link", name="Emergency: call 911")).to_be_visible()
    expect(page.get_by_role("note")).to_contain_text("no clinician has reviewed")
    expect(page.locator("ul.examples button")).to_have_count(4)


def test_a_question_brings_the_vetted_answer_with_its_source_and_review_state(page, verbatim):
    open_page(page, verbatim.url)
    page.get_by_label("Your question").fill(FEVER)
    page.get_by_label("Your question").press("Enter")
    expect(vetted(page).get_by_role("heading", level=2)).to_have_text("Fever in adults")
    expect(vetted(page)).to_contain_text("100.4 °F (38 °C)")
    expect(vetted(page).locator(".care")).to_contain_text("When to get help")
    expect(vetted(page).get_by_role("link")).to_have_attribute("href", re.compile(r"^https://"))
    expect(vetted(page)).to_contain_text("Demonstration text, not reviewed by a clinician.")
    expect(page.get_by_label("Your question")).to_have_value("")


def test_an_example_question_is_answered_at_a_tap(page, verbatim):
    open_page(page, verbatim.url)
    page.locator("button.example").first.click()
    expect(vetted(page)).to_be_visible()


def test_checked_sentences_follow_the_vetted_text(page, guided, stand_in):
    stand_in.pieces = [MODEL_SENTENCE]
    open_page(page, guided.url)
    ask(page, FEVER)
    expect(worded(page)).to_contain_text("Rest and drink plenty of water or other fluids.")
    mark = worded(page).get_by_role("button", name="Show the clinic's sentence behind this one")
    mark.click()
    expect(worded(page).locator("mark")).to_have_text("Rest and drink plenty of water or other fluids.")
    expect(worded(page)).to_contain_text("From the clinic's answer “Fever in adults”")
    mark.click()
    expect(worded(page).locator("mark")).to_be_hidden()


@pytest.mark.parametrize(
    "sentence",
    [
        "See a doctor if the fever lasts more than 20 days. [1]",
        "You can take amoxicillin or ibuprofen if the fever makes you feel bad. [1]",
        "Use ice, a cold bath or rubbing alcohol to cool down. [1]",
        "Do not give aspirin to a child unless a doctor says so. [1]",
        "Acne often gets better after a few months of treatment. [1]",
    ],
    ids=["wrong number", "wrong medicine", "dropped not", "another answer", "added fact"],
)
def test_a_plausible_unsupported_sentence_never_reaches_the_page(page, guided, stand_in, sentence):
    stand_in.pieces = [f"{sentence} ", MODEL_SENTENCE]
    seen: list[str] = []
    page.on("response", lambda response: seen.append(response.url))
    open_page(page, guided.url)
    ask(page, FEVER)
    expect(worded(page)).to_contain_text("Rest and drink plenty of water")
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    assert sentence.removesuffix(" [1]") not in page.content()


def test_stop_ends_the_reply_and_frees_the_model(page, guided, stand_in):
    stand_in.pieces, stand_in.pause_s = ["Rest "] * 400, 0.05
    open_page(page, guided.url)
    ask(page, FEVER)
    expect(vetted(page)).to_be_visible()
    expect(page.get_by_text("Writing a short reply")).to_be_visible()
    while not stand_in.open:
        time.sleep(0.02)
    page.get_by_role("button", name="Stop").click()
    pressed = time.monotonic()
    while stand_in.open:
        assert time.monotonic() - pressed < 5
        time.sleep(0.02)
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    expect(vetted(page)).to_be_visible()
    stand_in.pieces, stand_in.pause_s = [MODEL_SENTENCE], 0.0
    ask(page, FEVER)
    expect(worded(page)).to_contain_text("Rest and drink plenty of water")


def test_a_closed_tab_frees_the_model(browser, guided, stand_in):
    stand_in.pieces, stand_in.pause_s = ["Rest "] * 400, 0.05
    tab = browser.new_page()
    open_page(tab, guided.url)
    ask(tab, FEVER)
    expect(vetted(tab)).to_be_visible()
    while not stand_in.open:
        time.sleep(0.02)
    tab.close()
    closed = time.monotonic()
    while stand_in.open:
        assert time.monotonic() - closed < 10
        time.sleep(0.05)


def test_did_you_mean_offers_buttons_that_lead_to_the_answer(page, verbatim):
    open_page(page, verbatim.url)
    ask(page, "headache")
    expect(newest(page)).to_contain_text("Which one did you mean?")
    button = newest(page).locator("button.choice").first
    title = button.inner_text()
    button.click()
    expect(vetted(page).get_by_role("heading", level=2)).to_have_text(title)


def test_an_emergency_card_is_an_alert_with_the_clinics_number_and_no_link(page, guided, stand_in):
    asked_before = stand_in.asked
    open_page(page, guided.url)
    ask(page, "my dad has crushing chest pain going down his left arm")
    card = newest(page).get_by_role("alert")
    expect(card).to_contain_text("911")
    expect(card.get_by_role("link")).to_have_count(0)
    ask(page, FEVER)
    expect(vetted(page)).to_be_visible()
    expect(page.locator("#past .alert")).to_contain_text("911")
    assert stand_in.asked == asked_before + 1


def test_no_answer_says_so_and_how_to_reach_a_person(page, verbatim):
    open_page(page, verbatim.url)
    ask(page, "Who won the football world cup in 1998?")
    expect(newest(page)).to_contain_text("do not cover this question")
    expect(newest(page)).to_contain_text("202-555-0142")


def test_without_a_model_the_page_answers_and_says_so_quietly(page, serve, tmp_path):
    served = serve(engine={"model": str(tmp_path / "missing.gguf")})
    open_page(page, served.url)
    ask(page, FEVER)
    expect(vetted(page)).to_contain_text("100.4 °F (38 °C)")
    expect(page.get_by_text("Short replies are switched off just now.")).to_be_visible()
    assert "No model" in served.output()


@pytest.mark.parametrize(
    "typed",
    [
        "<script>document.title='owned'</script> fever",
        "\u202egnirts\u202c \u0007 fever",
        "发烧了应该什么时候看医生？",
        "x" * 1990,
    ],
    ids=["script", "controls", "chinese", "one long word"],
)
def test_odd_input_gets_a_sensible_reply_and_runs_nothing(page, verbatim, typed):
    open_page(page, verbatim.url)
    ask(page, typed)
    expect(newest(page).locator("article")).to_be_visible()
    expect(page).to_have_title("Riverside Demonstration Clinic")
    ask(page, FEVER)
    expect(vetted(page)).to_be_visible()


def test_an_empty_question_is_asked_for_kindly(page, verbatim):
    open_page(page, verbatim.url)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(newest(page)).to_contain_text("Please type a question")


def test_clear_and_finish_leaves_no_word_behind(page, verbatim):
    open_page(page, verbatim.url)
    ask(page, "fever zebramarker")
    expect(newest(page).locator("article")).to_be_visible()
    page.get_by_role("button", name="Clear and finish").click()
    expect(page.locator("article")).to_have_count(0)
    kept = page.evaluate(
        "() => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])"
    )
    assert "zebramarker" not in kept
    assert "zebramarker" not in page.content()


def test_a_question_asked_before_the_page_has_settled_is_not_lost(page, verbatim):
    page.goto(verbatim.url, wait_until="commit")
    ask(page, FEVER)
    expect(vetted(page).get_by_role("heading", level=2)).to_have_text("Fever in adults")
    page.wait_for_load_state("load")
    expect(vetted(page).get_by_role("heading", level=2)).to_have_text("Fever in adults")
