"""Errors by who must act on them.

HealthFaqError
├── SettingsError     the operator: a settings file, a port, a missing program part
├── KnowledgeError    the staff: every problem of the knowledge files at once
├── ModelLoadError    the operator: a model or adapter file that is missing or damaged
└── GenerationError   nobody: the pipeline shows the vetted answer alone
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


class HealthFaqError(Exception):
    """Any error whose message is fit to be shown as one line on the command line."""


class SettingsError(HealthFaqError):
    """The operator must change a setting, a file or a command."""


class ModelLoadError(HealthFaqError):
    """A model file is missing, damaged or does not fit; the operator must replace it."""


class GenerationError(HealthFaqError):
    """The model gave no usable draft; the vetted answer stands alone."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing staff should mend: where it is, what is wrong, what to do."""

    path: str
    field: str
    message: str
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        where = f"{self.path}: {self.field}" if self.field else self.path
        return f"{where}: {self.message}"


class KnowledgeError(HealthFaqError):
    """The knowledge files cannot be used; carries every problem found, not just the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{len(self.problems)} problem(s) in the knowledge files:\n{lines}")
