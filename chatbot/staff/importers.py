"""Brings answers in from elsewhere: rows become draft answer files, and what is there is never lost silently."""

import difflib
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import HttpUrl, ValidationError

from chatbot.errors import Problem, SettingsError
from chatbot.knowledge import PLACEHOLDER, Answer, AnswerHead, Clinic, Source, is_answer_id, parse_answer
from chatbot.knowledge_files import MAX_FILE_BYTES, field_problems
from chatbot.text import has_paragraph

MAX_TITLE = 120
MAX_SLUG = 60
SHARED = ("clinic.yaml", "texts.yaml", "synonyms.yaml", "safety")
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class SourceRow:
    """Where an imported answer comes from."""

    title: str
    publisher: str
    url: str


@dataclass(frozen=True, slots=True)
class Row:
    """One answer as it was found in the source. ``place`` says where, as staff would look for it."""

    id: str
    title: str
    questions: tuple[str, ...]
    text: str  # Markdown
    source: SourceRow
    place: str
    columns: tuple[tuple[str, str], ...] = ()  # field of an answer's head → column of the source


@dataclass(frozen=True, slots=True)
class Change:
    """One existing file that says something else than the source."""

    id: str
    added: int  # lines
    removed: int
    fields: tuple[str, ...]
    was_reviewed_by: str | None = None

    def __str__(self) -> str:
        what = [*self.fields, *([f"text +{self.added} -{self.removed} lines"] if self.added or self.removed else [])]
        review = f"; {self.was_reviewed_by}'s review does not hold for it any more" if self.was_reviewed_by else ""
        return f"{self.id}: {', '.join(what)}{review}"


@dataclass
class ImportReport:
    """What an import did. Problems name a row and a column, or a file."""

    created: int = 0
    unchanged: int = 0
    updated: list[Change] = field(default_factory=list)
    kept: list[Change] = field(default_factory=list)  # files that differ and were left alone
    left_out: dict[str, int] = field(default_factory=dict)  # reason → how many; not a fault of the source
    problems: list[Problem] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Say whether every row is in the folder as the source has it."""
        return not self.kept and all(problem.severity != "error" for problem in self.problems)

    def leave_out(self, reason: str) -> None:
        """Count a row that has nothing to bring in."""
        self.left_out[reason] = self.left_out.get(reason, 0) + 1


def answers_folder(dest: Path) -> Path:
    """Return the folder that answers go to: ``DEST/answers``, or DEST when it is an answers folder itself.

    Raises:
        SettingsError: DEST is a file, or a folder of something else.
    """
    if dest.exists() and not dest.is_dir():
        raise SettingsError(f"{dest} is a file; name the knowledge folder that the answers go to")
    if dest.name == "answers" and (dest.parent / "clinic.yaml").is_file():
        return dest
    inside = [path.name for path in dest.iterdir() if not path.name.startswith(".")] if dest.exists() else []
    if inside and not ({"clinic.yaml", "answers"} & set(inside)):
        raise SettingsError(
            f"{dest} holds other files and is no knowledge folder; name one with clinic.yaml in it, or a new folder"
        )
    return dest / "answers"


def copy_shared(answers: Path, model: Path, report: ImportReport) -> None:
    """Copy the clinic's facts, fixed texts and safety rules into a new knowledge folder, so that it can be served.

    Nothing that is there is touched.
    """
    root = answers.parent
    for name in SHARED:
        source, target = model / name, root / name
        if target.exists() or not source.exists() or source.resolve() == target.resolve():
            continue
        shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)
        report.copied.append(name)


def write_answers(
    rows: Iterable[Row], answers: Path, report: ImportReport, *, update: bool, progress: Progress | None = None,
    total: int = 0,
) -> None:  # fmt: skip
    """Write one draft answer file a row.

    Args:
        rows: What to bring in; a row that cannot become an answer is noted and the rest goes on.
        answers: The folder ``answers`` of a knowledge folder.
        report: Gets counts, changes and problems.
        update: Replace files that say something else than the source; otherwise they are kept and named.
        progress: Told ``(done, total)`` rows.
        total: How many rows there are, or about how many.

    Raises:
        SettingsError: The folder cannot be written.
    """
    seen: dict[str, str] = {}
    for done, row in enumerate(rows, 1):
        try:
            _write_row(row, answers, report, seen, update=update)
        except OSError as error:
            raise SettingsError(
                f"{answers} cannot be written ({error.strerror or error}); choose another folder"
            ) from error
        if progress is not None and (done % 50 == 0 or done == total):
            progress(done, max(total, done))


def _write_row(row: Row, answers: Path, report: ImportReport, seen: dict[str, str], *, update: bool) -> None:
    if row.id in seen:
        message = f"is {row.id!r}, as in {seen[row.id]}; every answer needs an id of its own"
        report.problems.append(Problem(row.place, _column(row, "id"), message))
        return
    problems = row_problems(row)
    if problems:
        report.problems += problems
        return
    seen[row.id] = row.place
    path = answers / f"{row.id}.md"
    if not path.exists():
        write_beside(path, answer_file(row, None))
        report.created += 1
        return
    old = parse_answer(path, answers.parent, [])
    change = _change(old, path, row)
    if change is None:
        report.unchanged += 1
    elif update:
        write_beside(path, answer_file(row, old))
        report.updated.append(change)
    else:
        report.kept.append(change)


def row_problems(row: Row) -> list[Problem]:
    """Return everything that keeps the row from becoming an answer, by column."""
    problems: list[Problem] = []
    if not is_answer_id(row.id):
        message = f"is {row.id[:60]!r}; write <topic>/<name> in small letters, digits and hyphens, or leave it empty"
        problems.append(Problem(row.place, _column(row, "id"), message))
    try:
        AnswerHead.model_validate(_head(row, None))
    except ValidationError as error:
        for found in field_problems(error, row.place):
            problems.append(Problem(row.place, _column(row, found.field), found.message))
    column = _column(row, "text")
    unknown = sorted(set(PLACEHOLDER.findall(row.text)) - Clinic.PLACEHOLDERS)
    if unknown:
        message = f"uses {{{unknown[0]}}}; only the clinic's own facts may stand in braces, as in {{clinic_phone}}"
        problems.append(Problem(row.place, column, message))
    if not row.text.strip():
        problems.append(Problem(row.place, column, "is empty; write the answer"))
    elif len(row.text.encode()) > MAX_FILE_BYTES // 2:
        problems.append(Problem(row.place, column, f"is longer than {MAX_FILE_BYTES // 2000} kB; split it"))
    elif not has_paragraph(row.text):
        problems.append(Problem(row.place, column, "has no sentence; begin with two or three plain sentences"))
    return problems


def _column(row: Row, name: str) -> str:
    columns = dict(row.columns)
    return columns.get(name) or columns.get(name.split(".")[0]) or name


def _head(row: Row, old: Answer | None) -> dict[str, Any]:
    head: dict[str, Any] = {"title": row.title, "questions": list(row.questions)}
    if old is not None:
        head["audience"] = old.audience
    source = row.source
    head["sources"] = [{"title": source.title, "publisher": source.publisher, "url": source.url, "checked": None}]
    status = "retired" if old is not None and old.review.status == "retired" else "draft"  # never brought back unseen
    head["review"] = {"status": status, "reviewer": None, "reviewed": None, "due": None}
    if old is not None and old.see_also:
        head["see_also"] = list(old.see_also)
    return head


def answer_file(row: Row, old: Answer | None) -> str:
    """Return the answer file's text. What the source knows nothing of (audience, see_also) is kept from the old one."""
    head = yaml.dump(_head(row, old), Dumper=_DUMPER, sort_keys=False, allow_unicode=True, width=100)
    return f"---\n{head}---\n{row.text.strip()}\n"


