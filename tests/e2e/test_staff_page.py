"""What staff meet in the browser, beside patients on the other page."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import PROJECT
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.e2e
REVIEW = "review: {status: draft, reviewer: null, reviewed: null, due: null}"


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clinic") / "knowledge"
    shutil.copytree(PROJECT / "knowledge", folder)
    return folder


@pytest.fixture(scope="module")
def served(serve: Callable[..., Any], knowledge: Path) -> Any:
    return serve(mode="verbatim", knowledge=str(knowledge), gaps={"record": True})


@pytest.fixture
def patient(browser: Browser, served: Any) -> Iterator[Page]:
    """Return the patients' page in a browser of its own."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(served.url)
    expect(page.get_by_label("Your question")).to_be_visible(timeout=30_000)
    yield page
    context.close()


def ask(page: Page, question: str) -> None:
    page.get_by_label("Your question").fill(question)
    page.get_by_label("Your question").press("Enter")
    expect(page.locator(".turn").last).to_contain_text(question)


def test_a_question_asked_in_vain_becomes_an_answer_that_the_patient_finds(page: Page, patient: Page, served: Any):
    for question in (
        "can i bring my dog to the visit",
        "are dogs allowed in the clinic",
        "My name is Anna. Can I bring my dog?",
    ):
        ask(patient, question)
    page.goto(f"{served.staff_url}/asked")
    line = page.get_by_role("row").filter(has_text="dog")
    expect(line).to_have_count(1)
    expect(line.get_by_role("cell").first).to_have_text("3")
    line.get_by_text("3 wordings").click()
    expect(line).to_contain_text("My name is [name]. Can I bring my dog?")
    line.get_by_role("button", name="Write an answer").click()
    expect(page.get_by_label("Questions")).to_have_value(re.compile("are dogs allowed in the clinic"))

    page.get_by_label("Questions").fill("Can I bring my dog?\nAre dogs allowed in the clinic?")
    page.get_by_label("Title", exact=True).fill("Dogs at the clinic")
    page.get_by_label("Answer").fill("Please leave your dog at home. Call 202-555-0142 if you need help with that.")
    page.get_by_label("Topic").fill("clinic")
    page.get_by_label("Title of the page").fill("House rules")
    page.get_by_label("Who publishes it").fill("The clinic")
    page.get_by_label("Web address").fill("https://example.org/rules")
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_role("alert")).to_contain_text("write {clinic_phone} instead")
    expect(page.get_by_role("button", name="Publish as a draft")).to_have_count(0)

    page.get_by_label("Answer").fill("Please leave your dog at home. Call {clinic_phone} if you need help with that.")
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_role("heading", name="This is what patients will read")).to_be_visible()
    expect(page.locator(".card")).to_contain_text("Call 202-555-0142 if you need help with that.")
    page.get_by_role("button", name="Publish as a draft").click()
    expect(page.get_by_role("status")).to_contain_text("Patients can find it now")

    ask(patient, "are dogs allowed in the clinic?")
    expect(patient.locator(".turn").last).to_contain_text("Please leave your dog at home.")
    page.goto(f"{served.staff_url}/asked")
    expect(page.get_by_role("row").filter(has_text="dog")).to_have_count(0)


def test_trying_a_question_shows_the_card_and_why(page: Page, served: Any):
    page.goto(f"{served.staff_url}/try")
    page.get_by_label("Question").fill("When should I see a doctor about a fever?")
    page.get_by_role("button", name="Try it").click()
    expect(page.locator(".card")).to_contain_text("Fever in adults")
    page.get_by_text("Why this answer?").click()
    expect(page.locator("details.why")).to_contain_text("certainty")


def test_a_broken_file_is_told_to_staff_and_patients_see_its_last_good_version(
    page: Page, patient: Page, served: Any, knowledge: Path
):
    file = knowledge / "answers" / "fever" / "adults.md"
    good = file.read_text(encoding="utf-8")
    file.write_text(good.replace("audience: adults", "audience: everybody"), encoding="utf-8")
    row = page.get_by_role("row").filter(has_text="answers/fever/adults.md")
    for _ in range(60):
        page.goto(served.staff_url)
        if row.count():
            break
        page.wait_for_timeout(250)
    expect(row).to_contain_text("audience")
    expect(row).to_contain_text("must be one of")
    ask(patient, "When should I see a doctor about a fever?")
    expect(patient.locator(".turn").last).to_contain_text("100.4 °F")
    expect(patient.locator("body")).not_to_contain_text("must be one of")
    file.write_text(good, encoding="utf-8")


