"""What staff should know about the clinic's files: problems, reading grades, reviews, acceptance questions."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Literal

from chatbot.errors import Problem
from chatbot.knowledge import Answer, Clinic, Knowledge, Texts, load_knowledge, read_text
from chatbot.knowledge_files import files_below, shown_path, split_head
from chatbot.staff.check_answer import answer_problems, reading_problems, text_problems
from chatbot.staff.check_facts import disagreements
from chatbot.staff.check_questions import Asked, asked_json, question_problems, written_problems
from chatbot.staff.check_text import number_problems
from chatbot.staff.readability import read_markdown

ReviewState = Literal["draft", "in force", "due soon", "overdue"]
MAX_COMPARED = 3000  # answers; comparing the numbers of more of them takes too long
UNKNOWN = "---"


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """Who vouches for one answer, and until when."""

    id: str
    state: ReviewState
    reviewer: str | None
    reviewed: str | None  # ISO date
    due: str | None  # ISO date


@dataclass(frozen=True, slots=True)
class Report:
    """What ``healthfaq check`` found."""

    problems: tuple[Problem, ...]
    reviews: tuple[ReviewRow, ...]
    grades: Mapping[str, float]  # answer id → US school grade
    unchecked_sources: int  # sources that nobody has compared with the text yet
    asked: tuple[Asked, ...] = ()
    not_asked: str = ""  # why the acceptance questions were not asked

    @property
    def errors(self) -> tuple[Problem, ...]:
        """What must be mended."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What should be looked at."""
        return tuple(problem for problem in self.problems if problem.severity == "warning")

    @property
    def median_grade(self) -> float | None:
        """The median reading grade of all answers."""
        return median(self.grades.values()) if self.grades else None

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "ok": not self.errors,
            "problems": [asdict(problem) for problem in self.problems],
            "reviews": {
                "counts": dict(Counter(row.state for row in self.reviews)),
                "answers": [asdict(row) for row in self.reviews],
                "unchecked_sources": self.unchecked_sources,
            },
            "reading": {
                "median_grade": None if self.median_grade is None else round(self.median_grade, 2),
                "grades": {id_: round(grade, 2) for id_, grade in self.grades.items()},
            },
            "questions": asked_json(self.asked) | {"not_asked": self.not_asked},
        }


def survey(root: Path, *, today: date, due_soon_days: int = 30, max_grade: float = 8.0) -> tuple[Report, Knowledge]:
    """Return what the files themselves show, and the knowledge that could be read; nothing is asked yet.

    Raises:
        KnowledgeError: There is no such folder.
    """
    knowledge = load_knowledge(root, today=today, previous=_stand_in(root))
    clinic = knowledge.clinic if knowledge.clinic.name != UNKNOWN else None
    problems = [*knowledge.problems, *written_problems(knowledge), *_file_problems(root, clinic)]
    answers = list(knowledge.answers.values())
    reviews = tuple(review_row(answer, today, due_soon_days) for answer in answers)
    problems += [problem for answer in answers for problem in answer_problems(answer, today)]
    problems += [_due_soon(row) for row in reviews if row.state == "due soon"]
    problems += title_problems(answers)
    if len(answers) <= MAX_COMPARED:
        problems += disagreements(answers)
    grades: dict[str, float] = {}
    for answer in answers:
        reading = read_markdown(answer.text)
        grades[answer.id] = reading.grade
        problems += reading_problems(answer, reading, max_grade)
    unchecked = sum(source.checked is None for answer in answers for source in answer.sources)
    return Report(tuple(problems), reviews, grades, unchecked), knowledge


def _stand_in(root: Path) -> Knowledge:
    """Return what takes the place of a clinic.yaml or texts.yaml that cannot be read, so that the rest is looked at."""
    clinic = Clinic(
        name=UNKNOWN, region=UNKNOWN, phone=UNKNOWN, hours=UNKNOWN, emergency_number=UNKNOWN, crisis_number=UNKNOWN,
        poison_number=UNKNOWN, languages=(UNKNOWN,), reach_a_person=UNKNOWN,
    )  # fmt: skip
    names = [name for name, field in Texts.model_fields.items() if field.is_required()]
    return Knowledge(root, clinic, Texts.model_validate(dict.fromkeys(names, UNKNOWN)), {})


def with_questions(report: Report, asked: Sequence[Asked], extra: Sequence[Problem], *, not_asked: str = "") -> Report:
    """Return the report with what the acceptance questions led to, and further problems."""
    problems = (*report.problems, *extra, *question_problems(asked))
    return replace(report, problems=problems, asked=tuple(asked), not_asked=not_asked)


def review_row(answer: Answer, today: date, due_soon_days: int) -> ReviewRow:
    """Return who vouches for the answer, and whether that holds."""
    review = answer.review
    state: ReviewState = "draft"
    if review.is_overdue(today):
        state = "overdue"
    elif review.is_current(today):
        soon = review.due is not None and review.due <= today + timedelta(days=due_soon_days)
        state = "due soon" if soon else "in force"
    reviewed, due = (day.isoformat() if day else None for day in (review.reviewed, review.due))
    return ReviewRow(answer.id, state, review.reviewer, reviewed, due)


def _due_soon(row: ReviewRow) -> Problem:
    message = f"is {row.due}; ask {row.reviewer} or another clinician to look at it again"
    return Problem(f"answers/{row.id}.md", "review.due", message, "warning")


def _file_problems(root: Path, clinic: Clinic | None) -> Iterator[Problem]:
    """Yield what is wrong with texts as they stand in the files, before placeholders are filled in."""
    for found, _ in sorted(files_below(root), key=lambda file: file[0]):
        path = Path(found)
        shown = shown_path(path, root)
        in_answers = shown.startswith("answers/")
        if in_answers and path.suffix != ".md":
            yield Problem(shown, "", "is not read, because its name does not end in .md; rename it", "warning")
        elif in_answers:
            parts = split_head(read_text(path, root, []) or "")
            yield from text_problems(parts[1], clinic, shown) if parts else ()
        elif shown == "texts.yaml" or (shown.startswith("safety/") and path.suffix == ".yaml"):
            text = read_text(path, root, [], max_bytes=10_000_000)
            cards = text if shown == "texts.yaml" else _cards_in(text or "")
            yield from number_problems(cards or "", clinic, shown, "" if shown == "texts.yaml" else "card")


def _cards_in(text: str) -> str:
    """Return the card of a safety file: its examples may well hold numbers that patients write."""
    lines, in_card = [], False
    for line in text.splitlines():
        if line and not line[0].isspace():
            in_card = line.startswith("card:")
        if in_card:
            lines.append(line)
    return "\n".join(lines)


def title_problems(answers: Sequence[Answer]) -> Iterator[Problem]:
    """Yield a warning for every title that two answers have."""
    seen: dict[str, str] = {}
    for answer in answers:
        key = " ".join(answer.title.casefold().split())
        if key in seen:
            message = f"{answer.title!r} is the title of answers/{seen[key]}.md too; patients cannot tell them apart"
            yield Problem(f"answers/{answer.id}.md", "title", message, "warning")
        seen.setdefault(key, answer.id)
