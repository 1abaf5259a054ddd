"""Examples as they lie on disk: one JSON object a line."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from chatbot.errors import SettingsError
from chatbot.prompting import Message, Passage, build_messages
from finetune.split import Split

Kind = Literal["answerable", "alone", "two needed", "partly", "follow-up", "near miss", "off topic", "served"]
KINDS: tuple[Kind, ...] = (
    "answerable", "alone", "two needed", "partly", "follow-up", "near miss", "off topic", "served",
)  # fmt: skip
ABSTAINING: frozenset[Kind] = frozenset({"near miss", "off topic"})


@dataclass(frozen=True, slots=True)
class Row:
    """One question over some passages, and the reply to learn."""

    id: str
    kind: Kind
    split: Split
    group: str  # rows of one group share their passages
    passages: tuple[Passage, ...]
    question: str
    reply: str
    right: tuple[str, ...]  # answer ids that the reply rests on; none when it abstains
    asked_of: str  # the answer id that the question was written for; empty when off topic
    earlier_question: str = ""
    origin: str = "answers"  # who worded the reply: the answers themselves, or a teacher
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def messages(self) -> list[Message]:
        """The very messages that serving builds."""
        return build_messages(self.question, self.passages, earlier_question=self.earlier_question)

    @property
    def abstains(self) -> bool:
        """Say whether the right reply is the abstention."""
        return self.kind in ABSTAINING


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows, one a line."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)


def read_rows(path: Path, *, split: Split | None = None) -> list[Row]:
    """Return a file's rows, or those of one split.

    Raises:
        SettingsError: The file is missing or is not one of rows.
    """
    rows = []
    for number, line in enumerate(_lines(path), 1):
        try:
            content = json.loads(line)
            content["passages"] = tuple(Passage(**passage) for passage in content["passages"])
            content["right"] = tuple(content["right"])
            content["split"] = Split(content["split"])
            rows.append(Row(**content))
        except (ValueError, TypeError, KeyError) as error:
            raise SettingsError(f"{path}: line {number} is not an example ({error}); make the file again") from error
    return [row for row in rows if split is None or row.split == split]


def json_lines(path: Path) -> list[str]:
    """Return a file's lines; only a line feed ends one (a model may write any other separator inside a text)."""
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]


def _lines(path: Path) -> Iterator[str]:
    try:
        yield from json_lines(path)
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: there are no examples yet; run `healthfaq finetune dataset` first") from error


def grouped(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the rows by group, in the order in which groups first appear."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    return list(groups.values())
