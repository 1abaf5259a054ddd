"""The clinic's own files as frozen values: answers, clinic facts, fixed texts, acceptance questions.

Loading never stops at the first bad file. Every problem is collected, and what could be read is returned
beside them, so that a broken answer never hides a good one.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, ValidationError, field_validator, model_validator

from chatbot.errors import KnowledgeError, Problem
from chatbot.knowledge_files import (
    MAX_FILE_BYTES,
    field_problems,
    files_below,
    parse_yaml,
    read_model,
    read_text,
    read_yaml,
    shown_path,
    split_head,
)
from chatbot.text import has_paragraph, lead_paragraph, markdown_sentences, plain_text

__all__ = [
    "Answer", "AnswerHead", "Clinic", "Filler", "Knowledge", "Review", "Source", "Strict", "Texts", "field_problems",
    "filler", "load_knowledge", "parse_answer", "read_answer", "read_model", "read_text", "read_yaml",
]  # fmt: skip

MAX_CHECKS_BYTES = 10 * MAX_FILE_BYTES
MAX_PROBLEMS_A_FILE = 20
Audience = Literal["everyone", "adults", "children", "pregnancy", "older adults"]
ReviewStatus = Literal["draft", "reviewed", "retired"]
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_ID_PART = re.compile(r"[a-z0-9][a-z0-9-]*")


class Strict(BaseModel):
    """A frozen model that refuses keys it does not know: a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class Source(Strict):
    """The public page an answer rests on, and the day somebody compared the two."""

    title: str = Field(min_length=1)
    publisher: str = Field(min_length=1)
    url: HttpUrl
    checked: date | None = None


class Review(Strict):
    """Who vouches for the text. Dates are days in the clinic's own time."""

    status: ReviewStatus = "draft"
    reviewer: str | None = None
    reviewed: date | None = None
    due: date | None = None

    @model_validator(mode="after")
    def _a_review_is_signed(self) -> "Review":
        missing = [name for name in ("reviewer", "reviewed", "due") if not getattr(self, name)]
        if self.status == "reviewed" and missing:
            names = ", ".join(missing)
            raise ValueError(f"{names} is empty; write who checked this text, when, and when it is due again")
        return self

    def is_current(self, today: date) -> bool:
        """Say whether a clinician's review is in force on that day."""
        return self.status == "reviewed" and self.due is not None and today <= self.due

    def is_overdue(self, today: date) -> bool:
        """Say whether a review was in force once and is not any more on that day."""
        return self.status == "reviewed" and not self.is_current(today)


class AnswerHead(Strict):
    """The YAML head of an answer file."""

    title: str = Field(min_length=1, max_length=120)
    questions: tuple[str, ...] = Field(min_length=1)
    audience: Audience = "everyone"
    sources: tuple[Source, ...] = Field(min_length=1)
    review: Review = Review()
    see_also: tuple[str, ...] = ()

    @field_validator("questions")
    @classmethod
    def _questions_are_questions(cls, questions: tuple[str, ...]) -> tuple[str, ...]:
        if any(not question.strip() for question in questions):
            raise ValueError("has an empty question; write it or take the line out")
        return questions


