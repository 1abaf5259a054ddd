"""``healthfaq model``: which language models there are, fetching one, choosing one."""

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Column, Table

from chatbot.commands.common import SettingsOption, err, out, settings_for
from chatbot.engine.download import pull as pull_model
from chatbot.engine.models import ListedModel, list_models, load_registry, use_model

app = typer.Typer(help="The language models on this machine.", no_args_is_help=True)


@app.command("list")
def list_command(settings: SettingsOption = None) -> None:
    """Show the models that can be used, and which one is."""
    chosen = settings_for(settings)
    table = Table("", Column("name", no_wrap=True), "here", Column("size", no_wrap=True), "licence", "notes", box=None)
    for row in list_models(chosen.state, chosen.engine.model):
        size = f"{row.entry.size / 2**30:.1f} GiB" if row.entry and row.entry.size else ""
        notes = ("Recommended. " if row.recommended else "") + (row.entry.notes if row.entry else _own_notes(row))
        licence = row.entry.licence if row.entry else ""
        table.add_row("*" if row.in_use else "", row.name, "yes" if row.here else "no", size, licence, notes)
    out.print(table)
    out.print(
        "* in use. `healthfaq model pull NAME` fetches one, `healthfaq model use NAME|FILE` chooses it.", soft_wrap=True
    )


def _own_notes(row: ListedModel) -> str:
    return "Comes with the program (SmolLM2-135M-Instruct)." if row.name == "embedded" else "A file of your own."


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="A name from `healthfaq model list`.")],
    hub: Annotated[str, typer.Option(help="Base URL of another model hub.")] = "",
    unverified: Annotated[bool, typer.Option("--unverified", help="Take a file whose hash is not known.")] = False,
    accept_terms: Annotated[bool, typer.Option("--accept-terms", help="You have read the model's terms.")] = False,
    settings: SettingsOption = None,
) -> None:
    """Fetch a model; what an earlier, broken-off pull fetched is kept."""
    entry = load_registry().entry(name)
    with _download_bar(err) as progress:
        task = progress.add_task(name, total=entry.size)
        pulled = pull_model(
            name, entry, settings_for(settings).state, hub=hub, unverified=unverified, accept_terms=accept_terms,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )  # fmt: skip
    state = "checked against the published sha256" if pulled.verified else f"not checked, sha256 {pulled.sha256}"
    word = "fetched" if pulled.fetched else "already here"
    out.print(f"{word}: {pulled.path} ({state}). Choose it with `healthfaq model use {name}`.", soft_wrap=True)


@app.command()
def use(
    name: Annotated[str, typer.Argument(help="A name from the list, `embedded`, or a GGUF file.")],
    settings: SettingsOption = None,
) -> None:
    """Choose the model that writes the short replies."""
    chosen = use_model(name, settings_for(settings).state)
    out.print(f"in use from the next start on: {chosen.name}", soft_wrap=True, highlight=False)


def _download_bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)
