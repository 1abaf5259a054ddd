"""What every command shares: its common options, the terminal, settings, and a service that is closed again."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from chatbot.bootstrap import Service, open_service
from chatbot.settings import Settings, load_settings

out = Console()
err = Console(stderr=True)

SettingsOption = Annotated[Path | None, typer.Option("--settings", help="Settings file (YAML).", show_default=False)]
KnowledgeOption = Annotated[Path | None, typer.Option("--knowledge", help="Folder of the clinic's answers.")]


def settings_for(path: Path | None, knowledge: Path | None = None, **changes: Any) -> Settings:
    """Return the settings file's settings with the command line's own choices on top."""
    wanted = {name: choice for name, choice in changes.items() if choice is not None}
    if knowledge is not None:
        wanted["knowledge"] = knowledge
    return load_settings(path).model_copy(update=wanted)


@contextmanager
def opened(settings: Settings, *, with_model: bool) -> Iterator[Service]:
    """Open a service with a progress bar for the index, say what is wrong with the knowledge, and close it."""
    with bar("index") as progress:
        service = open_service(settings, with_model=with_model, progress=progress)
    try:
        errors = [problem for problem in service.problems if problem.severity == "error"]
        if errors:
            err.print(f"{len(errors)} problem(s) in the knowledge files; `healthfaq check` lists them.", style="yellow")
        yield service
    finally:
        service.close()


@contextmanager
def bar(label: str) -> Iterator[Any]:
    """Yield a function ``(done, total)`` that draws a progress bar on the terminal once there is work."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(label, total=None, visible=False)
        yield lambda done, total: progress.update(task, completed=done, total=total, visible=True)
