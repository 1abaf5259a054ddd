"""Reading the files that staff write: every problem told, nothing good hidden, nothing that crashes."""

import random
from datetime import date
from pathlib import Path

import pytest
from fakes import SHIPPED_KNOWLEDGE
from hypothesis import given, settings
from hypothesis import strategies as st
from staff_folder import COUGH_FILE, FEVER_FILE, corrupted, make_folder, write_answer

from chatbot.errors import KnowledgeError
from chatbot.knowledge import load_knowledge
from chatbot.shelf import AnswerShelf

pytestmark = pytest.mark.unit
REVIEWED = "{status: reviewed, reviewer: Dr. Doe, reviewed: 2026-01-01, due: 2026-06-01}"


def texts_of(problems) -> str:
    return "\n".join(map(str, problems))


def test_a_good_folder_has_no_problems_and_its_numbers_are_filled_in(tmp_path: Path):
    knowledge = load_knowledge(make_folder(tmp_path))
    assert knowledge.problems == ()
    assert list(knowledge.answers) == ["colds/cough", "fever/adults"]
    assert "Call 202-555-0100 if it lasts 3 days." in knowledge.answers["fever/adults"].text


def test_the_shipped_knowledge_is_in_order():
    assert load_knowledge(SHIPPED_KNOWLEDGE).problems == ()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda t: t.replace("title: Fever in adults\n", ""), "title: is missing; add it"),
        (
            lambda t: t.replace("audience: adults", "audiance: adults"),
            "audiance: is not a known key; check its spelling",
        ),
        (lambda t: t.replace("audience: adults", "audience: men"), "audience: must be one of 'everyone'"),
        (lambda t: t.replace("2026-01-02", "soon"), "sources.0.checked: is not a date; write it like 2026-11-23"),
        (
            lambda t: t.replace("https://medlineplus.gov/fever.html", "fever page"),
            "sources.0.url: is not a web address",
        ),
        (lambda t: t.replace("status: draft", "status: reviewed"), "review: reviewer, reviewed, due is empty"),
        (lambda t: t.replace("title: Fever in adults", "title: Fever: adults"), "line 2: is not valid YAML"),
        (lambda t: t.replace("title: Fever in adults", "title: [a"), "close every quote and bracket"),
        (
            lambda t: t.replace("{clinic_phone}", "{clinic_fone}"),
            "uses {clinic_fone}, which clinic.yaml does not define",
        ),
        (lambda t: t.split("---\n")[2], "has no head"),
        (lambda t: t.split("---\n")[0] + "---\n" + t.split("---\n")[1] + "---\n", "text: has no opening paragraph"),
        (
            lambda t: t.replace('questions: ["When', 'questions: "When').replace('fever?"]', 'fever?"'),
            "is not valid YAML",
        ),
    ],
)
def test_a_broken_answer_is_told_by_field_with_its_mend_and_hides_no_other(tmp_path: Path, damage, told: str):
    knowledge = load_knowledge(make_folder(tmp_path, {"fever/adults": damage(FEVER_FILE), "colds/cough": COUGH_FILE}))
    assert f"answers/fever/adults.md: {told}" in texts_of(knowledge.problems) or told in texts_of(knowledge.problems)
    assert list(knowledge.answers) == ["colds/cough"]


def test_all_problems_of_one_file_are_told_at_once(tmp_path: Path):
    head = "---\ntitle: ''\nquestions: []\nsources: [{title: x, url: y}]\ncolour: red\n---\nText here.\n"
    told = texts_of(load_knowledge(make_folder(tmp_path, {"a/b": head, "colds/cough": COUGH_FILE})).problems)
    for field in ("title", "questions", "sources.0.publisher", "sources.0.url", "colour"):
        assert f"answers/a/b.md: {field}:" in told


def test_without_clinic_facts_nothing_is_served_and_every_problem_is_named(tmp_path: Path):
    root = make_folder(tmp_path)
    (root / "clinic.yaml").write_text("name: X\nfone: 1\n", encoding="utf-8")
    (root / "texts.yaml").unlink()
    with pytest.raises(KnowledgeError) as raised:
        load_knowledge(root)
    told = str(raised.value)
    assert "clinic.yaml: phone: is missing" in told
    assert "clinic.yaml: fone: is not a known key" in told
    assert "texts.yaml: is missing" in told


def test_former_facts_stand_in_for_a_clinic_file_that_broke(tmp_path: Path):
    root = make_folder(tmp_path)
    before = load_knowledge(root)
    (root / "clinic.yaml").write_text("name: [", encoding="utf-8")
    after = load_knowledge(root, previous=before)
    assert after.clinic == before.clinic
    assert "is not valid YAML" in texts_of(after.problems)