def reviewed(knowledge: Path, id_: str, due: str) -> None:
    file = knowledge / "answers" / f"{id_}.md"
    text = file.read_text(encoding="utf-8")
    assert REVIEW in text
    signed = f"review: {{status: reviewed, reviewer: Dr. Doe, reviewed: 2020-01-02, due: {due}}}"
    file.write_text(text.replace(REVIEW, signed), encoding="utf-8")


def test_overdue_says_being_reviewed_and_retired_is_gone(serve: Callable[..., Any], page: Page, tmp_path: Path):
    knowledge = tmp_path / "knowledge"
    shutil.copytree(PROJECT / "knowledge", knowledge)
    reviewed(knowledge, "fever/adults", "2021-01-02")
    cough = next((knowledge / "answers").rglob("cough*.md"))
    cough.write_text(cough.read_text(encoding="utf-8").replace("status: draft", "status: retired"), encoding="utf-8")
    served = serve(mode="verbatim", knowledge=str(knowledge))
    page.goto(served.url)
    ask(page, "When should I see a doctor about a fever?")
    expect(page.locator(".turn").last).to_contain_text("Fever in adults")
    expect(page.locator(".turn").last).to_contain_text("being reviewed")
    title = re.search(r"^title: (.*)$", cough.read_text(encoding="utf-8"), re.M)
    assert title
    ask(page, "How do I get rid of a cough?")
    expect(page.locator(".turn").last.get_by_role("heading", name=title[1].strip("\"'"), exact=True)).to_have_count(0)
    page.goto(served.staff_url)
    row = page.get_by_role("row").filter(has_text="fever/adults")
    expect(row.filter(has_text="Dr. Doe")).to_contain_text("overdue")


def test_reviewed_only_serves_nothing_but_reviews_in_force(serve: Callable[..., Any], page: Page, tmp_path: Path):
    knowledge = tmp_path / "knowledge"
    shutil.copytree(PROJECT / "knowledge", knowledge)
    reviewed(knowledge, "fever/adults", "2031-01-02")
    reviewed(knowledge, "fever/children", "2021-01-02")
    served = serve(arguments=("--reviewed-only",), mode="verbatim", knowledge=str(knowledge))
    page.goto(served.url)
    ask(page, "When should I see a doctor about a fever?")
    expect(page.locator(".turn").last).to_contain_text("Fever in adults")
    expect(page.locator(".turn").last).to_contain_text("Reviewed")
    ask(page, "my child has a fever what should i do")
    expect(page.locator(".turn").last.get_by_role("heading", name="Fever in children")).to_have_count(0)
    expect(page.get_by_text("no clinician has reviewed")).to_have_count(0)
    page.goto(served.staff_url)
    expect(page.locator(".lead")).to_contain_text("1 answers now, reviewed ones alone")


def test_the_page_fits_a_phone_and_works_by_keyboard(browser: Browser, served: Any):
    context = browser.new_context(viewport={"width": 360, "height": 720}, java_script_enabled=False)
    page = context.new_page()
    for path in ("/", "/asked", "/answer", "/try"):
        page.goto(f"{served.staff_url}{path}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        box = page.locator("main").bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 360, path
    page.goto(f"{served.staff_url}/try")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page's content")).to_be_focused()
    context.close()


def test_a_taken_staff_port_leaves_patients_served(serve: Callable[..., Any], served: Any, page: Page):
    port = int(served.staff_url.rpartition(":")[2])
    other = serve(mode="verbatim", staff_port=port)
    assert f"cannot listen on 127.0.0.1:{port}" in other.output()
    page.goto(other.url)
    expect(page.get_by_label("Your question")).to_be_visible(timeout=30_000)


def test_from_other_machines_a_key_is_asked_for(serve: Callable[..., Any], page: Page):
    served = serve(mode="verbatim", staff_host="0.0.0.0")
    assert page.goto(served.staff_url).status == 401
    key = re.search(r"\?key=(\S+)", served.output())
    assert key
    page.goto(f"{served.staff_url}/?key={key[1]}")
    expect(page.get_by_role("heading", name="How things are")).to_be_visible()
    assert "key=" not in page.url
