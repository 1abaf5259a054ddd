"""What patients asked in vain, for staff who switched this record on: redacted questions, by day, kept for a while.

A reply never waits for it and never fails because of it: a question is handed to a thread of its own, which alone
speaks to the database. No question's words are ever logged.
"""

import json
import logging
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

from sqlalchemy import Engine, String, UniqueConstraint, create_engine, delete, func, select, update
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from chatbot.errors import SettingsError
from chatbot.staff.redaction import LONGEST, redacted

GapKind = Literal["no_answer", "did_you_mean", "not_helpful"]
MOST_WAITING = 1000  # questions that may wait to be written; more are not recorded
FILE = "gaps.db"
log = logging.getLogger(__name__)


class _Tables(DeclarativeBase):
    """The record's one table."""


class _Row(_Tables):
    __tablename__ = "gaps"
    __table_args__ = (UniqueConstraint("day", "question", "kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(index=True)  # the day alone: a time could point at one person
    question: Mapped[str] = mapped_column(String(LONGEST))
    kind: Mapped[str] = mapped_column(String(20))
    nearest: Mapped[str] = mapped_column(String(1000))  # a JSON list of answer ids, nearest first
    times: Mapped[int]


@dataclass(frozen=True, slots=True)
class Gap:
    """One wording that found no answer, or whose suggestions nobody chose, over all days that are kept."""

    question: str  # redacted
    times: int
    first: date
    last: date
    unanswered: int  # of those times, how often nothing was found; the rest: suggestions that nobody chose, no help
    nearest: tuple[str, ...]  # answer ids


@dataclass(frozen=True, slots=True)
class _Noted:
    question: str
    kind: GapKind
    nearest: tuple[str, ...]
    is_chosen: bool = False  # a suggestion was chosen after all: take one time back


class GapRecord:
    """The record in one database (a Gaps, see pipeline). Safe to use from several threads."""

    def __init__(self, url: str, *, keep_days: int, today: Callable[[], date] = date.today) -> None:
        """Open the record, and make its table where there is none.

        Args:
            url: A database's URL, as SQLAlchemy writes it.
            keep_days: Older questions are deleted.
            today: The day, in the clinic's own time.

        Raises:
            SettingsError: There is no such database, or it cannot be opened.
        """
        self._keep_days, self._today = keep_days, today
        try:
            # hide_parameters: an error's message must not carry a question's words into a log.
            self._engine: Engine = create_engine(url, hide_parameters=True, pool_pre_ping=True)
            _Tables.metadata.create_all(self._engine)
            self._swept: date | None = None
            self._sweep()
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            raise SettingsError(f"gaps.url: cannot be used ({error}); write it like sqlite:////srv/gaps.db") from error
        except SQLAlchemyError as error:
            raise SettingsError(
                f"gaps.url: the database cannot be opened ({_reason(error)}); mend it or set gaps.record to false"
            ) from error
        self._waiting: queue.Queue[_Noted | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._work, name="gaps", daemon=True)
        self._thread.start()

    def note(self, question: str, kind: GapKind, nearest: Sequence[str]) -> None:
        """Remember a question that was asked in vain; returns at once, whatever happens to the record."""
        self._hand_over(_Noted(question, kind, tuple(nearest)))

    def chosen(self, question: str) -> None:
        """Take back one "did you mean" of this question: the patient found what was meant."""
        self._hand_over(_Noted(question, "did_you_mean", (), is_chosen=True))

    def gaps(self) -> list[Gap]:
        """Return every wording that is kept, the most frequent first, then by name.

        Raises:
            SQLAlchemyError: The database does not answer.
        """
        self._sweep()
        with Session(self._engine) as session:
            rows = session.scalars(select(_Row).where(_Row.times > 0).order_by(_Row.day)).all()
        by_question: dict[str, list[_Row]] = {}
        for row in rows:
            by_question.setdefault(row.question, []).append(row)
        gaps = [_gap(question, own) for question, own in by_question.items()]
        return sorted(gaps, key=lambda gap: (-gap.times, gap.question))

    def forget(self, questions: Iterable[str]) -> None:
        """Delete these wordings, as staff do once they have answered them.

        Raises:
            SQLAlchemyError: The database does not answer.
        """
        with Session(self._engine) as session, session.begin():
            session.execute(delete(_Row).where(_Row.question.in_(list(questions))))

    def settle(self) -> None:
        """Wait until everything that was noted is written."""
        self._waiting.join()

    def close(self) -> None:
        """Write what waits and close the database."""
        self._waiting.put(None)
        self._thread.join(timeout=10)
        self._engine.dispose()

    def _hand_over(self, noted: _Noted) -> None:
        try:
            self._waiting.put_nowait(noted)
        except queue.Full:
            log.warning("the record of unanswered questions is behind; one question was not recorded")

    def _work(self) -> None:
        while (noted := self._waiting.get()) is not None:
            try:
                self._write(noted)
            except Exception as error:  # whatever it is, the next question may be recorded
                log.warning("a question could not be recorded (%s)", type(error).__name__)
            finally:
                self._waiting.task_done()
        self._waiting.task_done()

    def _write(self, noted: _Noted) -> None:
        self._sweep()
        question = redacted(noted.question)
        if not question:
            return
        own = (_Row.question == question, _Row.kind == noted.kind)
        with Session(self._engine) as session, session.begin():
            if noted.is_chosen:
                newest = select(func.max(_Row.day)).where(*own, _Row.times > 0).scalar_subquery()
                session.execute(update(_Row).where(*own, _Row.day == newest).values(times=_Row.times - 1))
                return
            row = session.scalars(select(_Row).where(*own, _Row.day == self._today()).with_for_update()).one_or_none()
            if row is None:
                row = _Row(day=self._today(), question=question, kind=noted.kind, nearest="[]", times=0)
                session.add(row)
            row.times += 1
            row.nearest = json.dumps(noted.nearest[:3])

    def _sweep(self) -> None:
        """Delete what is too old, once a day."""
        today = self._today()
        if self._swept == today:
            return
        with Session(self._engine) as session, session.begin():
            session.execute(delete(_Row).where(_Row.day <= today - timedelta(days=self._keep_days)))
        self._swept = today


def _gap(question: str, rows: Sequence[_Row]) -> Gap:
    return Gap(
        question=question,
        times=sum(row.times for row in rows),
        first=rows[0].day,
        last=rows[-1].day,
        unanswered=sum(row.times for row in rows if row.kind == "no_answer"),
        nearest=tuple(json.loads(rows[-1].nearest)),
    )


def _reason(error: SQLAlchemyError) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())[:200]


def open_gaps(url: str, state: Path, *, keep_days: int) -> GapRecord:
    """Return the record at this URL; without one it is a SQLite file in the state folder.

    Raises:
        SettingsError: It cannot be opened.
    """
    if not url:
        try:
            state.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"{state} cannot be written ({error.strerror}); choose another `state`") from error
        url = f"sqlite:///{state.resolve() / FILE}"
    return GapRecord(url, keep_days=keep_days)
