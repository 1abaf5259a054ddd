"""Answer files read again and again: only what changed is read, and a broken file keeps its last good version."""

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from chatbot.errors import Problem
from chatbot.knowledge import Answer, Filler, answer_files, fill_answer, no_answers, parse_answer
from chatbot.knowledge_files import files_below

Stamp = tuple[int, ...]
WATCHED = (".md", ".yaml", ".yml")
SETTLING_S = 0.1  # two writes closer than this can leave one and the same stamp
HEAD_BYTES = 20_000
_RETIRED = re.compile(rb"""^[^#\n]*\bstatus["']?:\s*["']?retired\b""", re.MULTILINE)


def folder_stamps(root: Path) -> dict[str, Stamp]:
    """Return a stamp for every file that the knowledge is made of; a file's stamp changes when the file does."""
    return {path: _stamp(status) for path, status in files_below(root) if path.endswith(WATCHED)}


def _stamp(status: os.stat_result) -> Stamp:
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is known of one file: its last good version, before and after filling in, and what is wrong now."""

    stamp: Stamp | None  # None: it was just being written; read it again next time
    good: Answer | None
    filled: Answer | None
    problems: tuple[Problem, ...]


class AnswerShelf:
    """Reads one folder's answers (an AnswerReader, see ``knowledge``). For one thread at a time.

    A file that cannot be used any more is served as it was when it was last in order, unless it says that it is
    retired. A file that is gone is gone.
    """

    def __init__(self) -> None:
        self._kept: Mapping[str, _Kept] = {}
        self._fill: Filler | None = None

    def __call__(self, root: Path, fill: Filler, problems: list[Problem]) -> list[Answer]:
        """Return the answers, after noting what is wrong with their files."""
        kept: dict[str, _Kept] = {}
        for path, status in answer_files(root):
            old = self._kept.get(path)
            if old is None or old.stamp != _stamp(status):
                new = self._read(path, status, root, fill, old)
                if new is None:
                    continue
                kept[path] = new
            elif fill != self._fill:
                kept[path] = replace(old, filled=_filled(old.good, fill))
            else:
                kept[path] = old
        self._kept, self._fill = kept, fill
        if not kept:
            problems.append(no_answers())
        problems += [problem for one in kept.values() for problem in one.problems]
        return [one.filled for one in kept.values() if one.filled is not None]

    def _read(self, path: str, status: os.stat_result, root: Path, fill: Filler, old: _Kept | None) -> _Kept | None:
        found: list[Problem] = []
        answer = parse_answer(Path(path), root, found)
        filled = fill_answer(answer, fill, found) if answer is not None else None
        stamp = _stamp(status) if time.time() - status.st_mtime > SETTLING_S else None
        if filled is not None:
            return _Kept(stamp, answer, filled, ())
        if not Path(path).exists():
            return None
        good = old.good if old is not None and not _says_retired(path) else None
        if good is not None:
            found = [replace(one, message=f"{one.message}. Patients see its last good version") for one in found]
        return _Kept(stamp, good, _filled(good, fill), tuple(found))


def _filled(answer: Answer | None, fill: Filler) -> Answer | None:
    return fill_answer(answer, fill, []) if answer is not None else None


def _says_retired(path: str) -> bool:
    """Say whether a file that cannot be read in order names itself retired all the same."""
    try:
        with Path(path).open("rb") as file:
            return _RETIRED.search(file.read(HEAD_BYTES)) is not None
    except OSError:
        return False
