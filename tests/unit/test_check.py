"""``healthfaq check``: what staff are told, and its exit status."""

import json
from datetime import date
from pathlib import Path

import pytest
from fakes import CLINIC, SHIPPED_KNOWLEDGE
from fakes import answer as make_answer
from staff_folder import COUGH_FILE, FEVER_FILE, make_folder, write_answer, write_yaml

from chatbot.errors import KnowledgeError
from chatbot.staff.check import survey
from chatbot.staff.check_facts import disagreements
from chatbot.staff.check_questions import Asked, Shares, asked_json, threshold_problems
from chatbot.staff.check_text import line_problems, number_problems, safety_problems

pytestmark = pytest.mark.unit
TODAY = date(2026, 11, 23)


def found(problems) -> str:
    return "\n".join(f"{problem.severity} {problem}" for problem in problems)


def survey_of(root: Path) -> str:
    return found(survey(root, today=TODAY)[0].problems)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Call 202-555-0100 now.", "write {clinic_phone} instead"),
        ("Call (202) 555 0100 now.", "write {clinic_phone} instead"),
        ("Call **000** now.", "write {emergency_number} instead"),
        ("Dial 112 for help.", "put it into clinic.yaml"),
        ("Our line is +44 20 7946 0958.", "put it into clinic.yaml"),
        ("Call Poison Control at 1-800-222-1222.", "put it into clinic.yaml"),
    ],
)
def test_phone_numbers_belong_in_the_clinic_file(text: str, told: str):
    assert told in found(number_problems(text, CLINIC, "a.md", "text"))


@pytest.mark.parametrize(
    "text",
    [
        "Your blood pressure is 120/80 mm Hg.", "From 2023-2024, on 2026-11-23.", "Take 400 to 800 mcg.",
        "1,000 to 2,000 steps",
        "A fever is 100.4 °F (38 °C).", "Call {clinic_phone} if it lasts 3 days.", "Call us 10 minutes early.",
        "Ages 12-15 and 45-75.", "Wait 20 to 30 minutes.",
    ],
)  # fmt: skip
def test_other_numbers_are_left_alone(text: str):
    assert found(number_problems(text, CLINIC, "a.md", "text")) == ""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<b>bold</b> text", "holds HTML"), ("a\n\n<div onclick=x>\n\nb", "holds HTML"),
        ("![x](y.png)", "holds an image"), ("[x](javascript:alert(1))", "javascript:alert(1"),
        ("[x](/local)", "only https:// addresses"), ("left \u202e right", "right-to-left override"),
        ("zero\u200bwidth", "zero width space"), ("\x07 bell", "invisible sign"),
    ],
)  # fmt: skip
def test_text_a_page_could_not_show_safely_is_told(text: str, told: str):
    assert told in found(safety_problems(text, "a.md", "text"))


def test_ordinary_text_is_left_alone():
    text = "Under 3 < 5 and R&D.\n\n- [MedlinePlus](https://medlineplus.gov)\n- **bold** 100 °F\n\n1. One"
    assert found(safety_problems(text, "a.md", "text")) == ""
    assert found(line_problems("Is 3 < 5? I <3 it", "a.md", "title")) == ""


def test_numbers_that_disagree_about_the_same_thing_are_told():
    one = make_answer("a/one", "Stay at home for 24 hours after the fever has gone. Take it with food.")
    other = make_answer("b/two", "Stay home for 48 hours after the fever is gone.")
    assert "24 and 48 hour" in found(disagreements([one, other]))


@pytest.mark.parametrize(
    "text",
    [
        "Stay home for 24 hours after the fever is gone.",
        "A child stays home for 48 hours after the fever is gone.",
        "Wash the cut for 48 hours.",
    ],
)
def test_numbers_that_agree_or_speak_of_something_else_are_left_alone(text: str):
    one = make_answer("a/one", "Stay at home for 24 hours after the fever has gone.")
    assert found(disagreements([one, make_answer("b/two", text)])) == ""


def test_a_good_folder_is_in_order(tmp_path: Path):
    report, knowledge = survey(make_folder(tmp_path), today=TODAY)
    assert report.problems == ()
    assert len(knowledge.answers) == 2
    assert report.unchecked_sources == 1
    assert {row.state for row in report.reviews} == {"draft"}
    assert report.median_grade is not None


def test_every_kind_of_problem_of_every_file_is_told_at_once(tmp_path: Path):
    root = make_folder(tmp_path)
    (root / "clinic.yaml").write_text("name: X\n", encoding="utf-8")
    (root / "texts.yaml").write_text("colour: red\n", encoding="utf-8")
    write_answer(
        root, "fever/adults", FEVER_FILE.replace("title: Fever in adults\n", "").replace("{clinic_phone}", "x")
    )
    write_answer(root, "colds/cough", COUGH_FILE.replace("Honey", "Call 202-555-0199. <b>Honey</b>"))
    write_answer(root, "colds/Flu", COUGH_FILE)
    (root / "answers" / "colds" / "notes.docx").write_bytes(b"x")
    write_yaml(root / "checks.yaml", [{"question": "a?", "expect": "no/where"}, {"questoin": "b?"}])
    told = survey_of(root)
    for part in (
        "clinic.yaml: phone: is missing", "texts.yaml: colour: is not a known key",
        "fever/adults.md: title: is missing",
        "colds/cough.md: text: holds the phone number '202-555-0199'", "colds/cough.md: text: holds HTML",
        "colds/Flu.md: file name", "warning answers/colds/notes.docx: is not read", "neither an answer's id nor one of",
        "checks.yaml: entry 2, questoin",
    ):  # fmt: skip
        assert part in told, told


