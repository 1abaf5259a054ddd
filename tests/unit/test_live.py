"""The service follows the files: at once what is gone or edited, the rest when it is embedded."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from staff_folder import COUGH_FILE, FEVER_FILE, WordVectors, make_folder, write_answer

from chatbot.bootstrap import SOON, Service, open_service, recalibrate, reload
from chatbot.retrieval.remembering import Interrupted, RememberingEmbedder
from chatbot.retrieval.retriever import Decision, Hit
from chatbot.retrieval.served import ServedOnly
from chatbot.settings import Settings
from chatbot.staff.live import LiveService

pytestmark = pytest.mark.unit
WAIT_S = 30  # on a busy machine; the real times are in tests/measurements/staff.md


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "knowledge", safety=True)


@pytest.fixture
def service(root: Path, tmp_path: Path) -> Service:
    settings = Settings(knowledge=root, state=tmp_path / "state", mode="verbatim")
    return open_service(settings, with_model=False, embedder=WordVectors())


@pytest.fixture
def live(service: Service) -> Iterator[LiveService[Service]]:
    told: list[str] = []
    live = LiveService(service, reload, recalibrate, say=told.append)
    live.told = told  # type: ignore[attr-defined]
    live.start()
    yield live
    live.stop()


def test_edited_new_and_deleted_answers_are_followed(live: LiveService[Service], root: Path):
    write_answer(root, "fever/adults", FEVER_FILE.replace("Rest and drink", "Sleep and drink"))
    until(lambda: "Sleep and" in live.knowledge.answers["fever/adults"].text)
    write_answer(root, "skin/rash", COUGH_FILE.replace("Cough", "Rash").replace("a cough", "a rash"))
    until(lambda: "skin/rash" in live.knowledge.answers)
    (root / "answers" / "colds" / "cough.md").unlink()
    until(lambda: "colds/cough" not in live.knowledge.answers)
    until(lambda: any("gone" in line for line in live.told))  # type: ignore[attr-defined]
    assert set(live.knowledge.answers) == {"fever/adults", "skin/rash"}
    reply = live.pipeline.reply("How do I get rid of a rash?")
    assert [citation.id for citation in reply.citations][:1] == ["skin/rash"]


def test_a_save_by_renaming_a_moved_file_and_a_copied_folder_are_followed(live: LiveService[Service], root: Path):
    path = root / "answers" / "fever" / "adults.md"
    beside = path.with_name("adults.md~")
    beside.write_text(FEVER_FILE.replace("Rest and", "Sleep and"), encoding="utf-8")
    beside.replace(path)
    until(lambda: "Sleep and" in live.knowledge.answers["fever/adults"].text)
    path.rename(path.with_name("grown-ups.md"))
    until(lambda: {"fever/grown-ups", "colds/cough"} == set(live.knowledge.answers))
    shutil.copytree(root / "answers" / "fever", root / "answers" / "copied")
    until(lambda: "copied/grown-ups" in live.knowledge.answers)
    shutil.rmtree(root / "answers" / "copied")
    until(lambda: "copied/grown-ups" not in live.knowledge.answers)
    assert set(live.knowledge.answers) == {"fever/grown-ups", "colds/cough"}
    assert "Sleep and" in live.knowledge.answers["fever/grown-ups"].text


def test_another_folder_in_the_place_of_this_one_is_followed(live: LiveService[Service], root: Path, tmp_path: Path):
    other = tmp_path / "other"
    shutil.copytree(root, other)
    write_answer(other, "fever/adults", FEVER_FILE.replace("Rest and", "Sleep and"))
    root.rename(tmp_path / "away")
    until(lambda: any("no such folder" in str(problem) for problem in live.problems))
    assert "fever/adults" in live.knowledge.answers
    other.rename(root)
    until(lambda: not live.problems and "Sleep and" in live.knowledge.answers["fever/adults"].text)
    write_answer(root, "fever/adults", FEVER_FILE.replace("Rest and", "Walk and"))
    until(lambda: "Walk and" in live.knowledge.answers["fever/adults"].text)


def test_a_broken_answer_stays_as_it_was_and_staff_are_told(live: LiveService[Service], root: Path):
    write_answer(root, "fever/adults", "---\ntitle: [\n---\n")
    until(lambda: any("its last good version" in str(problem) for problem in live.problems))
    assert "Rest and drink" in live.knowledge.answers["fever/adults"].text
    assert any("fever/adults.md" in line for line in live.told)  # type: ignore[attr-defined]
    write_answer(root, "fever/adults", FEVER_FILE)
    until(lambda: not live.problems)


def test_broken_safety_rules_facts_and_texts_leave_the_last_good_ones_in_force(service: Service, root: Path):
    for name in ("clinic.yaml", "texts.yaml", "safety/heart.yaml"):
        good = (root / name).read_text(encoding="utf-8")
        (root / name).write_text("broken: [", encoding="utf-8")
        after = reload(service)
        assert any(problem.path == name for problem in after.problems), name
        assert after.knowledge.clinic == service.knowledge.clinic
        assert after.knowledge.texts == service.knowledge.texts
        assert after.parts.gate is service.parts.gate
        (root / name).write_text(good, encoding="utf-8")
    mended = reload(after)
    assert mended.problems == ()


def test_new_facts_reach_answers_texts_and_cards(service: Service, root: Path):
    clinic = root / "clinic.yaml"
    clinic.write_text(clinic.read_text(encoding="utf-8").replace("'000'", "'999'"), encoding="utf-8")
    after = reload(service)
    cards = [group.card for group in after.parts.gate.rules.groups.values()]
    assert any("999" in card for card in cards)
    assert not any("Call 000" in card for card in cards)


def test_only_what_changed_is_embedded_again(service: Service, root: Path):
    embedder = service.parts.embedder
    assert isinstance(embedder, WordVectors)
    embedder.seen.clear()
    write_answer(root, "fever/adults", FEVER_FILE.replace("Rest and drink", "Sleep and drink"))
    after = reload(service)
    assert embedder.seen
    assert all("Sleep and drink" in text for text in embedder.seen)
    assert after.retriever.index.answers == dict(after.knowledge.answers)


def test_retired_answers_are_gone_before_anything_is_embedded(service: Service, root: Path):
    embedder = service.parts.embedder
    assert isinstance(embedder, WordVectors)
    embedder.seen.clear()
    write_answer(root, "fever/adults", FEVER_FILE.replace("status: draft", "status: retired"))
    for number in range(SOON + 5):
        write_answer(root, f"many/new-{number}", COUGH_FILE.replace("a cough", f"cough number {number}"))
    now = reload(service, "now")
    assert embedder.seen == []
    assert set(now.knowledge.answers) == {"colds/cough"}
    assert not now.is_settled
    assert now.n_waiting == SOON + 5
    reply = now.pipeline.reply("What temperature is a fever?")
    assert "fever/adults" not in [citation.id for citation in reply.citations]
    soon = reload(now, "soon")
    assert len(soon.knowledge.answers) == SOON + 1
    whole = reload(soon, "whole")
    assert len(whole.knowledge.answers) == SOON + 6
    assert whole.is_settled


def test_an_edit_is_shown_before_it_is_embedded(service: Service, root: Path):
    write_answer(root, "fever/adults", FEVER_FILE.replace("Rest and drink", "Sleep and drink"))
    now = reload(service, "now")
    assert now.n_waiting == 1
    reply = now.pipeline.reply("What temperature is a fever?")
    assert "Sleep and drink" in now.knowledge.answers["fever/adults"].text
    assert "Rest and drink" not in reply.text


def test_what_was_embedded_before_an_interruption_is_not_lost():
    embedder = WordVectors()
    careful = RememberingEmbedder(embedder)
    texts = [f"text {number}" for number in range(40)]
    stops = iter([False, False, True])
    careful.interrupted = lambda: next(stops)
    with pytest.raises(Interrupted):
        careful.encode(texts)
    assert len(embedder.seen) == 32
    careful.interrupted = lambda: False
    vectors = careful.encode(texts)
    assert len(embedder.seen) == 40
    assert (vectors == WordVectors().encode(texts)).all()


def test_an_answer_that_is_gone_is_never_decided_on():
    class Fixed:
        def decide(self, question: str, history: object = ()) -> Decision:
            hits = (Hit("a/gone", 0.9, 1), Hit("a/here", 0.8, 2))
            return Decision(self.kind, self.candidates, self.candidates, hits)

    fixed = Fixed()
    served = ServedOnly(fixed, {"a/here": None})  # type: ignore[dict-item]
    fixed.kind, fixed.candidates = "answered", ("a/gone",)
    decision = served.decide("q")
    assert (decision.kind, decision.candidates, [hit.answer_id for hit in decision.hits]) == (
        "no_answer",
        (),
        ["a/here"],
    )
    fixed.kind, fixed.candidates = "did_you_mean", ("a/gone", "a/here")
    assert served.decide("q").candidates == ("a/here",)
    fixed.kind, fixed.candidates = "answered", ("a/here",)
    assert served.decide("q").candidates == ("a/here",)


def test_replies_go_on_while_files_change(live: LiveService[Service], root: Path):
    failures: list[BaseException] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                assert live.pipeline.reply("What temperature is a fever?", mode="verbatim").text
            except BaseException as error:
                failures.append(error)

    patients = [threading.Thread(target=ask) for _ in range(3)]
    for patient in patients:
        patient.start()
    for number in range(10):
        write_answer(root, "fever/adults", FEVER_FILE.replace("Rest", f"Rest {number}") if number % 3 else "broken")
        write_answer(root, f"new/one-{number}", COUGH_FILE.replace("a cough", f"thing {number}"))
        if number > 2:
            (root / "answers" / "new" / f"one-{number - 2}.md").unlink()
        time.sleep(0.05)
    until(lambda: "new/one-9" in live.knowledge.answers)
    over.set()
    for patient in patients:
        patient.join()
    assert failures == []
