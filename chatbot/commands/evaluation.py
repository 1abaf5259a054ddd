"""``healthfaq eval``: measures the bot on the clinic's own knowledge and writes a report."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from chatbot.commands.common import KnowledgeOption, SettingsOption, bar, err, opened, out, settings_for
from chatbot.errors import SettingsError
from chatbot.evaluation.compare import Changes, compare, kept_form, read_report
from chatbot.evaluation.limits import Limit, limits_of
from chatbot.evaluation.measure import Evaluation, Subject, evaluate
from chatbot.evaluation.terminal import print_evaluation
from chatbot.pipeline import Mode, Pipeline
from chatbot.settings import Settings

ACCEPTED = "accepted.json"  # in the knowledge folder: what --gate holds an evaluation against

OutOption = Annotated[Path, typer.Option("--out", help="Folder for report.html and report.json.")]
ModeOption = Annotated[Mode | None, typer.Option("--mode", help="verbatim: vetted text alone; guided: the model too.")]
CompareOption = Annotated[Path | None, typer.Option("--compare", help="Say what changed since this report.json.")]
GateOption = Annotated[bool, typer.Option("--gate", help="Exit status 1 when a limit of the settings is broken.")]
AcceptOption = Annotated[bool, typer.Option("--accept", help=f"Keep this evaluation as KNOWLEDGE/{ACCEPTED}.")]
RepliesOption = Annotated[int, typer.Option("--replies", min=0, help="Replies the model words, in guided mode.")]


def evaluation(
    out_folder: OutOption = Path("evaluation"),
    mode: ModeOption = None,
    compare_with: CompareOption = None,
    gate: GateOption = False,
    accept: AcceptOption = False,
    replies: RepliesOption = 30,
    settings: SettingsOption = None,
    knowledge: KnowledgeOption = None,
) -> None:
    """Measure the bot on the clinic's own questions and safety examples, and write a report.

    With --gate the exit status is 1 when a limit under `check` or `eval` of the settings is broken, or when something
    got worse since the evaluation that was kept with --accept.
    """
    chosen = settings_for(settings, knowledge, mode=mode)
    kept = chosen.knowledge / ACCEPTED
    earlier = compare_with or (kept if gate and kept.is_file() else None)
    before = read_report(earlier) if earlier is not None else None
    _make(out_folder)  # a folder that cannot be written to is told now, not in two minutes
    measured = _measured(chosen, replies)
    report = measured.as_json()
    changes = compare(before, report) if before is not None else None
    limits = limits_of(measured, chosen.check, chosen.eval, changes)
    print_evaluation(out, measured, changes, limits if gate else ())
    write_report(out_folder, measured, report, changes, limits)
    out.print(f"Report: {out_folder / 'report.html'} and report.json", markup=False, highlight=False, soft_wrap=True)
    if accept:
        _write(kept, json.dumps(kept_form(report), ensure_ascii=False, indent=0) + "\n")
        out.print(f"Kept as {kept}", markup=False, highlight=False, soft_wrap=True)
    if gate and any(not limit.is_kept for limit in limits):
        raise typer.Exit(1)


def _measured(settings: Settings, replies: int) -> Evaluation:
    with opened(settings, with_model=True) as service:
        if not service.knowledge.checks:
            raise SettingsError(f"{settings.knowledge / 'checks.yaml'}: holds no question; write some to evaluate on")
        if settings.mode == "guided" and (service.pipeline.writer is None or service.pipeline.writer.name is None):
            err.print("There is no language model now; only the vetted text is evaluated.", style="yellow")

        @contextmanager
        def reopened() -> Iterator[Pipeline]:
            with opened(settings, with_model=False) as again:
                yield again.pipeline

        parts = service.parts
        subject = Subject(service.pipeline, parts.gate.rules, parts.embedder, reopened)
        return evaluate(subject, bar, worded=replies, core_watts=settings.eval.core_watts)


def write_report(
    folder: Path, measured: Evaluation, report: dict[str, Any], changes: Changes | None, limits: list[Limit]
) -> None:
    """Write ``report.html`` and ``report.json`` into the folder.

    Raises:
        SettingsError: The folder cannot be written to.
    """
    from chatbot.evaluation.page import report_page  # noqa: PLC0415 - plotting takes a second to import

    whole = report | {
        "limits": [limit.as_json() for limit in limits],
        "changes": None if changes is None else changes.as_json(),
    }
    _write(folder / "report.json", json.dumps(whole, ensure_ascii=False, indent=1) + "\n")
    _write(folder / "report.html", report_page(measured, changes, limits))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingsError(f"{folder}: cannot be written to ({error.strerror}); name another with --out") from error


def _write(path: Path, text: str) -> None:
    """Write beside and rename, so that a report is whole or not there."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written ({error.strerror}); name another folder with --out") from error
