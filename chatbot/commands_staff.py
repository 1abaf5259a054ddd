"""``healthfaq import …`` and ``healthfaq check``: what staff do with the answers."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from chatbot.commands import SettingsOption, bar, err, out, settings_for
from chatbot.import_medlineplus import medlineplus_rows, medlineplus_size
from chatbot.import_medquad import medquad_rows, medquad_size
from chatbot.import_table import table_rows
from chatbot.importers import ImportReport, Row, answers_folder, copy_shared, write_answers

MAX_LINES = 30
DEST_HELP = (
    "Knowledge folder (files go to DEST/answers), or its answers folder. A new one also gets the clinic's facts, "
    "fixed texts and safety rules of the --knowledge folder, so that it can be served at once."
)

import_app = typer.Typer(
    help="Bring answers in as draft answer files. Nothing that is there is overwritten without --update.",
    no_args_is_help=True,
)
SourceArgument = Annotated[Path, typer.Argument(help="What to bring in.", show_default=False)]
DestArgument = Annotated[Path, typer.Argument(help=DEST_HELP, show_default=False)]
UpdateOption = Annotated[bool, typer.Option("--update", help="Replace files that differ, and say what changed.")]
KnowledgeOption = Annotated[Path | None, typer.Option("--knowledge", help="Where a new DEST gets its shared files.")]


@import_app.command("csv")
def import_csv(
    source: SourceArgument, dest: DestArgument, update: UpdateOption = False, settings: SettingsOption = None,
    knowledge: KnowledgeOption = None,
) -> None:  # fmt: skip
    """A spreadsheet (.csv or .xlsx).

    Columns: id (optional), title, questions (separated by " | "), answer, source_title, source_publisher, source_url.
    """
    report = ImportReport()
    rows = table_rows(source, report)
    _bring_in(rows, len(rows), dest, report, update, settings_for(settings, knowledge).knowledge)


@import_app.command("medquad")
def import_medquad(
    source: SourceArgument, dest: DestArgument, update: UpdateOption = False, settings: SettingsOption = None,
    knowledge: KnowledgeOption = None,
) -> None:  # fmt: skip
    """MedQuAD in its original XML, as a folder or a zip file."""
    report = ImportReport()
    rows = medquad_rows(source, report)
    _bring_in(rows, medquad_size(source), dest, report, update, settings_for(settings, knowledge).knowledge)


@import_app.command("medlineplus")
def import_medlineplus(
    source: SourceArgument, dest: DestArgument, update: UpdateOption = False,
    language: Annotated[str, typer.Option(help="Topics in other languages are left out.")] = "English",
    settings: SettingsOption = None, knowledge: KnowledgeOption = None,
) -> None:  # fmt: skip
    """The health-topics XML file that MedlinePlus publishes."""
    report = ImportReport()
    rows = medlineplus_rows(source, report, language=language)
    _bring_in(rows, medlineplus_size(source), dest, report, update, settings_for(settings, knowledge).knowledge)


def _bring_in(
    rows: Iterable[Row], total: int, dest: Path, report: ImportReport, update: bool, shared_from: Path
) -> None:
    answers = answers_folder(dest)
    with bar("import") as drawn:
        progress = drawn if err.is_terminal else _told(total)
        write_answers(rows, answers, report, update=update, progress=progress, total=total)
    copy_shared(answers, shared_from, report)
    _print_import(report, answers, update)
    if not report.ok:
        raise typer.Exit(1)


def _told(total: int) -> Callable[[int, int], None]:
    """Return a function that says in about ten lines how far it is, where no bar can be drawn."""
    step = max(1000, total // 10)

    def tell(done: int, total: int) -> None:
        if done % step < 50 and done >= step:
            err.print(f"import: {done} of about {max(total, done)}", highlight=False)

    return tell


def _print_import(report: ImportReport, answers: Path, update: bool) -> None:
    def say(line: str) -> None:
        out.print(line, markup=False, highlight=False, soft_wrap=True)

    _print_some([str(problem) for problem in report.problems], "problem(s) in the source:", say)
    _print_some([str(change) for change in report.updated], "file(s) updated:", say)
    _print_some([str(change) for change in report.kept], "file(s) differ from the source and were kept:", say)
    if report.kept and not update:
        say("Run it again with --update to replace them.")
    for reason, count in report.left_out.items():
        say(f"{count} left out: {reason}.")
    if report.copied:
        say(f"Copied into the new folder: {', '.join(report.copied)}. Put your own clinic's facts into clinic.yaml.")
    counts = f"{report.created} new, {len(report.updated)} updated, {report.unchanged} unchanged"
    say(f"{counts}, all in {answers}. Everything new is a draft until a clinician has reviewed it.")


def _print_some(lines: list[str], heading: str, say: Callable[[str], None]) -> None:
    if not lines:
        return
    say(f"{len(lines)} {heading}")
    for line in lines[:MAX_LINES]:
        say(f"  {line}")
    if len(lines) > MAX_LINES:
        say(f"  … and {len(lines) - MAX_LINES} more")
