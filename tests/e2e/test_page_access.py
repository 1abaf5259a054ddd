"""Can everybody use the page: axe on every state, the keyboard alone, zoom, less motion, dark mode, reading aloud."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.e2e

FEVER = "When should I see a doctor about a fever?"
CHEST_PAIN = "my dad has crushing chest pain going down his left arm"
MODEL_SENTENCE = "Rest and drink plenty of water or other fluids. [1]"
SIZES = ((360, 740), (820, 1180), (1440, 900))
MIN_TARGET_PX = 24
SMALL_TARGETS = """(least) => [...document.querySelectorAll('a[href], button, summary, input, textarea, select')]
  .filter((one) => one.checkVisibility({ checkVisibilityCSS: true }) && !one.closest('.sr-only, [inert]'))
  .map((one) => [one, one.getBoundingClientRect()])
  .filter(([one, box]) => box.width && !(one.matches('.skip, .skip *') && !one.matches(':focus')))
  .filter(([one, box]) => box.width < least || box.height < least)
  .filter(([one]) => !(one.matches('p a, li a, span a') && getComputedStyle(one).display === 'inline'))  // in a sentence
  .map(([one, box]) => `${one.outerHTML.slice(0, 80)} ${box.width}x${box.height}`)"""
COVERED = """() => { let covered = 0;
  for (let y = 1; y < innerHeight; y += 4) { let one = document.elementFromPoint(innerWidth / 2, y);
    while (one && !['fixed', 'sticky'].includes(getComputedStyle(one).position)) { one = one.parentElement; }
    covered += one ? 4 : 0; }
  return covered / innerHeight; }"""
FOCUSED = """() => { const one = document.activeElement; const style = getComputedStyle(one);
  const box = one.getBoundingClientRect();
  const above = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  return { name: one.textContent.trim().slice(0, 40) || one.id || one.tagName, tag: one.tagName,
    outlined: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
    inView: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
    covered: !(one.contains(above) || above?.contains(one)) }; }"""
HEARD = """window.heard = [];
const listen = () => { const live = [...document.querySelectorAll('[role=status], [aria-live=polite]')];
  const text = live.map((one) => one.textContent.trim()).join(' ').trim();
  if (text && text !== window.heard.at(-1)) { window.heard.push(text); } };
