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
OVERDUE, RETIRED = "blood-pressure/low", "skin/athletes-foot"
REVIEW = "review: {status: draft, reviewer: null, reviewed: null, due: null}"


def some_knowledge(folder: Path) -> Path:
    """Return a copy of the shipped knowledge with a few of its topics, so that its index is soon built."""
    kept = ("fever", "blood-pressure", "skin")
    for topic in (PROJECT / "knowledge" / "answers").iterdir():
        if topic.name in kept:
            shutil.copytree(topic, folder / "knowledge" / "answers" / topic.name)
    for name in ("clinic.yaml", "texts.yaml", "synonyms.yaml"):
        shutil.copy(PROJECT / "knowledge" / name, folder / "knowledge" / name)
    shutil.copytree(PROJECT / "knowledge" / "safety", folder / "knowledge" / "safety")
    return folder / "knowledge"


def reviewed(knowledge: Path, id_: str, due: str) -> None:
    file = knowledge / "answers" / f"{id_}.md"
    text = file.read_text(encoding="utf-8")
    assert REVIEW in text
    signed = f"review: {{status: reviewed, reviewer: Dr. Doe, reviewed: 2020-01-02, due: {due}}}"
    file.write_text(text.replace(REVIEW, signed), encoding="utf-8")


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = some_knowledge(tmp_path_factory.mktemp("clinic"))
    reviewed(folder, OVERDUE, "2021-01-02")
    retired = folder / "answers" / f"{RETIRED}.md"
    retired.write_text(
        retired.read_text(encoding="utf-8").replace(REVIEW, REVIEW.replace("draft", "retired")), encoding="utf-8"
    )
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
    page.get_by_label("Answer", exact=True).fill(
        "Please leave your dog at home. Call 202-555-0142 if you need help with that."
    )
    page.get_by_label("Topic").fill("clinic")
    page.get_by_label("Title of the page").fill("House rules")
    page.get_by_label("Who publishes it").fill("The clinic")
    page.get_by_label("Web address").fill("https://example.org/rules")
    page.get_by_role("button", name="Look at it").click()
    expect(page.get_by_role("alert")).to_contain_text("write {clinic_phone} instead")
    expect(page.get_by_role("button", name="Publish as a draft")).to_have_count(0)

    page.get_by_label("Answer", exact=True).fill(
        "Please leave your dog at home. Call {clinic_phone} if you need help with that."
    )
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
    row = page.get_by_role("row").filter(has_text="answers/fever/adults.md").filter(has_text="audience")
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


def test_overdue_says_being_reviewed_and_retired_is_gone(page: Page, patient: Page, served: Any):
    ask(patient, "What is low blood pressure?")
    expect(patient.locator(".turn").last).to_contain_text("Low blood pressure")
    expect(patient.locator(".turn").last).to_contain_text("being reviewed")
    ask(patient, "How do I treat athlete's foot?")
    expect(patient.locator(".turn").last).not_to_contain_text("Athlete's foot is")
    page.goto(served.staff_url)
    row = page.get_by_role("row").filter(has_text=OVERDUE)
    expect(row.filter(has_text="Dr. Doe")).to_contain_text("overdue")


def test_reviewed_only_serves_nothing_but_reviews_in_force(serve: Callable[..., Any], page: Page, tmp_path: Path):
    knowledge = some_knowledge(tmp_path)
    reviewed(knowledge, "fever/adults", "2031-01-02")
    reviewed(knowledge, "fever/children", "2021-01-02")
    served = serve(arguments=("--reviewed-only",), mode="verbatim", knowledge=str(knowledge))
    page.goto(served.url)
    ask(page, "When should I see a doctor about a fever?")
    expect(page.locator(".turn").last).to_contain_text("Fever in adults")
    expect(page.locator(".turn").last).to_contain_text("Checked by a clinician on 2020-01-02")
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