def test_reviews_are_told_by_who_when_and_until_when(tmp_path: Path):
    draft = "{status: draft, reviewer: null, reviewed: null, due: null}"
    root = make_folder(tmp_path, {"colds/cough": COUGH_FILE})
    for name, due in (("late", "2026-11-22"), ("soon", "2026-12-01"), ("fine", "2027-06-01")):
        review = f"{{status: reviewed, reviewer: Dr. Doe, reviewed: 2026-01-01, due: {due}}}"
        text = FEVER_FILE.replace(draft, review).replace("When should", f"{name}: when should")
        write_answer(root, f"fever/{name}", text.replace("What temp", f"{name}: what temp").replace("adults", name, 1))
    report, _ = survey(root, today=TODAY)
    assert {row.id: row.state for row in report.reviews} == {
        "colds/cough": "draft", "fever/late": "overdue", "fever/soon": "due soon", "fever/fine": "in force",
    }  # fmt: skip
    told = found(report.problems)
    assert "warning answers/fever/late.md: review.due: was 2026-11-22" in told
    assert "warning answers/fever/soon.md: review.due: is 2026-12-01; ask Dr. Doe" in told
    assert "fever/fine" not in told
    assert report.errors == ()


def test_dates_that_cannot_be_are_told(tmp_path: Path):
    draft = "{status: draft, reviewer: null, reviewed: null, due: null}"
    review = "{status: reviewed, reviewer: Dr. Doe, reviewed: 2027-01-01, due: 2026-12-31}"
    text = FEVER_FILE.replace(draft, review).replace("checked: 2026-01-02", "checked: 2027-02-02")
    told = survey_of(make_folder(tmp_path, {"fever/adults": text}))
    for part in (
        "sources.checked: is 2027-02-02, a day to come",
        "review.reviewed: is 2027-01-01",
        "not after the review",
    ):
        assert part in told


def test_hard_reading_is_a_warning(tmp_path: Path):
    hard = "Pharmacological " * 22 + "considerations. One. Two. Three."
    report, _ = survey(make_folder(tmp_path, {"a/b": COUGH_FILE + f"\n{hard}\n"}), today=TODAY)
    told = found(report.warnings)
    assert "asks for reading grade" in told
    assert "has a sentence of more than 20 words" in told
    assert "has a paragraph of more than 3 sentences" in told
    assert report.errors == ()


def test_no_folder_is_an_error_that_says_so(tmp_path: Path):
    with pytest.raises(KnowledgeError, match="there is no such folder"):
        survey(tmp_path / "nowhere", today=TODAY)


def test_the_shipped_knowledge_has_no_problem_and_reads_easily():
    report, _ = survey(SHIPPED_KNOWLEDGE, today=date.today())
    assert report.errors == ()
    assert report.median_grade is not None
    assert report.median_grade <= 8
    assert len(report.warnings) < 20, found(report.warnings)
    json.dumps(report.as_json())


def asked(outcome: str, *answers: str, expected: str = "a/b") -> Asked:
    return Asked(f"{outcome} {answers} {expected}", (expected,), outcome, answers, None)


@pytest.mark.parametrize(
    ("one", "verdict"),
    [
        (asked("answered", "a/b"), "right"), (asked("answered", "x/y"), "wrong"), (asked("no_answer"), "missed"),
        (asked("did_you_mean", "x/y", "a/b"), "offered"), (asked("did_you_mean", "x/y"), "missed"),
        (asked("emergency"), "missed"), (asked("emergency", expected="emergency"), "right"),
        (asked("no_answer", expected="no_answer"), "right"), (asked("answered", "a/b", expected="no_answer"), "wrong"),
        (asked("did_you_mean", "a/b", expected="no_answer"), "offered"),
    ],
)  # fmt: skip
def test_an_acceptance_question_is_judged_by_what_the_patient_got(one: Asked, verdict: str):
    assert one.verdict == verdict


def test_single_failures_are_warnings_and_too_many_are_a_problem():
    good = [asked("answered", "a/b")] * 17 + [asked("did_you_mean", "a/b", "c/d")]
    bad = [asked("no_answer"), asked("answered", "x/y")]
    assert not list(threshold_problems(good + bad, min_found=0.85, max_wrong=0.05))
    told = found(threshold_problems(good + bad * 3, min_found=0.85, max_wrong=0.05))
    assert "75.0% of the questions find their answer; at least 85% must" in told
    assert "12.5% of the questions get a wrong answer; at most 5% may" in told
    assert asked_json(good + bad)["by_kind"]["answered"]["n"] == 20
    assert Shares.of([]).right is None
