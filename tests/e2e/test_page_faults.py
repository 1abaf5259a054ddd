"""Broken connections, restarts, two tabs, double presses, slow lines: what a person would expect of the page."""

import signal
import time

import pytest
from playwright.sync_api import Page, expect
from wire import Wire

pytestmark = pytest.mark.e2e

FEVER = "When should I see a doctor about a fever?"
FLU = "What are the symptoms of the flu?"
MODEL_SENTENCE = "Rest and drink plenty of water or other fluids. [1]"
LOST = "The connection was lost"
KEPT = """async () => {
  const kept = [{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href, history.state, document.title];
  for (const name of await caches.keys()) { kept.push(name, (await (await caches.open(name)).keys()).map((one) => one.url)); }
  kept.push(await indexedDB.databases(), performance.getEntriesByType("resource").map((one) => one.name));
  return JSON.stringify(kept);
}"""
ON_SHOW = "document.body.innerText + [...document.querySelectorAll('textarea, input')].map((box) => box.value).join()"
CACHED = """(addresses) => Promise.all(addresses.map(async (address) => {
  try { return await (await fetch(address, { cache: "only-if-cached", mode: "same-origin" })).text(); }
  catch { return ""; }
}))"""


@pytest.fixture
def wire_to():
    """Return a function that lays a line to a server, which the test may cut."""
    wires: list[Wire] = []

    def lay(served) -> Wire:
        wires.append(Wire(int(served.url.rpartition(":")[2])))
        return wires[-1]

    yield lay
    for wire in wires:
        wire.close()


def open_page(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.get_by_label("Your question")).to_be_visible()


def ask(page: Page, question: str) -> None:
    page.get_by_label("Your question").fill(question)
    page.get_by_label("Your question").press("Enter")


def vetted(page: Page):
    return page.locator("#newest .vetted")


def heading(page: Page):
    return vetted(page).get_by_role("heading", level=2)


def notice(page: Page):
    return page.locator("#connection")


def test_without_a_connection_nothing_is_lost_and_it_can_be_asked_again(page, verbatim, wire_to):
    wire = wire_to(verbatim)
    open_page(page, wire.url)
    ask(page, FLU)
    expect(vetted(page)).to_be_visible()
    wire.cut()
    ask(page, FEVER)
    expect(notice(page)).to_have_attribute("role", "alert")
    expect(notice(page)).to_contain_text(LOST)
    expect(page.get_by_label("Your question")).to_have_value(FEVER)
    expect(vetted(page)).to_contain_text("flu")
    wire.mend()
    page.get_by_role("button", name="Try again").click()
    expect(heading(page)).to_have_text("Fever in adults")
    expect(notice(page)).to_be_empty()
    expect(page.locator("#past")).to_contain_text(FLU)


def test_a_reply_cut_off_in_the_middle_keeps_what_was_shown_and_can_be_asked_again(page, guided, stand_in, wire_to):
    stand_in.pieces, stand_in.pause_s = ["Rest "] * 400, 0.05
    wire = wire_to(guided)
    open_page(page, wire.url)
    ask(page, FEVER)
    expect(vetted(page)).to_be_visible()
    wire.cut()
    expect(notice(page)).to_contain_text(LOST)
    expect(vetted(page)).to_be_visible()
    stand_in.pieces, stand_in.pause_s = [MODEL_SENTENCE], 0.0
    wire.mend()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#newest .worded")).to_contain_text("Rest and drink plenty of water")
    expect(notice(page)).to_be_empty()


def test_a_flood_of_questions_is_told_kindly_and_asked_again_later(page, verbatim):
    open_page(page, verbatim.url)
    refused = {"status": 429, "content_type": "text/plain", "body": "Too many questions"}
    page.route("**/queue/join*", lambda route: route.fulfill(**refused))
    ask(page, FEVER)
    expect(notice(page)).to_contain_text("Too many questions came in at once")
    expect(page.get_by_label("Your question")).to_have_value(FEVER)
    page.unroute("**/queue/join*")
    page.get_by_role("button", name="Try again").click()
    expect(heading(page)).to_have_text("Fever in adults")


def test_a_short_break_mends_itself_and_says_so_by_going_away(page, verbatim, wire_to):
    wire = wire_to(verbatim)
    open_page(page, wire.url)
    ask(page, FEVER)
    expect(vetted(page)).to_be_visible()
    wire.cut()
    expect(notice(page)).to_contain_text(LOST)
    wire.mend()
    expect(notice(page)).to_be_empty()
    expect(vetted(page)).to_be_visible()


def test_clearing_without_a_connection_leaves_nothing_on_the_screen(page, verbatim, wire_to):
    wire = wire_to(verbatim)
    open_page(page, wire.url)
    ask(page, f"{FEVER} zebramarker")
    expect(page.locator("#newest article h2")).to_be_visible()
    wire.cut()
    expect(notice(page)).to_contain_text(LOST)
    page.get_by_role("button", name="Clear and finish").click()
    expect(page.get_by_text("zebramarker")).to_have_count(0)