class Answer(AnswerHead):
    """One vetted answer. ``text`` is Markdown with the clinic's numbers filled in."""

    id: str
    text: str

    @property
    def topic(self) -> str:
        """The folder the answer lives in."""
        return self.id.rpartition("/")[0]

    @property
    def lead(self) -> str:
        """The first paragraph: the short answer, as plain text."""
        return lead_paragraph(self.text)

    @property
    def plain(self) -> str:
        """The whole text as plain text, one block a line."""
        return plain_text(self.text)

    @property
    def sentences(self) -> list[str]:
        """Every vetted sentence and list item, in order."""
        return markdown_sentences(self.text)

    @property
    def fingerprint(self) -> str:
        """A hash of everything a patient or the index could see; changes when the answer does."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class Clinic(Strict):
    """The clinic's own facts. No phone number shown to a patient comes from anywhere else."""

    PLACEHOLDERS: ClassVar[frozenset[str]] = frozenset((
        "clinic_name", "clinic_phone", "clinic_hours", "emergency_number", "crisis_number", "poison_number",
        "reach_a_person",
    ))  # fmt: skip

    name: str = Field(min_length=1)
    region: str = Field(min_length=2, description="ISO 3166 country code, small letters")
    phone: str = Field(min_length=3)
    hours: str = Field(min_length=1)
    emergency_number: str = Field(min_length=2)
    crisis_number: str = Field(min_length=2)
    poison_number: str = Field(min_length=2)
    languages: tuple[str, ...] = Field(min_length=1)
    reach_a_person: str = Field(min_length=1)
    welcome: str = ""

    def placeholders(self) -> dict[str, str]:
        """Return what ``{name}`` stands for in answers, cards and fixed texts."""
        return {
            "clinic_name": self.name,
            "clinic_phone": self.phone,
            "clinic_hours": self.hours,
            "emergency_number": self.emergency_number,
            "crisis_number": self.crisis_number,
            "poison_number": self.poison_number,
            "reach_a_person": self.reach_a_person,
        }


class GreetingText(Strict):
    """A small courtesy: what is said back when a message holds nothing but these phrases."""

    phrases: tuple[str, ...] = Field(min_length=1)
    text: str = Field(min_length=1)


class Texts(Strict):
    """The fixed texts of ``texts.yaml``; nothing here is ever generated."""

    software_notice: str = Field(min_length=1)
    demonstration_notice: str = Field(min_length=1)
    no_answer: str = Field(min_length=1)
    did_you_mean: str = Field(min_length=1)
    empty_question: str = Field(min_length=1)
    safety_failure: str = Field(min_length=1)
    model_unavailable: str = Field(min_length=1)
    being_reviewed: str = Field(min_length=1)
    greetings: tuple[GreetingText, ...] = ()
    topics: dict[str, str] = Field(default={}, description="a topic's folder → its name; else the folder's own name")
    visit_questions: tuple[str, ...] = Field(default=(), description="printed on the take-away sheet")


class AcceptanceQuestion(Strict):
    """One line of ``checks.yaml``: a question and what it must lead to (an answer id or an outcome)."""

    question: str = Field(min_length=1)
    expect: str | tuple[str, ...]

    @property
    def accepted(self) -> tuple[str, ...]:
        """Every outcome or answer id that is right."""
        return (self.expect,) if isinstance(self.expect, str) else self.expect


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Everything the clinic wrote that could be read, and every problem that was found."""

    root: Path
    clinic: Clinic
    texts: Texts
    answers: Mapping[str, Answer]
    checks: tuple[AcceptanceQuestion, ...] = ()
    problems: tuple[Problem, ...] = field(default=())

    @property
    def has_drafts(self) -> bool:
        """Say whether any text being served lacks a clinician's review."""
        return any(answer.review.status != "reviewed" for answer in self.answers.values())


class Filler:
    """Puts the clinic's facts into ``{placeholders}``; two are equal when they put in the same."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self._known = dict(known)

    def __call__(self, text: str) -> str:
        """Return the text, filled in.

        Raises:
            ValueError: It has a placeholder that ``clinic.yaml`` does not define; the message names it.
        """
        if unknown := sorted(set(PLACEHOLDER.findall(text)) - set(self._known)):
            names = ", ".join(self._known)
            raise ValueError(f"uses {{{unknown[0]}}}, which clinic.yaml does not define; known are: {names}")
        return PLACEHOLDER.sub(lambda match: self._known[match.group(1)], text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Filler) and other._known == self._known

    def __hash__(self) -> int:
        return hash(tuple(self._known.items()))


def filler(clinic: Clinic) -> Filler:
    """Return what puts this clinic's facts into ``{placeholders}``."""
    return Filler(clinic.placeholders())