def test_retired_answers_are_never_served_and_overdue_ones_are_told(tmp_path: Path):
    draft = "{status: draft, reviewer: null, reviewed: null, due: null}"
    root = make_folder(tmp_path, {"fever/adults": FEVER_FILE.replace(draft, REVIEWED)})
    write_answer(root, "colds/cough", COUGH_FILE.replace("---\nA cough", "review: {status: retired}\n---\nA cough"))
    late = load_knowledge(root, today=date(2026, 6, 2))
    assert list(late.answers) == ["fever/adults"]
    assert "review.due: was 2026-06-01" in texts_of(late.problems)
    assert not load_knowledge(root, today=date(2026, 6, 2), reviewed_only=True).answers
    assert load_knowledge(root, today=date(2026, 6, 1), reviewed_only=True).answers
    assert load_knowledge(root, today=date(2026, 6, 1)).problems == ()


def test_questions_that_stand_twice_and_dead_links_are_told(tmp_path: Path):
    other = COUGH_FILE.replace("How do I get rid of a cough?", "what temperature is a FEVER")
    other = other.replace("---\nA cough", "see_also: [fever/nowhere]\n---\nA cough")
    told = texts_of(load_knowledge(make_folder(tmp_path, {"fever/adults": FEVER_FILE, "a/b": other})).problems)
    assert "stands in answers/a/b.md too" in told
    assert "names fever/nowhere, which is not an answer" in told


def test_a_few_aliases_that_stand_for_endless_text_do_no_harm(tmp_path: Path):
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
    )
    knowledge = load_knowledge(make_folder(tmp_path, {"a/b": f"---\n{bomb}title: *i\n---\nText.\n", "c/d": COUGH_FILE}))
    assert list(knowledge.answers) == ["c/d"]


def test_a_hundred_broken_files_are_each_told_and_none_stops_the_others(tmp_path: Path):
    rng = random.Random(7)
    root = make_folder(tmp_path)
    broken = {f"broken/file-{n}": corrupted(FEVER_FILE, rng) for n in range(100)}
    for id_, content in broken.items():
        write_answer(root, id_, "").write_bytes(content)
    for read in (None, AnswerShelf()):
        knowledge = load_knowledge(root, read=read)
        told = {problem.path for problem in knowledge.problems}
        served = set(knowledge.answers)
        assert {"fever/adults", "colds/cough"} <= served
        assert {id_ for id_ in broken if f"answers/{id_}.md" not in told} <= served  # a cut can leave a good file


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=400), st.integers(0, len(FEVER_FILE)))
def test_no_bytes_at_all_make_reading_fail(tmp_path_factory: pytest.TempPathFactory, junk: bytes, at: int):
    root = make_folder(tmp_path_factory.mktemp("knowledge"))
    raw = FEVER_FILE.encode()
    write_answer(root, "fever/adults", "").write_bytes(raw[:at] + junk + raw[at:])
    assert "colds/cough" in load_knowledge(root).answers


def test_the_shelf_reads_only_what_changed(tmp_path: Path):
    root = make_folder(tmp_path)
    shelf = AnswerShelf()
    first = load_knowledge(root, read=shelf)
    write_answer(root, "colds/cough", COUGH_FILE.replace("3 weeks", "4 weeks"))
    second = load_knowledge(root, read=shelf)
    assert second.answers["fever/adults"] is not None
    assert "4 weeks" in second.answers["colds/cough"].text
    assert first.answers["fever/adults"] == second.answers["fever/adults"]
    assert load_knowledge(root).answers == second.answers


def test_a_file_that_breaks_keeps_its_last_good_version_with_the_present_numbers(tmp_path: Path):
    root = make_folder(tmp_path)
    shelf = AnswerShelf()
    load_knowledge(root, read=shelf)
    write_answer(root, "fever/adults", "---\ntitle: [\n---\n")
    clinic = root / "clinic.yaml"
    clinic.write_text(clinic.read_text(encoding="utf-8").replace("202-555-0100", "202-555-0199"), encoding="utf-8")
    knowledge = load_knowledge(root, read=shelf)
    assert "Call 202-555-0199 if it lasts" in knowledge.answers["fever/adults"].text
    assert "Patients see its last good version" in texts_of(knowledge.problems)


def test_a_broken_file_that_says_it_is_retired_is_gone(tmp_path: Path):
    root = make_folder(tmp_path)
    shelf = AnswerShelf()
    load_knowledge(root, read=shelf)
    write_answer(
        root, "fever/adults", FEVER_FILE.replace("status: draft", "status: retired").replace("title:", "titel:")
    )
    assert "fever/adults" not in load_knowledge(root, read=shelf).answers


def test_a_deleted_file_is_gone_even_when_it_was_broken_before(tmp_path: Path):
    root = make_folder(tmp_path)
    shelf = AnswerShelf()
    load_knowledge(root, read=shelf)
    path = write_answer(root, "fever/adults", "broken")
    assert "fever/adults" in load_knowledge(root, read=shelf).answers
    path.unlink()
    assert list(load_knowledge(root, read=shelf).answers) == ["colds/cough"]


def test_hidden_files_and_drafts_aside_are_left_alone(tmp_path: Path):
    root = make_folder(tmp_path)
    for id_ in ("fever/.#adults", "fever/_idea", ".git/x", "_old/y"):
        write_answer(root, id_, "not an answer")
    assert load_knowledge(root).problems == ()
    assert load_knowledge(root, read=AnswerShelf()).problems == ()
