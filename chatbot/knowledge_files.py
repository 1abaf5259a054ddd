"""Reads one file that staff edit, and says in plain words what is wrong with it. Never raises for a bad file."""

import os
import re
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import frontmatter
import yaml
from pydantic import BaseModel, ValidationError

from chatbot.errors import Problem

MAX_FILE_BYTES = 200_000
ModelT = TypeVar("ModelT", bound=BaseModel)
_HEADS = frontmatter.YAMLHandler()
_FAST_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster where it is there
_BRACKET = re.compile(r"[\[\]{}]")
_LONG_INDENT = re.compile(r"^[ \t?:-]{100}", re.MULTILINE)
MAX_DEPTH = 50
_SHORT = reprlib.Repr()  # a few aliases in a YAML file can stand for more text than the machine can hold
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 60, 60


def files_below(folder: Path | str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield every file below the folder with its status, but nothing hidden and nothing whose name begins with _.

    What vanishes meanwhile is left out, and links to folders are not followed.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith((".", "_")):
                    continue
                try:
                    if entry.is_dir(follow_symlinks=False):
                        yield from files_below(entry.path)
                    else:
                        yield entry.path, entry.stat()
                except OSError:
                    continue
    except OSError:
        return


def read_text(path: Path, root: Path, problems: list[Problem], *, max_bytes: int = MAX_FILE_BYTES) -> str | None:
    """Return the file's text, or None after noting why it could not be read."""
    shown = shown_path(path, root)
    try:
        if not path.is_file() and path.exists():
            problems.append(Problem(shown, "", "is not a file; take it out"))  # reading a pipe would wait for ever
            return None
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > max_bytes:
                problems.append(Problem(shown, "", f"is larger than {max_bytes // 1000} kB; split it"))
                return None
            text = file.read(max_bytes + 1).decode("utf-8-sig")
    except FileNotFoundError:
        problems.append(Problem(shown, "", "is missing; add it (the README of the knowledge folder shows how)"))
        return None
    except UnicodeDecodeError:
        problems.append(Problem(shown, "", "is not UTF-8 text; save it as UTF-8"))
        return None
    except OSError as error:
        problems.append(Problem(shown, "", f"cannot be read: {error.strerror or error}"))
        return None
    if "\x00" in text:
        problems.append(Problem(shown, "", "holds bytes that are not text; save it as plain UTF-8 text"))
        return None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_yaml(path: Path, root: Path, problems: list[Problem], *, max_bytes: int = MAX_FILE_BYTES) -> Any:
    """Return the parsed file, or None after noting why it could not be read."""
    text = read_text(path, root, problems, max_bytes=max_bytes)
    if text is None:
        return None
    try:
        return parse_yaml(text)
    except ValueError as error:
        problems.append(Problem(shown_path(path, root), "", str(error)))
        return None


def parse_yaml(text: str, *, first_line: int = 1) -> Any:
    """Return what the YAML text holds.

    Args:
        text: YAML, one document.
        first_line: The line of the file that the text begins on, for the message.

    Raises:
        ValueError: It is not YAML; the message says in which line and what to do.
    """
    try:
        # Both are safe loaders: plain values only. The fast one ends the program on a file that is nested too deeply.
        return yaml.load(text, Loader=yaml.SafeLoader if _is_deep(text) else _FAST_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + first_line}: " if mark else ""
        raise ValueError(f"{line}is not valid YAML ({error.problem}); {_yaml_mend(str(error.problem))}") from error
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as error:
        raise ValueError(f"is not valid YAML ({_one_line(error)}); put special signs in quotes") from error


def _is_deep(text: str) -> bool:
    """Say whether the text may be nested more deeply than anything that staff write."""
    depth = 0
    for match in _BRACKET.finditer(text):
        depth = max(depth + (1 if match.group() in "[{" else -1), 0)
        if depth > MAX_DEPTH:
            return True
    return _LONG_INDENT.search(text) is not None


def _yaml_mend(problem: str) -> str:
    if "\\t" in problem or "tab" in problem:
        return "use spaces, not tabs, at the beginning of a line"
    if "alias" in problem or "anchor" in problem or "tag" in problem:
        return "put quotes around text that begins with *, & or !"
    return 'put quotes around text that has ": " or special signs in it, and close every quote and bracket'


def split_head(text: str) -> tuple[str, str, int] | None:
    """Return the head between the ``---`` lines, the text below it and the head's first line; None without a head."""
    lead = len(text) - len(text.lstrip())
    if not _HEADS.detect(text[lead:]):
        return None
    try:
        head, body = _HEADS.split(text[lead:])
    except ValueError:  # the second --- line is missing
        return None
    return head, body.strip(), text.count("\n", 0, lead) + 1


def read_model(path: Path, model: type[ModelT], root: Path, problems: list[Problem]) -> ModelT | None:
    """Return the YAML file as a model, or None after noting every field that is wrong."""
    before = len(problems)
    content = read_yaml(path, root, problems)
    if len(problems) > before:
        return None
    if not isinstance(content, dict):
        problems.append(Problem(shown_path(path, root), "", "must be a list of 'key: value' lines"))
        return None
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems += field_problems(error, shown_path(path, root))
        return None


def field_problems(error: ValidationError, path: str) -> list[Problem]:
    """Return one problem a field, in words for staff."""
    rows = error.errors(include_url=False)
    inside = {row["loc"][:1] for row in rows if len(row["loc"]) > 1}  # a list is not short because its parts are wrong
    told = [row for row in rows if row["type"] != "too_short" or row["loc"] not in inside]
    return [Problem(path, ".".join(map(str, row["loc"])) or "head", _message(row)) for row in told]


_MENDS = {
    "missing": "is missing; add it",
    "extra_forbidden": "is not a known key; check its spelling or take it out",
    "too_short": "is empty; fill it in",
    "string_too_short": "is empty; fill it in",
    "tuple_type": "must be a list; begin each line with '- '",
    "list_type": "must be a list; begin each line with '- '",
    "model_type": "must be made of 'key: value' lines",
    "dict_type": "must be made of 'key: value' lines",
    "string_type": "must be text; put quotes around it",
    "date_from_datetime_parsing": "is not a date; write it like 2026-11-23",
    "date_parsing": "is not a date; write it like 2026-11-23",
    "date_type": "is not a date; write it like 2026-11-23",
    "date_from_datetime_inexact": "is a date with a time; write the date alone, like 2026-11-23",
    "url_parsing": "is not a web address; write it in full, like https://medlineplus.gov/fever.html",
    "url_type": "is not a web address; write it in full, like https://medlineplus.gov/fever.html",
    "url_scheme": "is not a web address; it must begin with https://",
}


def _message(row: Mapping[str, Any]) -> str:
    kind, context = row["type"], row.get("ctx", {})
    found = f" (found {_SHORT.repr(row['input'])[:80]})"
    match kind:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return f"must be one of {context['expected']}{found}"
        case "string_too_long":
            return f"is longer than {context['max_length']} signs; shorten it"
        case "missing" | "extra_forbidden" | "too_short" | "string_too_short":
            return _MENDS[kind]
        case _ if kind in _MENDS:
            return _MENDS[kind] + found
        case _:
            return f"{row['msg'][0].lower()}{row['msg'][1:]}{found}"


def shown_path(path: Path, root: Path) -> str:
    """Return the path as staff know it: from the knowledge folder."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
