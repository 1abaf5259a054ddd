"""Which vetted sentences answer which question, chosen by a reader: files that people keep beside a recipe."""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from chatbot.errors import SettingsError


class Label(BaseModel):
    """One question and the sentences of one answer that answer it, the best first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    answer: str
    question: str
    source: str = "answer"
    sentences: tuple[str, ...]


def read_labels(path: Path) -> list[Label]:
    """Return a file's labels.

    Raises:
        SettingsError: The file cannot be read.
    """
    try:
        return TypeAdapter(list[Label]).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise SettingsError(f"{path}: cannot be used: {' '.join(str(error).split())[:300]}") from error
