"""The staff page: how the knowledge is, what patients asked in vain, a form for a new answer, a question to try.

Plain pages and forms without any script, so that nothing typed or kept can ever become one.
"""

import csv
import io
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qs

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from chatbot.bootstrap import Service
from chatbot.energy import CHATBOT_ANSWER_WH, EnergyMeter
from chatbot.explain import explain, explanation_html
from chatbot.knowledge import Answer, Audience, Knowledge
from chatbot.page.cards import Setting, turn_html
from chatbot.page.staff_guard import Access, StaffGuard
from chatbot.page.words import shipped_words
from chatbot.pipeline import Event, Finished, Pipeline
from chatbot.reply import Outcome, Reply
from chatbot.retrieval.remembering import stepwise
from chatbot.staff.check import MAX_COMPARED, Report, review_row, survey
from chatbot.staff.gap_groups import GapGroup, grouped
from chatbot.staff.gaps import GapRecord
from chatbot.staff.live import LiveService
from chatbot.staff.publish import AnswerForm, CheckedForm, check_form, publish

HERE = Path(__file__).parent
LIVE_WITHIN_S = 8.0  # how long a published answer is waited for before the page says that it follows
MOST_PREFILLED = 5  # wordings of a question that a new answer's form begins with
FIELD_LABELS = {
    "title": "Title:", "questions": "Questions:", "text": "Answer:", "reading": "Answer:", "topic": "Topic:",
    "audience": "For whom:", "sources": "Where it comes from:",
}  # fmt: skip
Fields = Mapping[str, str]
Work = Callable[[Fields], Response]


def build_staff_app(live: LiveService[Service], record: GapRecord | None, access: Access) -> StaffGuard:
    """Return the staff page behind its guard.

    Args:
        live: The service that patients use; its newest state is shown.
        record: What patients asked in vain; None while that is not recorded.
        access: Who may come in.
    """
    page = _StaffPage(live, record)
    files = {"/patients.css": HERE / "page.css", "/staff.css": HERE / "staff.css"}
    routes = [Route(path, _file(file), methods=["GET"]) for path, file in files.items()]
    routes += [
        Route("/", _endpoint(page.home), methods=["GET"]),
        Route("/asked", _endpoint(page.asked), methods=["GET"]),
        Route("/asked.csv", _endpoint(page.asked_csv), methods=["GET"]),
        Route("/asked/forget", _endpoint(page.forget), methods=["POST"]),
        Route("/answer", _endpoint(page.answer), methods=["GET", "POST"]),
        Route("/try", _endpoint(page.try_question), methods=["GET", "POST"]),
    ]
    return StaffGuard(Starlette(routes=routes), access)


def _file(path: Path) -> Callable[[Request], Awaitable[Response]]:
    content = path.read_bytes()

    async def send(request: Request) -> Response:
        return Response(content, media_type="text/css")

    return send


def _endpoint(work: Work) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        body = await request.body() if request.method == "POST" else b""
        fields = {
            name: texts[-1] for name, texts in parse_qs(body.decode(errors="replace"), keep_blank_values=True).items()
        }
        return await run_in_threadpool(work, fields)

    return answer


