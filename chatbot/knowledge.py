"""The clinic's own files as frozen values: answers, clinic facts, fixed texts, acceptance questions.

Loading never stops at the first bad file. Every problem is collected, and what could be read is returned
beside them, so that a broken answer never hides a good one.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal, TypeVar

import frontmatter
import yaml
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, ValidationError, field_validator, model_validator

from chatbot.errors import KnowledgeError, Problem
from chatbot.text import lead_paragraph, markdown_sentences, plain_text

MAX_FILE_BYTES = 200_000
Audience = Literal["everyone", "adults", "children", "pregnancy", "older adults"]
ReviewStatus = Literal["draft", "reviewed", "retired"]
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
ModelT = TypeVar("ModelT", bound=BaseModel)
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
            raise ValueError(f"{', '.join(missing)} is empty; write who checked this text, when, and when it is due again")
        return self

    def is_current(self, today: date) -> bool:
        """Say whether a clinician's review is in force on that day."""
        return self.status == "reviewed" and self.due is not None and today <= self.due


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


def load_knowledge(root: Path, *, reviewed_only: bool = False, today: date | None = None) -> Knowledge:
    """Read a knowledge folder.

    Args:
        root: The folder with ``clinic.yaml``, ``texts.yaml`` and ``answers/``.
        reviewed_only: Keep only answers whose review is in force.
        today: The day reviews are judged by; the present one when left out.

    Raises:
        KnowledgeError: ``clinic.yaml`` or ``texts.yaml`` cannot be used: without them no reply is safe.
    """
    if not root.is_dir():
        raise KnowledgeError([Problem(str(root), "", "there is no such folder; name one with --knowledge DIR")])
    problems: list[Problem] = []
    clinic = read_model(root / "clinic.yaml", Clinic, root, problems)
    texts = read_model(root / "texts.yaml", Texts, root, problems)
    if clinic is None or texts is None:
        raise KnowledgeError(problems)
    fill = filler(clinic)
    texts = _filled_texts(texts, fill, problems)
    answers = {answer.id: answer for answer in _read_answers(root, fill, problems)}
    problems += _problems_between(answers)
    checks = tuple(_read_checks(root / "checks.yaml", root, problems))
    served = {id_: a for id_, a in answers.items() if _is_served(a, reviewed_only, today or date.today())}
    return Knowledge(root, clinic, texts, served, checks, tuple(problems))


def _is_served(answer: Answer, reviewed_only: bool, today: date) -> bool:
    if answer.review.status == "retired":
        return False
    return answer.review.is_current(today) if reviewed_only else True


def filler(clinic: Clinic) -> Callable[[str], str]:
    """Return a function that puts the clinic's facts into ``{placeholders}``.

    The function raises ValueError, naming the placeholder, for one that ``clinic.yaml`` does not define.
    """
    known = clinic.placeholders()

    def fill(text: str) -> str:
        if unknown := sorted(set(PLACEHOLDER.findall(text)) - set(known)):
            raise ValueError(f"uses {{{unknown[0]}}}, which clinic.yaml does not define; known are: {', '.join(known)}")
        return PLACEHOLDER.sub(lambda match: known[match.group(1)], text)

    return fill


def read_yaml(path: Path, root: Path, problems: list[Problem]) -> Any:
    """Return the parsed file, or None after noting why it could not be read."""
    text = read_text(path, root, problems)
    if text is None:
        return None
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problems.append(Problem(_shown(path, root), "", f"is not valid YAML: {_one_line(error)}"))
        return None


def read_text(path: Path, root: Path, problems: list[Problem]) -> str | None:
    """Return the file's text, or None after noting why it could not be read."""
    shown = _shown(path, root)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            problems.append(Problem(shown, "", f"is larger than {MAX_FILE_BYTES // 1000} kB; split it"))
            return None
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        problems.append(Problem(shown, "", "is missing; add it (the README of the knowledge folder shows how)"))
    except UnicodeDecodeError:
        problems.append(Problem(shown, "", "is not UTF-8 text; save it as UTF-8"))
    except OSError as error:
        problems.append(Problem(shown, "", f"cannot be read: {error.strerror}"))
    return None


