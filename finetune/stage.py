"""What every stage has in common: a folder, inputs with hashes, a manifest that is written last, one closing line.

A stage whose inputs have not changed is up to date. One that was interrupted goes on with what is in its folder; one
whose inputs have changed starts with an empty folder.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from chatbot.errors import SettingsError

MANIFEST = "manifest.json"
STARTED = "started.json"
LIBRARIES = ("torch", "transformers", "peft", "trl", "gguf", "llama-cpp-python", "numpy")
Say = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of one run."""

    name: str
    folder: Path
    inputs: Mapping[str, str]  # what it depends on, by name: hashes and settings
    outputs: tuple[str, ...]  # files or folders it must leave behind, inside its own folder

    @property
    def manifest(self) -> dict[str, Any] | None:
        """The manifest of the finished stage, or None."""
        try:
            content: dict[str, Any] = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content

    @property
    def is_current(self) -> bool:
        """Say whether it was finished with these very inputs and its outputs are as they were left."""
        manifest = self.manifest
        if manifest is None or manifest.get("inputs") != dict(self.inputs):
            return False
        return manifest.get("outputs") == {name: hash_of(self.folder / name) for name in self.outputs}


def run_stage(stage: Stage, work: Callable[[], Mapping[str, Any]], *, say: Say, needs_mib: int = 50) -> bool:
    """Do the stage's work unless it is up to date; return whether it was done.

    Args:
        stage: What, where, from what.
        work: Does it, with files in the stage's folder that it may find half-finished; returns counts for the line.
        say: Told the closing line.
        needs_mib: Free space without which it does not begin.

    Raises:
        SettingsError: The disk is full or the folder cannot be written.
    """
    if stage.is_current:
        say(f"{stage.name}: up to date ({stage.folder})")
        return False
    began = time.monotonic()
    try:
        _prepare(stage, needs_mib)
        counts = dict(work())
        _finish(stage, counts, seconds=time.monotonic() - began)
    except OSError as error:
        raise SettingsError(
            f"{stage.name}: {stage.folder}: {error.strerror or error}; nothing was registered"
        ) from error
    shown = ", ".join(
        f"{name} {_short(number)}" for name, number in counts.items() if not isinstance(number, dict | list)
    )
    say(f"{stage.name}: {shown}; {time.monotonic() - began:.0f} s; {stage.folder}")
    return True


def _prepare(stage: Stage, needs_mib: int) -> None:
    started = stage.folder / STARTED
    with contextlib.suppress(OSError, ValueError):
        if json.loads(started.read_text(encoding="utf-8")) != dict(stage.inputs):
            shutil.rmtree(stage.folder)
    stage.folder.mkdir(parents=True, exist_ok=True)
    (stage.folder / MANIFEST).unlink(missing_ok=True)
    free_mib = shutil.disk_usage(stage.folder).free >> 20
    if free_mib < needs_mib:
        raise SettingsError(
            f"{stage.name}: {stage.folder} has {free_mib} MiB free and needs {needs_mib}; make room first"
        )
    write_json(started, dict(stage.inputs))


def _finish(stage: Stage, counts: dict[str, Any], *, seconds: float) -> None:
    missing = [name for name in stage.outputs if not (stage.folder / name).exists()]
    if missing:
        raise SettingsError(f"{stage.name}: {', '.join(missing)} was not written to {stage.folder}; run it again")
    write_json(
        stage.folder / MANIFEST,
        {
            "stage": stage.name,
            "inputs": dict(stage.inputs),
            "outputs": {name: hash_of(stage.folder / name) for name in stage.outputs},
            "counts": counts,
            "seconds": round(seconds, 1),
            "versions": versions(),
        },
    )


def versions() -> dict[str, str]:
    """Return the versions of what the numbers depend on."""
    found = {"python": platform.python_version(), "machine": platform.machine(), "cores": str(os.cpu_count())}
    for library in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[library] = importlib.metadata.version(library)
    return found


def hash_of(path: Path) -> str:
    """Return the sha256 of a file, or of a folder's file names and contents; empty when it is not there."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    for inner in files:
        digest.update(f"{inner.relative_to(path).as_posix()} {hash_of(inner)}\n".encode())
    return digest.hexdigest() if files else ""


def hash_text(*parts: str) -> str:
    """Return one sha256 of several texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that a reader sees the old file or the whole new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1, ensure_ascii=False)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _short(number: Any) -> str:
    return f"{number:.4g}" if isinstance(number, float) else str(number)


@contextlib.contextmanager
def bar(label: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Yield a function that advances a progress bar on the terminal; silent where there is none.

    The function takes ``advance`` (1), or ``completed`` and ``total``.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=total)
        yield lambda advance=1, **given: progress.update(task, **(given or {"advance": advance}))


def track(items: Sequence[T], label: str) -> Iterator[T]:
    """Yield the items with a progress bar on the terminal; silent where there is none."""
    with bar(label, len(items)) as advance:
        for each in items:
            yield each
            advance()