addEventListener('DOMContentLoaded', () => new MutationObserver(listen)
  .observe(document.documentElement, { childList: true, subtree: true, characterData: true }));"""
VOICES = """(names) => { const voices = names.map(([name, localService]) => ({ name, localService, lang: 'en-US' }));
  const said = window.said = [];
  Object.defineProperty(window, 'SpeechSynthesisUtterance', { value: class { constructor(text) { this.text = text; } } });
  Object.defineProperty(window, 'speechSynthesis', { value: { getVoices: () => voices, addEventListener() {},
    cancel() {}, speak(speech) { said.push([speech.voice.name, speech.text]); } } }); }"""


def open_page(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.get_by_label("Your question")).to_be_visible()


def ask(page: Page, question: str) -> None:
    page.get_by_label("Your question").fill(question)
    page.get_by_label("Your question").press("Enter")


def newest(page: Page):
    return page.locator("#newest article")


def start(page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_be_visible()


def answer(page: Page) -> None:
    ask(page, FEVER)
    expect(page.locator("#newest .worded")).to_be_visible()


def did_you_mean(page: Page) -> None:
    ask(page, "headache")
    expect(newest(page)).to_contain_text("Which one did you mean?")


def emergency(page: Page) -> None:
    ask(page, CHEST_PAIN)
    expect(newest(page).get_by_role("alert")).to_be_visible()


def no_answer(page: Page) -> None:
    ask(page, "Who won the football world cup in 1998?")
    expect(newest(page)).to_contain_text("do not cover this question")


def error(page: Page) -> None:
    page.context.set_offline(True)
    ask(page, FEVER)
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def found_in_states(page: Page) -> dict[str, list[str]]:
    """Go through every state of one visit and return what axe finds in each."""
    found = {}
    for state in STATES:
        state(page)
        found[state.__name__] = violations(page)
    page.context.set_offline(False)
    page.emulate_media(media="print")
    found["print"] = violations(page)
    page.emulate_media(media="screen")
    page.get_by_role("button", name="Print or save").click()
    expect(page.get_by_role("heading", name="Your take-away sheet")).to_be_visible()
    found["sheet"] = violations(page)
    return found


STATES = (start, answer, did_you_mean, emergency, no_answer, error)


def violations(page: Page) -> list[str]:
    """Return what axe finds, one line for each place."""
    page.wait_for_function("!document.getAnimations().some((one) => one.playState === 'running')")
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{rule['id']}: {place['html'][:160]} {place['failureSummary'][:200]}"
        for rule in found
        for place in rule["nodes"]
    ]


@pytest.fixture
def written(guided, stand_in):
    """Return a server whose model writes one sentence that holds."""
    stand_in.pieces = [MODEL_SENTENCE]
    return guided


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_any_state(page, guided, stand_in, scheme):
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    open_page(page, guided.url)
    stand_in.pieces, stand_in.pause_s = ["Rest "] * 400, 0.05
    ask(page, "How long does a cold last?")  # another one: the same words again would be taken for a double Enter
    expect(page.get_by_text("Writing a short reply")).to_be_visible()
    waiting = violations(page)
    stand_in.pieces, stand_in.pause_s = [MODEL_SENTENCE], 0.0
    found = {"waiting": waiting, **found_in_states(page)}
    assert {state: places for state, places in found.items() if places} == {}
    assert len(found) == 9


def test_every_target_is_large_enough_at_every_size(page, written):
    open_page(page, written.url)
    answer(page)
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate(SMALL_TARGETS, MIN_TARGET_PX) == []


def test_everything_can_be_reached_and_seen_with_the_keyboard_alone(page, written):
    open_page(page, written.url)
    page.keyboard.press("Tab")
    seen = []
    for _ in range(80):
        focused = page.evaluate(FOCUSED)
        if focused["tag"] == "BODY" or (seen and focused["name"] == seen[0]["name"]):
            break
        seen.append(focused)
        page.keyboard.press("Tab")
    assert [one["name"] for one in seen if not (one["outlined"] and one["inView"]) or one["covered"]] == []
    names = " ".join(one["name"] for one in seen)
    for needed in ("Ask", "Clear and finish"):
        assert needed in names
    assert any(one["tag"] == "TEXTAREA" for one in seen)


def test_a_whole_visit_needs_no_mouse(page, written):
    open_page(page, written.url)
    page.get_by_label("Your question").focus()
    page.keyboard.type("headache")
    page.keyboard.press("Enter")
    expect(newest(page)).to_contain_text("Which one did you mean?")
    choice = page.locator("button.choice:visible").first
    title = choice.inner_text().strip()
    choice.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#newest .vetted").get_by_role("heading", level=2)).to_have_text(title)
    page.get_by_role("button", name="Clear and finish").focus()
    page.keyboard.press("Space")
    expect(page.locator("article")).to_have_count(0)


def test_zoomed_in_nothing_is_cut_off_and_nothing_scrolls_sideways(page, written):
    open_page(page, written.url)
    answer(page)
    for percent in (200, 400):
        width = 1280 * 100 // percent  # as WCAG 1.4.10 measures it
        page.set_viewport_size({"width": width, "height": 1024 * 100 // percent})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.get_by_label("Your question").scroll_into_view_if_needed()
        expect(page.get_by_label("Your question")).to_be_in_viewport()
        assert page.evaluate(COVERED) < 0.6  # what stays in view must leave room to read


def test_letters_twice_as_large_stay_inside_their_boxes(page, written):
    open_page(page, written.url)
    answer(page)
    page.add_style_tag(content="html { font-size: 200% !important; }")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1")


def test_with_less_motion_nothing_moves_by_itself(page, written):
    page.emulate_media(reduced_motion="reduce")
    open_page(page, written.url)
    answer(page)
    moving = """() => [...document.querySelectorAll('*')].filter((one) => { const style = getComputedStyle(one);
        return style.animationName !== 'none' || style.transitionDuration.split(',').some((time) => parseFloat(time) > 0.01)
          || style.scrollBehavior === 'smooth'; }).map((one) => one.outerHTML.slice(0, 80))"""
    assert page.evaluate(moving) == []


def test_the_page_says_its_language_and_its_name(page, written):
    open_page(page, written.url)
    assert page.evaluate("document.documentElement.lang") == "en"
    expect(page).to_have_title("Riverside Demonstration Clinic")
    expect(page.get_by_role("main")).to_have_count(1)


def test_a_screen_reader_hears_a_finished_reply_once(page, written):
    page.add_init_script(HEARD)
    open_page(page, written.url)
    answer(page)
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    page.wait_for_function("window.heard.some((text) => text.includes('100.4'))")
    heard = [text for text in page.evaluate("window.heard") if "100.4" in text]
    assert len(heard) == 1
    assert "Rest and drink plenty of water" in heard[0]


@pytest.mark.parametrize(
    ("voices", "offered"), [([["far", False]], False), ([["far", False], ["near", True]], True), ([], False)]
)
def test_reading_aloud_is_offered_only_with_a_voice_of_this_machine(page, written, voices, offered):
    page.add_init_script(f"({VOICES})({voices!r})".replace("True", "true").replace("False", "false"))
    open_page(page, written.url)
    answer(page)
    button = page.locator("#newest .vetted").get_by_role("button", name="Read aloud")
    if not offered:
        expect(button).to_have_count(0)
        return
    button.click()
    expect(page.locator("#newest .vetted").get_by_role("button", name="Stop reading")).to_be_visible()
    (voice, text), *more = page.evaluate("window.said")
    assert (voice, more) == ("near", [])
    assert "100.4" in text
    assert "MedlinePlus" not in text