def test_a_restarted_server_goes_on_answering_the_open_page(page, serve):
    served = serve(mode="verbatim")
    port = int(served.url.rpartition(":")[2])
    open_page(page, served.url)
    ask(page, FLU)
    expect(vetted(page)).to_be_visible()
    served.process.send_signal(signal.SIGKILL)
    served.process.wait(10)
    expect(notice(page)).to_contain_text(LOST)
    page.get_by_label("Your question").fill(FEVER)
    serve(mode="verbatim", port=port)
    expect(notice(page)).to_be_empty()
    expect(page.get_by_label("Your question")).to_have_value(FEVER)
    expect(vetted(page)).to_contain_text("flu")
    page.get_by_label("Your question").press("Enter")
    expect(heading(page)).to_have_text("Fever in adults")


def test_two_tabs_know_nothing_of_each_other(page, verbatim):
    other = page.context.new_page()
    for tab, question in ((page, FEVER), (other, FLU)):
        open_page(tab, verbatim.url)
        ask(tab, question)
        expect(vetted(tab)).to_be_visible()
    ask(page, "headache")
    expect(page.locator("#past")).to_contain_text(FEVER)
    expect(page.locator("#past")).not_to_contain_text(FLU)
    other.get_by_role("button", name="Clear and finish").click()
    expect(other.locator("article")).to_have_count(0)
    expect(page.locator("#past")).to_contain_text(FEVER)


def test_reload_and_back_show_an_empty_page_and_no_word_of_the_conversation(page, verbatim):
    open_page(page, verbatim.url)
    ask(page, "fever zebramarker")
    expect(page.locator("#newest article")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Your question")).to_have_value("")
    expect(page.locator("article")).to_have_count(0)
    ask(page, "fever zebramarker")
    expect(page.locator("#newest article")).to_be_visible()
    page.goto("about:blank")
    page.go_back()
    expect(page.get_by_label("Your question")).to_have_value("")
    expect(page.locator("article")).to_have_count(0)
    assert "zebramarker" not in page.content()


def test_enter_pressed_twice_asks_once(page, guided, stand_in):
    asked_before = stand_in.asked
    stand_in.pieces = [MODEL_SENTENCE]
    open_page(page, guided.url)
    box = page.get_by_label("Your question")
    box.fill(FEVER)
    box.press("Enter")
    box.press("Enter")
    expect(page.locator("#newest .worded")).to_be_visible()
    expect(page.get_by_text("Please type a question")).to_have_count(0)
    expect(page.locator("article")).to_have_count(1)
    assert stand_in.asked == asked_before + 1


def test_a_second_question_in_a_hurry_takes_the_place_of_the_first_and_no_letter_is_lost(page, verbatim):
    open_page(page, verbatim.url)
    box = page.get_by_label("Your question")
    box.fill(FEVER)
    box.press("Enter")
    expect(box).to_have_value("")
    box.fill(FLU)
    box.press("Enter")
    expect(heading(page)).to_contain_text("Flu")
    for label in ("Ask", "Stop", "Clear and finish"):
        expect(page.get_by_role("button", name=label, exact=True)).to_be_visible()
    box.fill("half a ques")
    page.wait_for_function("document.querySelector('#stop').disabled")
    expect(box).to_have_value("half a ques")


def test_a_question_of_two_thousand_characters_is_answered_and_a_longer_one_cannot_be_typed(page, verbatim):
    open_page(page, verbatim.url)
    long_question = f"{FEVER} " + "I feel hot and tired and my head hurts a bit. " * 50
    page.get_by_label("Your question").fill(long_question[:2000])
    page.get_by_label("Your question").press("Enter")
    expect(page.locator("#newest article")).to_be_visible()
    expect(page.get_by_label("Your question")).to_have_value("")
    assert page.get_by_label("Your question").get_attribute("maxlength") == "2000"


def test_on_a_slow_line_the_answer_comes_and_the_page_stays_usable(page, verbatim):
    line = page.context.new_cdp_session(page)
    open_page(page, verbatim.url)
    line.send("Network.enable")
    slow_3g = {"offline": False, "latency": 400, "downloadThroughput": 50_000, "uploadThroughput": 50_000}
    line.send("Network.emulateNetworkConditions", slow_3g)
    started = time.monotonic()
    ask(page, FEVER)
    expect(page.get_by_label("Your question")).to_have_value("")
    page.get_by_label("Your question").press_sequentially("and", delay=10)  # typing goes on meanwhile
    expect(heading(page)).to_have_text("Fever in adults")
    expect(page.get_by_label("Your question")).to_have_value("and")
    assert time.monotonic() - started < 10
    expect(notice(page)).to_have_count(0)


def test_after_clear_and_finish_neither_storage_nor_cache_nor_history_holds_a_word(page, verbatim):
    open_page(page, verbatim.url)
    ask(page, "fever zebramarker")
    expect(page.locator("#newest article")).to_be_visible()
    page.get_by_role("button", name="Clear and finish").click()
    expect(page.locator("article")).to_have_count(0)
    kept = page.evaluate(KEPT)
    assert "zebramarker" not in kept
    assert "zebramarker" not in page.content()
    assert "zebramarker" not in page.evaluate(ON_SHOW)
    assert page.evaluate("history.length") == 2  # the empty tab, and the page
    for entry in disk_cache(page):
        assert "zebramarker" not in entry


def disk_cache(page: Page) -> list[str]:
    """Return what the browser would show again of all that the page has loaded, without asking the server."""
    addresses = page.evaluate("performance.getEntriesByType('resource').map((one) => one.name)")
    return page.evaluate(CACHED, [address for address in addresses if "heartbeat" not in address])
