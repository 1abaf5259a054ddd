"""Files of questions and replies: one JSON object a line."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from chatbot.errors import SettingsError
from chatbot.reply import Turn


class _HistoryTurn(BaseModel):
    model_config = ConfigDict(extra="ignore")
    role: str
    text: str


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)
    id: str
    text: str
    history: tuple[_HistoryTurn, ...] = ()


def read_conversations(path: Path) -> list[tuple[str, str, tuple[Turn, ...]]]:
    """Return ``(id, text, history)`` for each line; the whole file is checked before any is used.

    Raises:
        SettingsError: The file cannot be read, or a line is not what it should be; names the line.
    """
    rows = []
    for number, line in _lines(path):
        try:
            row = _Line.model_validate_json(line)
            turns = tuple(Turn(_role(turn.role), turn.text) for turn in row.history)
        except ValidationError as error:
            raise SettingsError(f"{path}, line {number}: {_first(error)}") from error
        except ValueError as error:
            raise SettingsError(f"{path}, line {number}: {error}") from error
        rows.append((row.id, row.text, turns))
    return rows


def read_queries(path: Path) -> list[tuple[str, str]]:
    """Return ``(id, text)`` for each line. Raises as ``read_conversations`` does."""
    return [(id_, text) for id_, text, _ in read_conversations(path)]


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object a line; the file appears only when it is whole.

    Raises:
        SettingsError: The file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        partial.replace(path)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: there is no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    # Only line feeds end a line: a question may hold U+2028 or a form feed.
    return ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


def _role(role: str) -> Any:
    if role not in ("user", "assistant"):
        raise ValueError(f"history: role is {role!r}; it must be user or assistant")
    return role


def _first(error: ValidationError) -> str:
    row = error.errors()[0]
    where = ".".join(map(str, row["loc"]))
    return f"{where}: {row['msg']}" if where else row["msg"]