class AnswerReader(Protocol):
    """Reads every answer file of a knowledge folder; see ``read_answers`` and ``shelf.py``."""

    def __call__(self, root: Path, fill: Filler, problems: list[Problem]) -> Iterable[Answer]:
        """Return the answers, after noting what is wrong with their files."""


def load_knowledge(
    root: Path, *, reviewed_only: bool = False, today: date | None = None, previous: Knowledge | None = None,
    read: AnswerReader | None = None,
) -> Knowledge:  # fmt: skip
    """Read a knowledge folder.

    Args:
        root: The folder with ``clinic.yaml``, ``texts.yaml`` and ``answers/``.
        reviewed_only: Keep only answers whose review is in force.
        today: The day reviews are judged by; the present one when left out.
        previous: Whose clinic facts and fixed texts stand in for files that cannot be used now.
        read: How answer files are read; each one anew when left out.

    Raises:
        KnowledgeError: There is no such folder; or ``clinic.yaml`` or ``texts.yaml`` cannot be used and there is
            no previous one: without them no reply is safe.
    """
    if not root.is_dir():
        raise KnowledgeError([Problem(str(root), "", "there is no such folder; name one with --knowledge DIR")])
    problems: list[Problem] = []
    clinic = read_model(root / "clinic.yaml", Clinic, root, problems) or (previous.clinic if previous else None)
    raw_texts = read_model(root / "texts.yaml", Texts, root, problems)
    texts = _filled_texts(raw_texts, filler(clinic), problems) if raw_texts and clinic else None
    texts = texts or (previous.texts if previous else None)
    if clinic is None or texts is None:
        raise KnowledgeError(problems)
    answers = {answer.id: answer for answer in (read or read_answers)(root, filler(clinic), problems)}
    problems += _problems_between(answers)
    today = today or date.today()
    problems += [_overdue(answer) for answer in answers.values() if answer.review.is_overdue(today)]
    checks = tuple(_read_checks(root / "checks.yaml", root, problems))
    served = {id_: a for id_, a in answers.items() if _is_served(a, reviewed_only, today)}
    return Knowledge(root, clinic, texts, served, checks, tuple(problems))


def _overdue(answer: Answer) -> Problem:
    review = answer.review
    return Problem(
        f"answers/{answer.id}.md", "review.due",
        f"was {review.due}; patients see that it is being reviewed. Have {review.reviewer} or another clinician check "
        "it, then write the new dates",
        "warning",
    )  # fmt: skip


def _is_served(answer: Answer, reviewed_only: bool, today: date) -> bool:
    if answer.review.status == "retired":
        return False
    return answer.review.is_current(today) if reviewed_only else True


def answer_files(root: Path) -> list[tuple[str, os.stat_result]]:
    """Return every answer file of the folder with its status, by name."""
    found = [file for file in files_below(root / "answers") if file[0].endswith(".md")]
    return sorted(
        found, key=lambda file: file[0].replace(os.sep, "\0")
    )  # as by its parts: a folder before a longer name


def read_answers(root: Path, fill: Filler, problems: list[Problem]) -> Iterator[Answer]:
    """Yield every answer that can be read, after noting what is wrong with the others."""
    files = answer_files(root)
    if not files:
        problems.append(no_answers())
    for path, _ in files:
        if answer := read_answer(Path(path), root, fill, problems):
            yield answer


def no_answers() -> Problem:
    """Return what is wrong with a knowledge folder without answers."""
    return Problem("answers", "", "holds no answer files (*.md); add one")


def read_answer(path: Path, root: Path, fill: Filler, problems: list[Problem]) -> Answer | None:
    """Return one answer, or None after noting everything that is wrong with its file."""
    answer = parse_answer(path, root, problems)
    return fill_answer(answer, fill, problems) if answer is not None else None