def _change(old: Answer | None, path: Path, row: Row) -> Change | None:
    """Return how an existing file differs from the row, or None when it says the same."""
    if old is None:
        before = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return _counted(row.id, before, answer_file(row, None).splitlines(), ("was not in order",), None)
    fields = []
    if old.title != row.title:
        fields.append("title")
    if old.questions != row.questions:
        fields.append("questions")
    if not _same_source(old.sources[0], row.source):
        fields.append("source")
    text = row.text.strip()
    if not fields and old.text == text:
        return None
    reviewer = old.review.reviewer if old.review.status == "reviewed" else None
    return _counted(row.id, old.text.splitlines(), text.splitlines(), tuple(fields), reviewer)


def _same_source(old: Source, new: SourceRow) -> bool:
    same_page = str(old.url).rstrip("/") == str(HttpUrl(new.url)).rstrip("/")  # an address is written in many ways
    return same_page and (old.title, old.publisher) == (new.title, new.publisher)


def _counted(
    id_: str, before: Sequence[str], after: Sequence[str], fields: tuple[str, ...], reviewer: str | None
) -> Change:
    lines = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
    added = sum(line.startswith("+") for line in lines)
    return Change(id_, added, sum(line.startswith("-") for line in lines), fields, reviewer)


def write_beside(path: Path, text: str) -> None:
    """Write beside and rename, so that a running server never reads half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.tmp")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def slug(text: str, *, length: int = MAX_SLUG) -> str:
    """Return the text as part of an id: small ASCII letters, digits and hyphens, cut between words."""
    ascii_ = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=\w)'(?=\w)", "", ascii_))
    kept = ""
    for word in words:
        longer = f"{kept}-{word}" if kept else word
        if len(longer) > length:
            break
        kept = longer
    return kept or (words[0][:length] if words else "")


def shortened(title: str) -> str:
    """Return the title, cut between words when it is longer than a title may be."""
    if len(title) <= MAX_TITLE:
        return title
    return title[: MAX_TITLE - 2].rsplit(" ", 1)[0].rstrip(" ,;:-(") + " …"
