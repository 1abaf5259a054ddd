"""The clinic's own files as frozen values: answers, clinic facts, fixed texts, acceptance questions.

Loading never stops at the first bad file. Every problem is collected, and what could be read is returned
beside them, so that a broken answer never hides a good one.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

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
from chatbot.knowledge_forms import (
    AcceptanceQuestion,
    Answer,
    AnswerHead,
    Audience,
    Clinic,
    GreetingText,
    Review,
    Source,
    Strict,
    Texts,
)
from chatbot.look import look_problems
from chatbot.text import has_paragraph

__all__ = [
    "AcceptanceQuestion", "Answer", "AnswerHead", "Audience", "Clinic", "Filler", "GreetingText", "Knowledge", "Review",
    "Source", "Strict", "Texts", "field_problems", "filler", "load_knowledge", "parse_answer", "read_answer",
    "read_model", "read_text", "read_yaml",
]  # fmt: skip

MAX_CHECKS_BYTES = 10 * MAX_FILE_BYTES
MAX_PROBLEMS_A_FILE = 20
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_TRANSLATED = re.compile(r"\.([a-z]{2,3})\.md$")
_ID_PART = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Everything the clinic wrote that could be read, and every problem that was found."""

    root: Path
    clinic: Clinic
    texts: Texts
    answers: Mapping[str, Answer]
    checks: tuple[AcceptanceQuestion, ...] = ()
    problems: tuple[Problem, ...] = field(default=())
    translations: Mapping[str, "Knowledge"] = field(default_factory=dict)  # by language code

    @property
    def language(self) -> str:
        """The code of the language that this is in."""
        return self.clinic.languages[0]

    def in_language(self, code: str) -> "Knowledge":
        """Return what the clinic wrote in that language; what stands here when that is nothing."""
        return self.translations.get(code, self)

    @property
    def has_drafts(self) -> bool:
        """Say whether any text being served lacks a clinician's review."""
        return any(answer.review.status != "reviewed" for answer in self.answers.values())

    def with_answer(self, answer: Answer) -> "Knowledge":
        """Return the same knowledge with one more answer, or another version of one."""
        return replace(self, answers={**self.answers, answer.id: answer})


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
    problems += problems_between(answers)
    problems += look_problems(clinic.look, root)
    problems += [
        Problem("clinic.yaml", "examples", f"names {id_}, which is not an answer; correct it or take it out")
        for id_ in clinic.examples
        if id_ not in answers
    ]
    today = today or date.today()
    problems += [_overdue(answer) for answer in answers.values() if answer.review.is_overdue(today)]
    checks = tuple(_read_checks(root / "checks.yaml", root, problems))
    served = {id_: a for id_, a in answers.items() if _is_served(a, reviewed_only=reviewed_only, today=today)}
    translations = dict(
        _read_translations(
            root, clinic, problems, previous, partial(_is_served, reviewed_only=reviewed_only, today=today)
        )
    )
    return Knowledge(root, clinic, texts, served, checks, tuple(problems), translations)


def _read_translations(
    root: Path, clinic: Clinic, problems: list[Problem], previous: Knowledge | None, serves: Callable[[Answer], bool]
) -> Iterator[tuple[str, Knowledge]]:
    """Yield what is there in each further language: ``texts.<code>.yaml`` and ``<slug>.<code>.md``.

    A language whose fixed texts cannot be used is as it was before, or left out.
    """
    for code in clinic.languages[1:]:
        own = clinic.in_language(code).model_copy(update={"languages": (code,)})
        fill = filler(own)
        raw_texts = read_model(root / f"texts.{code}.yaml", Texts, root, problems)
        texts = _filled_texts(raw_texts, fill, problems, name=f"texts.{code}.yaml") if raw_texts else None
        if texts is None:
            if previous is not None and code in previous.translations:
                yield code, previous.translations[code]
            continue
        answers = [read_answer(Path(path), root, fill, problems) for path, _ in answer_files(root, language=code)]
        served = {answer.id: answer for answer in answers if answer is not None and serves(answer)}
        yield code, Knowledge(root, own, texts, served)


def _overdue(answer: Answer) -> Problem:
    review = answer.review
    return Problem(
        f"answers/{answer.id}.md", "review.due",
        f"was {review.due}; patients see that it is being reviewed. Have {review.reviewer} or another clinician check "
        "it, then write the new dates",
        "warning",
    )  # fmt: skip


def _is_served(answer: Answer, *, reviewed_only: bool, today: date) -> bool:
    if answer.review.status == "retired":
        return False
    return answer.review.is_current(today) if reviewed_only else True


def answer_files(root: Path, *, language: str = "") -> list[tuple[str, os.stat_result]]:
    """Return every answer file in the language (empty: the clinic's first one) with its status, by name."""
    found = [
        file for file in files_below(root / "answers") if file[0].endswith(".md") and _code_of(file[0]) == language
    ]
    return sorted(
        found, key=lambda file: file[0].replace(os.sep, "\0")
    )  # as by its parts: a folder before a longer name


def _code_of(path: str) -> str:
    """Return the language code in a file's name, ``es`` in ``adults.es.md``; empty without one."""
    match = _TRANSLATED.search(path)
    return match.group(1) if match else ""


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
    if code := _code_of(path.name):
        id_ = id_.removesuffix(f".{code}")
    if not is_answer_id(id_):
        problems.append(
            Problem(shown, "file name", "must be answers/<topic>/<name>.md in small letters, digits and hyphens")
        )
        return None
    text = read_text(path, root, problems)
    return parse_answer_text(text, id_, shown, problems) if text is not None else None


def parse_answer_text(text: str, id_: str, shown: str, problems: list[Problem]) -> Answer | None:
    """Return the answer that a file of this text would be, or None after noting what is wrong; ``shown`` names it."""
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


def _filled_texts(texts: Texts, fill: Filler, problems: list[Problem], *, name: str = "texts.yaml") -> Texts | None:
    try:
        return Texts.model_validate(_filled(texts.model_dump(), fill))
    except ValueError as error:
        problems.append(Problem(name, "", str(error)))
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


def problems_between(answers: Mapping[str, Answer]) -> Iterable[Problem]:
    """Yield what is wrong between answers: links that lead nowhere, and questions that two of them claim."""
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