def fill_answer(answer: Answer, fill: Filler, problems: list[Problem]) -> Answer | None:
    """Return the answer with the clinic's facts in its text, or None after noting a placeholder nobody knows."""
    try:
        text = fill(answer.text)
    except ValueError as error:
        problems.append(Problem(f"answers/{answer.id}.md", "text", str(error)))
        return None
    return answer if text == answer.text else answer.model_copy(update={"text": text})


def parse_answer(path: Path, root: Path, problems: list[Problem]) -> Answer | None:
    """Return one answer with its placeholders as they stand in the file, or None after noting what is wrong."""
    shown = shown_path(path, root)
    id_ = path.relative_to(root / "answers").with_suffix("").as_posix()
    if not is_answer_id(id_):
        problems.append(
            Problem(shown, "file name", "must be answers/<topic>/<name>.md in small letters, digits and hyphens")
        )
        return None
    text = read_text(path, root, problems)
    if text is None:
        return None
    parts = split_head(text)
    if parts is None:
        mend = "begin with a --- line, 'key: value' lines and another --- line"
        problems.append(Problem(shown, "", f"has no head; {mend}"))
        return None
    head, body, first_line = parts
    found: list[Problem] = []
    if not has_paragraph(body):
        found.append(Problem(shown, "text", "has no opening paragraph; start with two or three plain sentences"))
    fields: dict[str, Any] = {}
    try:
        fields = dict(AnswerHead.model_validate(parse_yaml(head, first_line=first_line)))
    except ValidationError as error:
        found += field_problems(error, shown)
    except ValueError as error:
        found.append(Problem(shown, "head", str(error)))
    problems += found[:MAX_PROBLEMS_A_FILE]
    # The head has been validated field by field; doing it again would double the time a large folder takes.
    return None if found else Answer.model_construct(id=id_, text=body, **fields)


def is_answer_id(text: str) -> bool:
    """Say whether this can be an answer's id: ``<topic>/<name>``."""
    return "/" in text and all(_ID_PART.fullmatch(part) for part in text.split("/"))


def _read_checks(path: Path, root: Path, problems: list[Problem]) -> Iterator[AcceptanceQuestion]:
    if not path.exists():
        return
    rows = read_yaml(path, root, problems, max_bytes=MAX_CHECKS_BYTES)
    if rows is None:
        return
    if not isinstance(rows, list):
        problems.append(Problem(shown_path(path, root), "", "must be a list of '- question: …' entries"))
        return
    for number, row in enumerate(rows, 1):
        try:
            yield AcceptanceQuestion.model_validate(row)
        except ValidationError as error:
            problems += [
                Problem(found.path, f"entry {number}, {found.field}", found.message)
                for found in field_problems(error, shown_path(path, root))
            ]


def _filled_texts(texts: Texts, fill: Filler, problems: list[Problem]) -> Texts | None:
    try:
        return Texts.model_validate(_filled(texts.model_dump(), fill))
    except ValueError as error:
        problems.append(Problem("texts.yaml", "", str(error)))
        return None


def _filled(node: Any, fill: Filler) -> Any:
    match node:
        case str():
            return fill(node)
        case dict():
            return {key: _filled(child, fill) for key, child in node.items()}
        case list() | tuple():
            return [_filled(child, fill) for child in node]
        case _:
            return node


def _problems_between(answers: Mapping[str, Answer]) -> Iterable[Problem]:
    asked: dict[str, str] = {}
    for answer in answers.values():
        path = f"answers/{answer.id}.md"
        for other in answer.see_also:
            if other not in answers:
                yield Problem(path, "see_also", f"names {other}, which is not an answer; correct it or take it out")
            elif answers[other].review.status == "retired" != answer.review.status:
                yield Problem(path, "see_also", f"names {other}, which is retired; take it out")
        for question in answer.questions:
            key = " ".join(question.casefold().split()).rstrip("?!. ")
            if key in asked:
                yield Problem(path, "questions", f"{question!r} stands in {asked[key]} too; keep it in one")
            asked.setdefault(key, f"answers/{answer.id}.md")
