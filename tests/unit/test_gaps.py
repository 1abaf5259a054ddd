"""What patients asked in vain: redacted, counted by day, kept for a while, and never in a reply's way."""

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import pytest
from fakes import ANSWERED, CLINIC, FEVER, TEXTS, FixedRetriever, WordGate

from chatbot.errors import SettingsError
from chatbot.knowledge import Knowledge
from chatbot.pipeline import Pipeline
from chatbot.reply import Turn
from chatbot.retrieval.retriever import Decision, Hit
from chatbot.staff.gaps import FILE, MOST_WAITING, GapRecord, open_gaps

pytestmark = pytest.mark.unit
MONDAY = date(2026, 11, 23)
NOTHING = Decision("no_answer", hits=(Hit("fever/adults", 0.1, 1),))
TWO = Decision("did_you_mean", candidates=("fever/adults",), hits=(Hit("fever/adults", 0.4, 1),))


@dataclass
class Calendar:
    day: date = MONDAY

    def __call__(self) -> date:
        return self.day


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


@pytest.fixture
def open_record(tmp_path: Path, calendar: Calendar) -> Iterator[Callable[..., GapRecord]]:
    opened: list[GapRecord] = []

    def open_(keep_days: int = 30) -> GapRecord:
        opened.append(GapRecord(f"sqlite:///{tmp_path / FILE}", keep_days=keep_days, today=calendar))
        return opened[-1]

    yield open_
    for record in opened:
        record.close()


@pytest.fixture
def record(open_record: Callable[..., GapRecord]) -> GapRecord:
    return open_record()


def test_a_question_is_kept_redacted_with_its_day_and_count(record: GapRecord):
    for _ in range(3):
        record.note("My name is Anna. Can I bring my dog?", "no_answer", ["clinic/visit"])
    record.note("my name is bob. can i bring my dog?", "no_answer", [])
    record.settle()
    first, second = record.gaps()
    assert (first.question, first.times, first.unanswered) == ("My name is [name]. Can I bring my dog?", 3, 3)
    assert (first.first, first.last, first.nearest) == (MONDAY, MONDAY, ("clinic/visit",))
    assert second.question == "my name is [name]. can i bring my dog?"


def test_nothing_but_the_day_and_the_redacted_words_reaches_the_disk(record: GapRecord, tmp_path: Path):
    record.note("call 202-555-0142 for anna@example.org about dogs", "no_answer", ["clinic/visit"])
    record.settle()
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        rows = database.execute("select * from gaps").fetchall()
        columns = [row[1] for row in database.execute("pragma table_info(gaps)")]
    assert columns == ["id", "day", "question", "kind", "nearest", "times"]
    assert rows == [(1, "2026-11-23", "call [number] for [e-mail] about dogs", "no_answer", '["clinic/visit"]', 1)]
    assert b"0142" not in (tmp_path / FILE).read_bytes()


def test_questions_are_deleted_after_their_days(open_record: Callable[..., GapRecord], calendar: Calendar):
    record = open_record(keep_days=30)
    record.note("old", "no_answer", [])
    record.settle()
    calendar.day += timedelta(days=29)
    record.note("new", "no_answer", [])
    record.settle()
    assert {gap.question for gap in record.gaps()} == {"old", "new"}
    calendar.day += timedelta(days=1)
    assert {gap.question for gap in record.gaps()} == {"new"}
    record.close()
    calendar.day += timedelta(days=40)
    assert open_record(keep_days=30).gaps() == []


def test_days_of_one_wording_are_one_line(record: GapRecord, calendar: Calendar):
    for _ in range(2):
        record.note("can i bring my dog", "no_answer", [])
        record.settle()
        calendar.day += timedelta(days=1)
    (gap,) = record.gaps()
    assert (gap.times, gap.first, gap.last) == (2, MONDAY, MONDAY + timedelta(days=1))


def test_a_suggestion_that_was_chosen_is_no_gap(record: GapRecord):
    for _ in range(2):
        record.note("dog", "did_you_mean", ["a/b"])
    record.chosen("dog")
    record.settle()
    assert [(gap.times, gap.unanswered) for gap in record.gaps()] == [(1, 0)]
    for _ in range(3):
        record.chosen("dog")
    record.settle()
    assert record.gaps() == []


def test_what_staff_have_answered_is_forgotten(record: GapRecord):
    for question in ("one", "two", "three"):
        record.note(question, "no_answer", [])
    record.settle()
    record.forget(["one", "three"])
    assert [gap.question for gap in record.gaps()] == ["two"]


def test_a_database_that_fails_stops_no_reply_and_tells_no_words(
    record: GapRecord, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        database.execute("drop table gaps")
    record.note("a very private question", "no_answer", [])
    record.settle()
    assert "could not be recorded" in caplog.text
    assert "private" not in caplog.text


def test_a_flood_is_cut_off_and_never_waited_for(record: GapRecord, caplog: pytest.LogCaptureFixture):
    record._write = lambda noted: stopped.wait()  # type: ignore[method-assign]
    import threading

    stopped = threading.Event()
    for _ in range(MOST_WAITING + 20):
        record.note("again", "no_answer", [])
    assert "is behind" in caplog.text
    stopped.set()


@pytest.mark.parametrize(
    "url", ["nonsense", "nosuchdb://x", "sqlite:////no/such/folder/gaps.db", "postgresql+nodriver://x"]
)
def test_a_database_that_cannot_be_opened_is_told_in_one_line(url: str, tmp_path: Path):
    with pytest.raises(SettingsError, match=r"^gaps\.url: ") as error:
        open_gaps(url, tmp_path, keep_days=1)
    assert "\n" not in str(error.value)


@dataclass
class ListedGaps:
    noted: list[tuple[str, str, list[str]]] = field(default_factory=list)
    taken_back: list[str] = field(default_factory=list)

    def note(self, question, kind, nearest):
        self.noted.append((question, kind, list(nearest)))

    def chosen(self, question):
        self.taken_back.append(question)


def asked(question: str, decision: Decision, history=(), chosen=None) -> ListedGaps:
    gaps = ListedGaps()
    knowledge = Knowledge(Path(), CLINIC, TEXTS, {FEVER.id: FEVER})
    pipeline = Pipeline(knowledge, WordGate(), FixedRetriever(decision), None, None, gaps=gaps)  # type: ignore[arg-type]
    list(pipeline.ask(question, history, mode="verbatim", chosen=chosen))
    return gaps


def test_a_turn_notes_what_found_nothing_or_only_suggestions():
    assert asked("dogs?", NOTHING).noted == [("dogs?", "no_answer", ["fever/adults"])]
    assert asked("dogs?", TWO).noted == [("dogs?", "did_you_mean", ["fever/adults"])]


@pytest.mark.parametrize("question", ["my chest hurts", "hello", "   "])
def test_emergencies_greetings_and_empty_messages_are_never_noted(question: str):
    assert asked(question, NOTHING).noted == []


def test_an_answered_question_is_not_noted_and_a_choice_takes_its_question_back():
    assert asked("fever?", ANSWERED).noted == []
    history = [Turn("user", "what about fire"), Turn("assistant", "Which one did you mean?")]
    gaps = asked("Fever in adults", TWO, history, chosen=FEVER.id)
    assert (gaps.noted, gaps.taken_back) == ([], ["what about fire"])
