"""Reads answers out of a spreadsheet: CSV as any program saves it, or .xlsx."""

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from chatbot.errors import Problem, SettingsError
from chatbot.staff.import_text import plain, to_markdown
from chatbot.staff.importers import ImportReport, Row, SourceRow, slug

REQUIRED = ("title", "questions", "answer", "source_title", "source_publisher", "source_url")
COLUMNS = ("id", *REQUIRED)
COLUMN_OF = (
    ("text", "answer"), ("sources.0.title", "source_title"), ("sources.0.publisher", "source_publisher"),
    ("sources.0.url", "source_url"), ("sources", "source_url"),
)  # fmt: skip
SEPARATOR = "|"
ENCODINGS = ("utf-8-sig", "cp1252")  # the second is what spreadsheet programs on Windows save
MAX_BYTES = 200_000_000


def table_rows(source: Path, report: ImportReport) -> list[Row]:
    """Return the table's rows; a row's place is its number in the spreadsheet, the header being row 1.

    A row without an id gets one from the file's name and its title: ``<file>/<title>``.

    Raises:
        SettingsError: The file cannot be read, or columns are missing.
    """
    lines = _read_xlsx(source) if source.suffix.lower() in (".xlsx", ".xlsm") else _read_csv(source)
    numbered = [(number, cells) for number, cells in enumerate(lines, 1) if any(cell.strip() for cell in cells)]
    if not numbered:
        raise SettingsError(f"{source} is empty; its first row must hold the columns {', '.join(COLUMNS)}")
    names = [cell.strip().casefold().replace(" ", "_") for cell in numbered[0][1]]
    _check_columns(source, names, report)
    return list(_rows(source, names, numbered[1:]))


def _check_columns(source: Path, names: list[str], report: ImportReport) -> None:
    if missing := [name for name in REQUIRED if name not in names]:
        raise SettingsError(
            f"{source}: row 1 lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; "
            f"it must hold {', '.join(REQUIRED)}, and may hold id"
        )
    if twice := sorted({name for name in names if name in COLUMNS and names.count(name) > 1}):
        raise SettingsError(f"{source}: row 1 has the column {twice[0]} twice; take one out")
    for name in names:
        if name and name not in COLUMNS:
            message = f"the column {name[:40]!r} is not known and was left out; known are {', '.join(COLUMNS)}"
            report.problems.append(Problem("row 1", name[:40], message, "warning"))


def _rows(source: Path, names: list[str], numbered: Iterable[tuple[int, list[str]]]) -> Iterator[Row]:
    topic = slug(source.stem) or "imported"
    taken: dict[str, int] = {}
    for number, cells in numbered:
        cell = dict(zip(names, cells, strict=False))
        title = plain(cell.get("title", ""))
        asked = [plain(question) for question in cell.get("questions", "").split(SEPARATOR)]
        yield Row(
            id=_id(cell.get("id", "").strip(), title, topic, taken, number),
            title=title,
            questions=tuple(dict.fromkeys(question for question in asked if question)),
            text=to_markdown(cell.get("answer", "")),
            source=SourceRow(
                plain(cell.get("source_title", "")), plain(cell.get("source_publisher", "")),
                cell.get("source_url", "").strip(),
            ),
            place=f"row {number}",
            columns=COLUMN_OF,
        )  # fmt: skip


def _id(written: str, title: str, topic: str, taken: dict[str, int], number: int) -> str:
    """Return the row's own id, with the file's name as its topic when it has none, or one made from the title."""
    written = written.removesuffix(".md").strip("/")
    if written:
        return written if "/" in written else f"{topic}/{written}"
    name = slug(title) or f"row-{number}"
    taken[name] = taken.get(name, 0) + 1
    return f"{topic}/{name}" if taken[name] == 1 else f"{topic}/{name}-{taken[name]}"


def _read_csv(source: Path) -> list[list[str]]:
    try:
        if source.stat().st_size > MAX_BYTES:
            raise SettingsError(f"{source} is larger than {MAX_BYTES // 1_000_000} MB; split it")
        content = source.read_bytes()
    except FileNotFoundError as error:
        raise SettingsError(f"{source}: there is no such file") from error
    except OSError as error:
        raise SettingsError(f"{source} cannot be read: {error.strerror or error}") from error
    text = _decoded(content, source)
    csv.field_size_limit(MAX_BYTES)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text)))
    except csv.Error as error:
        raise SettingsError(f"{source} is not a CSV file ({error}); save it again as CSV (UTF-8)") from error


def _decoded(content: bytes, source: Path) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    if content[:4] == b"PK\x03\x04" or b"\x00" in content[:4096]:
        raise SettingsError(f"{source} is not a CSV file; save it as CSV, or give an Excel file the ending .xlsx")
    for encoding in ENCODINGS:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise SettingsError(f"{source} is not text in UTF-8; save it again as CSV (UTF-8)")


def _delimiter(text: str) -> str:
    """Return what separates the cells of the first row; programs in some countries write semicolons or tabs."""
    header = text.split("\n", 1)[0]
    return max(",;\t", key=header.count)


def _read_xlsx(source: Path) -> list[list[str]]:
    try:
        book = openpyxl.load_workbook(source, read_only=True, data_only=True)
        sheet = book.worksheets[0]
        return [["" if cell is None else str(cell) for cell in row] for row in sheet.iter_rows(values_only=True)]
    except FileNotFoundError as error:
        raise SettingsError(f"{source}: there is no such file") from error
    except (
        InvalidFileException, zipfile.BadZipFile, OSError, KeyError, ValueError, IndexError, TypeError, EOFError,
        SyntaxError, AttributeError,
    ) as error:  # fmt: skip
        message = f"{source} is not an Excel file that can be read ({error}); save it again as .xlsx or as CSV"
        raise SettingsError(message) from error
