"""What changed between two evaluations, question by question."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chatbot.errors import SettingsError

GOODNESS = ("wrong", "missed", "offered", "right")
VERSION = 1


@dataclass(frozen=True, slots=True)
class Change:
    """One question that leads somewhere else than it did."""

    question: str
    expected: tuple[str, ...]
    before: str
    now: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What got better and worse. Questions that only one of the two has are counted, not judged."""

    better: tuple[Change, ...]
    worse: tuple[Change, ...]
    other: tuple[Change, ...]  # as good as before, but another reply
    newly_wrong: tuple[str, ...]
    flags_lost: tuple[str, ...]  # messages that fired and must, and do not any more
    new_alarms: tuple[str, ...]
    phrases_gone: tuple[str, ...]
    n_new: int
    n_gone: int

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def read_report(path: Path) -> dict[str, Any]:
    """Return an earlier ``report.json``, or an evaluation kept by ``eval --accept``.

    Raises:
        SettingsError: It is missing, no report, or of another version of this program.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != VERSION:
            raise SettingsError(f"{path}: is a report of another version; make a new one with `healthfaq eval`")
        _ = content["questions"], content["examples"], content["phrases"]
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: there is no such report; check the name after --compare") from error
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{path}: is no report.json of `healthfaq eval` ({type(error).__name__})") from error
    return dict(content)


def kept_form(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what later evaluations are held against: outcomes by a short hash of each text, and all phrases."""
    return {
        "version": VERSION,
        "made": report["made"],
        "questions": {_key(row["question"]): [row["verdict"], _reply(row), _came(row)] for row in report["questions"]},
        "examples": {_key(_example(row)): row["is_right"] for row in report["examples"]},
        "phrases": report["phrases"],
    }


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> Changes:
    """Return what changed from an earlier report to this one."""
    before = old if isinstance(old["questions"], dict) else kept_form(old)
    was, caught = before["questions"], before["examples"]
    rows = {_key(row["question"]): row for row in new["questions"]}
    examples = {_key(_example(row)): row for row in new["examples"]}
    changed = {
        key: Change(row["question"], tuple(row["expected"]), was[key][2], _came(row))
        for key, row in rows.items()
        if key in was and was[key][:2] != [row["verdict"], _reply(row)]
    }
    steps = {key: GOODNESS.index(rows[key]["verdict"]) - GOODNESS.index(was[key][0]) for key in changed}
    lost = [row for key, row in examples.items() if caught.get(key) and not row["is_right"]]
    gone = set(before["phrases"]) - set(new["phrases"])
    return Changes(
        better=tuple(change for key, change in changed.items() if steps[key] > 0),
        worse=tuple(change for key, change in changed.items() if steps[key] < 0),
        other=tuple(change for key, change in changed.items() if steps[key] == 0),
        newly_wrong=tuple(rows[key]["question"] for key in changed if steps[key] and rows[key]["verdict"] == "wrong"),
        flags_lost=tuple(row["text"] for row in lost if row["must_fire"] and row["is_urgent"]),
        new_alarms=tuple(row["text"] for row in lost if not row["must_fire"]),
        phrases_gone=tuple(phrase for phrase in before["phrases"] if phrase in gone),
        n_new=len(rows.keys() - was.keys()),
        n_gone=len(was.keys() - rows.keys()),
    )


def _reply(row: Mapping[str, Any]) -> str:
    """Return what makes a reply another one: the answer that was given, but not who else stood among suggestions."""
    return _came(row) if row["outcome"] == "answered" else str(row["outcome"])


def _came(row: Mapping[str, Any]) -> str:
    answers: Sequence[str] = row["answers"]
    return f"{row['outcome']}: {', '.join(answers)}" if answers else str(row["outcome"])


def _example(row: Mapping[str, Any]) -> str:
    return f"{row['part']}|{row['group']}|{row['must_fire']}|{row['text']}"


def _key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