def read_model(path: Path, model: type[ModelT], root: Path, problems: list[Problem]) -> ModelT | None:
    """Return the YAML file as a model, or None after noting every field that is wrong."""
    before = len(problems)
    content = read_yaml(path, root, problems)
    if len(problems) > before:
        return None
    if not isinstance(content, dict):
        problems.append(Problem(_shown(path, root), "", "must be a list of 'key: value' lines"))
        return None
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems += field_problems(error, _shown(path, root))
        return None


def field_problems(error: ValidationError, path: str) -> list[Problem]:
    """Return one problem a field, in words for staff."""
    return [Problem(path, ".".join(map(str, row["loc"])) or "head", _message(row)) for row in error.errors()]


def _message(row: Mapping[str, Any]) -> str:
    match row["type"]:
        case "missing":
            return "is missing; add it"
        case "extra_forbidden":
            return "is not a known key; check its spelling or take it out"
        case "too_short" | "string_too_short":
            return "is empty; fill it in"
        case "value_error":
            return str(row["ctx"]["error"])
        case _:
            return f"{row['msg'][0].lower()}{row['msg'][1:]} (found {str(row['input'])[:60]!r})"


def _read_answers(root: Path, fill: Callable[[str], str], problems: list[Problem]) -> Iterator[Answer]:
    folder = root / "answers"
    paths = sorted(path for path in folder.rglob("*.md") if not path.name.startswith((".", "_")))
    if not paths:
        problems.append(Problem("answers", "", "holds no answer files (*.md); add one"))
    for path in paths:
        if answer := read_answer(path, root, fill, problems):
            yield answer


def read_answer(path: Path, root: Path, fill: Callable[[str], str], problems: list[Problem]) -> Answer | None:
    """Return one answer, or None after noting everything that is wrong with its file."""
    shown = _shown(path, root)
    id_ = path.relative_to(root / "answers").with_suffix("").as_posix()
    if not all(_ID_PART.fullmatch(part) for part in id_.split("/")) or "/" not in id_:
        problems.append(
            Problem(shown, "file name", "must be answers/<topic>/<name>.md in small letters, digits and hyphens")
        )
        return None
    text = read_text(path, root, problems)
    if text is None:
        return None
    try:
        post = frontmatter.loads(text)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        problems.append(Problem(shown, "", f"the head between the --- lines is not valid YAML: {_one_line(error)}"))
        return None
    try:
        head = AnswerHead.model_validate(post.metadata)
        body = fill(post.content.strip())
    except ValidationError as error:
        problems += field_problems(error, shown)
        return None
    except ValueError as error:
        problems.append(Problem(shown, "text", str(error)))
        return None
    if not lead_paragraph(body):
        problems.append(Problem(shown, "text", "has no opening paragraph; start with two or three plain sentences"))
        return None
    return Answer(id=id_, text=body, **dict(head))


def _read_checks(path: Path, root: Path, problems: list[Problem]) -> Iterator[AcceptanceQuestion]:
    if not path.exists():
        return
    rows = read_yaml(path, root, problems)
    if rows is None:
        return
    if not isinstance(rows, list):
        problems.append(Problem(_shown(path, root), "", "must be a list of '- question: …' entries"))
        return
    for number, row in enumerate(rows, 1):
        try:
            yield AcceptanceQuestion.model_validate(row)
        except ValidationError as error:
            problems += [
                Problem(found.path, f"entry {number}, {found.field}", found.message)
                for found in field_problems(error, _shown(path, root))
            ]


def _filled_texts(texts: Texts, fill: Callable[[str], str], problems: list[Problem]) -> Texts:
    try:
        return Texts.model_validate(_filled(texts.model_dump(), fill))
    except ValueError as error:
        raise KnowledgeError([*problems, Problem("texts.yaml", "", str(error))]) from error


def _filled(node: Any, fill: Callable[[str], str]) -> Any:
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
        for question in answer.questions:
            key = " ".join(question.casefold().split()).rstrip("?!. ")
            if key in asked:
                yield Problem(path, "questions", f"{question!r} stands in {asked[key]} too; keep it in one")
            asked.setdefault(key, f"answers/{answer.id}.md")


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
