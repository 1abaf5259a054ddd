"""A new answer from a form: checked as every file is, and written whole as a draft."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from chatbot.errors import Problem
from chatbot.knowledge import Answer, Knowledge, fill_answer, filler, parse_answer_text, problems_between
from chatbot.knowledge_files import MAX_FILE_BYTES, split_head
from chatbot.staff.check import MAX_COMPARED, title_problems
from chatbot.staff.check_answer import answer_problems, reading_problems, text_problems
from chatbot.staff.check_facts import disagreements
from chatbot.staff.importers import slug, write_beside
from chatbot.staff.readability import read_markdown


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """What staff typed; nothing is checked yet."""

    title: str = ""
    questions: tuple[str, ...] = ()
    text: str = ""  # Markdown, placeholders such as {clinic_phone} not filled in
    topic: str = ""
    audience: str = "everyone"
    source_title: str = ""
    source_publisher: str = ""
    source_url: str = ""
    is_compared: bool = False  # the text was compared with the source today

    @property
    def id(self) -> str:
        """The new answer's id."""
        return f"{slug(self.topic)}/{slug(self.title)}"

    def file_text(self, today: date) -> str:
        """Return the answer file: always a draft, whatever was typed."""
        source = {"title": self.source_title, "publisher": self.source_publisher, "url": self.source_url}
        head: dict[str, Any] = {
            "title": self.title,
            "questions": list(self.questions),
            "audience": self.audience,
            "sources": [source | {"checked": today if self.is_compared else None}],
            "review": {"status": "draft", "reviewer": None, "reviewed": None, "due": None},
        }
        yaml_head = yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=100)
        return f"---\n{yaml_head}---\n{self.text.strip()}\n"


@dataclass(frozen=True, slots=True)
class CheckedForm:
    """What the checks say about a form. Without errors there is an answer to preview."""

    answer: Answer | None
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What keeps it from being published."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What staff should look at once more."""
        return tuple(problem for problem in self.problems if problem.severity == "warning")


def check_form(form: AnswerForm, knowledge: Knowledge, *, today: date, max_grade: float) -> CheckedForm:
    """Return everything that is wrong with the form, by the checks that ``healthfaq check`` makes of a file.

    Args:
        form: What was typed.
        knowledge: What there is already; its clinic's facts fill the placeholders.
        today: The day, in the clinic's own time.
        max_grade: The reading grade from which on it is called hard to read.
    """
    shown = f"answers/{form.id}.md"
    problems = list(_place_problems(form, knowledge.root, shown))
    text = form.file_text(today)
    if len(text.encode(errors="replace")) > MAX_FILE_BYTES:
        problems.append(Problem(shown, "text", f"is longer than {MAX_FILE_BYTES // 1000} kB; split it"))
    written = parse_answer_text(text, form.id, shown, problems)
    body = split_head(text)
    problems += text_problems(body[1] if body else "", knowledge.clinic, shown)
    answer = fill_answer(written, filler(knowledge.clinic), problems) if written is not None else None
    if answer is None:
        return CheckedForm(None, tuple(problems))
    others = {id_: other for id_, other in knowledge.answers.items() if id_ != answer.id}
    together = {**others, answer.id: answer}
    problems += answer_problems(answer, today)
    problems += reading_problems(answer, read_markdown(answer.text), max_grade)
    problems += _of(shown, title_problems(list(together.values())))
    problems += _of(shown, problems_between(together))
    if len(together) <= MAX_COMPARED:
        problems += _of(shown, disagreements(together.values()))
    return CheckedForm(answer, tuple(dict.fromkeys(problems)))


def _place_problems(form: AnswerForm, root: Path, shown: str) -> Iterable[Problem]:
    if not slug(form.topic):
        yield Problem(shown, "topic", "is empty; choose the folder the answer belongs to, or name a new one")
    if not slug(form.title):
        yield Problem(shown, "title", "has no letters to name a file by; write a short heading in letters")
    elif (root / shown).exists():
        yield Problem(shown, "title", "is the name of a file that is there already; change that file, or the title")


def _of(path: str, problems: Iterable[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.path == path]


def publish(form: AnswerForm, root: Path, today: date) -> Path:
    """Write the checked form as a draft answer file and return its path; patients see it within seconds.

    Raises:
        FileExistsError: Somebody wrote a file of this name meanwhile; it is not touched.
        OSError: The folder cannot be written.
    """
    path = root / "answers" / f"{form.id}.md"
    if path.exists():
        raise FileExistsError(f"{path} is there already")
    write_beside(path, form.file_text(today))
    return path
