"""``healthfaq import …`` and ``healthfaq check``: what staff do with the answers."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from chatbot.bootstrap import open_service
from chatbot.commands.common import KnowledgeOption as CheckedKnowledge
from chatbot.commands.common import SettingsOption, bar, err, out, settings_for
from chatbot.errors import KnowledgeError, Problem
from chatbot.knowledge import Knowledge
from chatbot.settings import Settings
from chatbot.staff.check import Report, survey, with_questions
from chatbot.staff.check_questions import Asked, Shares, ask_all, shares_by_kind, threshold_problems
from chatbot.staff.check_safety import example_problems
from chatbot.staff.import_medlineplus import medlineplus_rows, medlineplus_size
from chatbot.staff.import_medquad import medquad_rows, medquad_size
from chatbot.staff.import_table import table_rows
from chatbot.staff.importers import ImportReport, Row, answers_folder, copy_shared, write_answers

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


def check(
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole report as one JSON object.")] = False,
    settings: SettingsOption = None,
    knowledge: CheckedKnowledge = None,
) -> None:
    """Say everything that is wrong with the knowledge files, and ask the acceptance questions.

    Exit status 1 when something must be mended; warnings alone leave it at 0.
    """
    chosen = settings_for(settings, knowledge)
    limits = chosen.check
    report, read = survey(
        chosen.knowledge, today=date.today(), due_soon_days=limits.due_soon_days, max_grade=limits.max_grade
    )
    report = _with_questions(chosen, report, read)
    if as_json:
        print(json.dumps(report.as_json(), ensure_ascii=False, indent=1))
    else:
        _print_report(report, chosen)
    if report.errors:
        raise typer.Exit(1)


def _with_questions(settings: Settings, report: Report, knowledge: Knowledge) -> Report:
    """Return the report with the acceptance questions put to the real pipeline, and the safety rules' own examples."""
    try:
        with bar("index") as progress:
            service = open_service(
                settings.model_copy(update={"reviewed_only": False}), with_model=False, progress=progress
            )
    except KnowledgeError as error:
        known = {str(problem) for problem in report.problems}
        new = [problem for problem in error.problems if str(problem) not in known]
        return with_questions(report, (), new, not_asked="first mend the problems above")
    try:
        extra = [problem for problem in service.problems if problem not in report.problems]
        extra += [problem for gate in service.parts.gate.every for problem in example_problems(gate)]
        for gate in service.parts.gate.every:
            gate.prepare([question.question for question in knowledge.checks])
        with bar("questions") as progress:
            asked = ask_all(service.pipeline, knowledge.checks, progress)
    finally:
        service.close()
    limits = settings.check
    extra += threshold_problems(asked, min_found=limits.min_found, max_wrong=limits.max_wrong)
    return with_questions(report, asked, extra)


def _print_report(report: Report, settings: Settings) -> None:
    def say(line: str = "") -> None:
        out.print(line, markup=False, highlight=False, soft_wrap=True)

    _print_problems(report.errors, "problem(s) to mend:", say)
    _print_problems(report.warnings, "warning(s):", say)
    states = Counter(row.state for row in report.reviews)
    say(f"{len(report.reviews)} answers: " + ", ".join(f"{count} {state}" for state, count in sorted(states.items())))
    for row in report.reviews:
        if row.state in ("overdue", "due soon"):
            say(f"  {row.state}: {row.id}, reviewed by {row.reviewer} on {row.reviewed}, due {row.due}")
    if report.unchecked_sources:
        say(f"{report.unchecked_sources} source(s) that nobody has compared with the text yet (checked: null)")
    if report.median_grade is not None:
        say(f"Median reading grade {report.median_grade:.1f} (at most {settings.check.max_grade:g})")
    _print_questions(report.asked, report.not_asked, say)
    say("In order." if not report.errors else f"{len(report.errors)} problem(s) to mend.")


def _print_problems(problems: Sequence[Problem], heading: str, say: Callable[[str], None]) -> None:
    if problems:
        say(f"{len(problems)} {heading}")
    for problem in problems:
        say(f"  {problem}")


def _print_questions(asked: Sequence[Asked], not_asked: str, say: Callable[[str], None]) -> None:
    if not_asked:
        say(f"The acceptance questions were not asked: {not_asked}.")
    for kind, shares in shares_by_kind(asked).items():
        half = Shares.of([one for one in asked if one.kind == kind and one.half == "report"])
        say(f"Questions for {kind}: {_shares(shares)}. On the half no threshold was set from: {_shares(half)}")


def _shares(shares: Shares) -> str:
    if shares.right is None or shares.found is None or shares.wrong is None:
        return "none"
    return f"{shares.n} asked, {shares.right:.1%} right, {shares.found:.1%} right or offered, {shares.wrong:.1%} wrong"