class _StaffPage:
    """The pages. Safe to use from several threads."""

    def __init__(self, live: LiveService[Service], record: GapRecord | None) -> None:
        self._live, self._record = live, record
        self._energy = EnergyMeter(live.settings.eval.core_watts)
        self._embedder = stepwise(live.state.parts.embedder)  # remembers what wordings mean, goes behind patients
        self._lock = threading.Lock()  # guards the embedder and the survey
        self._surveyed: tuple[Knowledge, date, Report] | None = None
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "staff_templates"), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True,
        )  # fmt: skip

    # Pages

    def home(self, fields: Fields) -> Response:
        """Show what to mend, whose review ends, and how many questions found no answer."""
        state, settings = self._live.state, self._live.settings
        report = self._report()
        live = {(one.path, one.field) for one in self._live.problems}  # these say what patients see meanwhile
        told = [*self._live.problems, *(one for one in report.problems if (one.path, one.field) not in live)]
        groups, _ = self._groups()
        return self._page(
            "home.html", "How things are", "home",
            errors=[problem for problem in told if problem.severity == "error"],
            warnings=[problem for problem in told if problem.severity == "warning"],
            reviews=[row for row in report.reviews if row.state in ("overdue", "due soon")],
            counts=sorted(Counter(row.state for row in report.reviews).items()),
            unchecked=report.unchecked_sources, median_grade=report.median_grade, max_grade=settings.check.max_grade,
            due_soon_days=settings.check.due_soon_days, n_served=len(state.knowledge.answers),
            n_waiting=state.n_waiting, n_groups=len(groups), recording=self._record is not None,
            energy=self._energy.spent(), chatbot_answer_wh=CHATBOT_ANSWER_WH,
        )  # fmt: skip

    def asked(self, fields: Fields) -> Response:
        """Show what patients asked in vain, one question a line."""
        groups, trouble = self._groups()
        return self._page(
            "asked.html", "What patients asked in vain", "asked", groups=groups, trouble=trouble,
            times=sum(group.times for group in groups), keep_days=self._live.settings.gaps.keep_days,
            recording=self._record is not None,
        )  # fmt: skip

    def asked_csv(self, fields: Fields) -> Response:
        """Return every wording as a table, with the question it belongs to."""
        groups, trouble = self._groups()
        if trouble:
            return Response(trouble, 503)
        headers = {"Content-Disposition": 'attachment; filename="asked-in-vain.csv"'}
        return Response(gaps_csv(groups), media_type="text/csv; charset=utf-8", headers=headers)

    def forget(self, fields: Fields) -> Response:
        """Take one question off the list, in all its wordings."""
        self._forget(fields.get("question", ""))
        return RedirectResponse("/asked", 303)

    def answer(self, fields: Fields) -> Response:
        """Show the form, look at what was typed, or publish it."""
        if "from" in fields:
            group = self._group(fields["from"])
            wordings = group.wordings if group is not None else (fields["from"],)
            topic = self._topic_of(group)
            return self._form(AnswerForm(questions=wordings[:MOST_PREFILLED], topic=topic), gap=fields["from"])
        if "title" not in fields:
            return self._form(AnswerForm())
        form = form_of(fields)
        if fields.get("do") == "publish":
            return self._publish(form, fields.get("gap", ""))
        return self._form(form, gap=fields.get("gap", ""), looked=True)

    def try_question(self, fields: Fields) -> Response:
        """Show what a patient would get for a question, and why."""
        question = fields.get("question", "").strip()
        got: dict[str, Any] = {"card": "", "why": "", "outcome": "", "is_gap": False}
        if question:
            state = self._live.state
            events = list(_unrecorded(state.pipeline, state.knowledge).ask(question, mode="verbatim"))
            reply = _reply_of(events)
            why = explain(events, knowledge=state.knowledge, rules=state.parts.gate.rules)
            got = {
                "card": card_of(reply, state.knowledge),
                "why": Markup(explanation_html(why)),
                "outcome": reply.outcome.value.replace("_", " "),
                "is_gap": reply.outcome in (Outcome.NO_ANSWER, Outcome.DID_YOU_MEAN),
            }
        return self._page("try.html", "Try a question", "try", question=question, **got)

    # What they are made of

    def _form(self, form: AnswerForm, *, gap: str = "", looked: bool = False) -> Response:
        state = self._live.state
        checked = CheckedForm(None, ())
        if looked:
            checked = check_form(form, state.read, today=date.today(), max_grade=state.settings.check.max_grade)
        card = self._card(checked.answer) if checked.answer is not None else ""
        return self._page(
            "answer.html", "Write an answer", "answer", form=form, gap=gap, looked=looked, published=None, card=card,
            errors=checked.errors, warnings=checked.warnings, labels=field_label, audiences=get_args(Audience),
            topics=sorted({answer.topic for answer in state.read.answers.values()}),
            reviewed_only=state.settings.reviewed_only, status=422 if checked.errors else 200,
        )  # fmt: skip

    def _publish(self, form: AnswerForm, gap: str) -> Response:
        state, began = self._live.state, time.monotonic()
        checked = check_form(form, state.read, today=date.today(), max_grade=state.settings.check.max_grade)
        if checked.errors:
            return self._form(form, gap=gap, looked=True)
        try:
            path = publish(form, state.settings.knowledge, date.today())
        except OSError as error:
            message = f"The answer could not be written ({error.strerror or error}). Nothing was changed."
            return self._page("base.html", message, "answer", status=503)
        if gap:
            self._forget(gap)
        is_live = self._await(form.id)
        detail = "It is a draft until a clinician has read it."
        if state.settings.reviewed_only:
            headline = "Written. Patients see it once a clinician has reviewed it."
        elif is_live:
            headline = f"Published. Patients can find it now, after {time.monotonic() - began:.1f} seconds."
        else:
            headline = "Published. Patients can find it as soon as it has been read in; that takes a little longer."
        shown = path.relative_to(state.settings.knowledge).as_posix()
        told = {"headline": headline, "detail": detail, "file": shown, "question": form.questions[0]}
        return self._page("answer.html", "Write an answer", "answer", published=told)

    def _await(self, id_: str) -> bool:
        end = time.monotonic() + LIVE_WITHIN_S
        while time.monotonic() < end and not self._live.settings.reviewed_only:
            if id_ in self._live.knowledge.answers:
                return True
            time.sleep(0.05)
        return False

    def _card(self, answer: Answer) -> Markup:
        state = self._live.state
        knowledge = state.knowledge.with_answer(answer)
        events = _unrecorded(state.pipeline, knowledge).ask(answer.questions[0], mode="verbatim", chosen=answer.id)
        return card_of(_reply_of(list(events)), knowledge)

    def _report(self) -> Report:
        """Return what the files show; of a very large folder only what can be told at once."""
        state, today = self._live.state, date.today()
        limits = state.settings.check
        with self._lock:
            if self._surveyed is None or self._surveyed[0] is not state.read or self._surveyed[1] != today:
                answers = list(state.read.answers.values())
                if len(answers) > MAX_COMPARED:
                    rows = tuple(review_row(answer, today, limits.due_soon_days) for answer in answers)
                    report = Report((), rows, {}, sum(s.checked is None for answer in answers for s in answer.sources))
                else:
                    report, _ = survey(
                        state.settings.knowledge, today=today, due_soon_days=limits.due_soon_days,
                        max_grade=limits.max_grade,
                    )  # fmt: skip
                self._surveyed = (state.read, today, report)
            return self._surveyed[2]

    def _groups(self) -> tuple[list[GapGroup], str]:
        """Return what was asked in vain, and why it cannot be told."""
        if self._record is None:
            return [], ""
        try:
            gaps = self._record.gaps()
        except SQLAlchemyError as error:
            return [], f"The record does not answer ({type(error).__name__}). Ask who looks after the computer."
        with self._lock:
            return grouped(gaps, self._embedder), ""

    def _group(self, question: str) -> GapGroup | None:
        return next((group for group in self._groups()[0] if question in group.wordings), None)

    def _forget(self, question: str) -> None:
        group = self._group(question)
        if self._record is not None and group is not None:
            self._record.forget(group.wordings)

    def _topic_of(self, group: GapGroup | None) -> str:
        known = self._live.state.read.answers
        near = [known[id_].topic for id_ in group.nearest if id_ in known] if group is not None else []
        return near[0] if near else ""

    def _page(self, template: str, title: str, place: str, *, status: int = 200, **values: Any) -> Response:
        settings = self._live.settings
        shown = {"clinic": self._live.knowledge.clinic.name, "reviewed_only": settings.reviewed_only, **values}
        html = self._templates.get_template(template).render(title=title, place=place, **shown)
        return HTMLResponse(html, status)


def card_of(reply: Reply, knowledge: Knowledge) -> Markup:
    """Return the turn as patients see it, without the buttons that follow it."""
    setting = Setting(knowledge, shipped_words()["en"])
    return Markup(turn_html(reply, setting, number=0, newest=False))


def form_of(fields: Fields) -> AnswerForm:
    """Return what was typed into the form."""
    typed = {name: fields.get(name, "").replace("\r\n", "\n").strip() for name in AnswerForm.__dataclass_fields__}
    questions = tuple(" ".join(line.split()) for line in typed.pop("questions").splitlines() if line.strip())
    is_compared = bool(typed.pop("is_compared"))
    return AnswerForm(
        questions=questions, is_compared=is_compared, **(typed | {"audience": typed["audience"] or "everyone"})
    )


def field_label(field: str) -> str:
    """Return the form's own name of a field of an answer file."""
    return FIELD_LABELS.get(field.split(".")[0], "")


def gaps_csv(groups: list[GapGroup]) -> str:
    """Return one line a wording; a text that a spreadsheet would take for a formula is made harmless."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["question", "wording", "times", "first day", "last day", "without suggestions", "nearest answers"])
    for group in groups:
        for gap in group.gaps:
            near = " ".join(gap.nearest)
            texts = [_no_formula(group.question), _no_formula(gap.question)]
            writer.writerow([*texts, gap.times, gap.first, gap.last, gap.unanswered, near])
    return out.getvalue()


def _no_formula(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _unrecorded(pipeline: Pipeline, knowledge: Knowledge) -> Pipeline:
    """Return the same pipeline for staff's own tries: without a model, and leaving no trace."""
    return Pipeline(knowledge, pipeline.gate, pipeline.retriever, pipeline.checker, None)


def _reply_of(events: list[Event]) -> Reply:
    return next(event.reply for event in events if isinstance(event, Finished))
