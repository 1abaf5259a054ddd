"""The command ``healthfaq``. Exit status 0, 1 for "ran, and found problems", 2 for "could not run"."""

import importlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from chatbot import __version__
from chatbot.bootstrap import Service
from chatbot.commands import evaluation as commands_evaluation
from chatbot.commands import model as commands_model
from chatbot.commands import staff as commands_staff
from chatbot.commands.common import KnowledgeOption, SettingsOption, bar, err, opened, out, settings_for
from chatbot.commands.explained import print_explanation
from chatbot.conversations import read_conversations, read_queries, write_lines
from chatbot.errors import HealthFaqError, SettingsError
from chatbot.explain import explain
from chatbot.pipeline import Finished, Mode
from chatbot.reply import Reply
from chatbot.retrieval.retriever import Hit
from chatbot.settings import Settings

app = typer.Typer(
    name="healthfaq",
    help="A health-FAQ chatbot that answers from a clinic's own vetted files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(commands_model.app, name="model")
app.add_typer(commands_staff.import_app, name="import")
app.command()(commands_staff.check)
app.command("eval")(commands_evaluation.evaluation)

BatchOption = Annotated[Path | None, typer.Option("--batch", help="Questions, one JSON object a line.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Where the replies go, one JSON object a line.")]
ModeOption = Annotated[Mode | None, typer.Option("--mode", help="verbatim: vetted text alone; guided: a model adds.")]


def main() -> None:
    """Run the command line; every expected failure is one clear line and exit status 2."""
    try:
        app()
    except HealthFaqError as error:
        err.print(f"healthfaq: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the patients' page.")] = None,
    reviewed_only: Annotated[bool, typer.Option("--reviewed-only", help="Serve reviewed answers alone.")] = False,
    mode: ModeOption = None,
    settings: SettingsOption = None,
    knowledge: KnowledgeOption = None,
) -> None:
    """Serve the patients' page."""
    from chatbot.page.server import serve_page  # noqa: PLC0415 - gradio takes seconds to import, other commands need it not

    chosen = settings_for(
        settings, knowledge, host=host, port=port, mode=mode, reviewed_only=True if reviewed_only else None
    )
    serve_page(chosen, say=lambda line: out.print(line, markup=False, highlight=False, soft_wrap=True))


@app.command()
def ask(
    question: Annotated[str | None, typer.Argument(help="The question.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole reply as one JSON object.")] = False,
    explained: Annotated[bool, typer.Option("--explain", help="Say why this was the reply.")] = False,
    batch: BatchOption = None,
    out_file: OutOption = None,
    mode: ModeOption = None,
    settings: SettingsOption = None,
    knowledge: KnowledgeOption = None,
) -> None:
    """Ask one question, or a file of them."""
    chosen = settings_for(settings, knowledge, mode=mode)
    if batch is not None:
        _ask_batch(chosen, batch, out_file)
        return
    if question is None:
        raise SettingsError('nothing to ask; write `healthfaq ask "QUESTION"` or name a file with --batch')
    with opened(chosen, with_model=True) as service:
        events = list(service.pipeline.ask(question, mode=chosen.mode))
    finished = next(event for event in events if isinstance(event, Finished))
    why = explain(events, knowledge=service.knowledge, rules=service.parts.gate.rules) if explained else None
    if as_json:
        _print_json(finished.reply.as_json() | ({"explain": why} if why is not None else {}))
        return
    _print_reply(finished.reply, service)
    if why is not None:
        print_explanation(out, why)


def _ask_batch(settings: Settings, batch: Path, out_file: Path | None) -> None:
    conversations = read_conversations(batch)
    if out_file is None:
        raise SettingsError("--batch needs --out FILE, the file the replies go to")
    with opened(settings, with_model=True) as service, bar("ask") as progress:

        def replies() -> Iterator[dict[str, Any]]:
            for done, (id_, text, history) in enumerate(conversations, 1):
                yield service.pipeline.reply(text, history, mode=settings.mode, id_=id_).as_json()
                progress(done, len(conversations))

        write_lines(out_file, replies())
    err.print(f"{len(conversations)} replies in {out_file}", markup=False, highlight=False)


def _print_reply(reply: Reply, service: Service) -> None:
    out.print(f"[{reply.outcome.value}]", style="bold", markup=False)
    out.print(reply.text, markup=False, highlight=False)
    for citation in reply.citations:
        state = f"reviewed {citation.reviewed}" if citation.reviewed else f"{citation.review_status}, not reviewed"
        out.print(f"Source: {citation.publisher}, {citation.url} ({citation.id}; {state})", style="dim", markup=False)
    if service.knowledge.has_drafts:
        out.print(service.knowledge.texts.demonstration_notice, style="yellow", markup=False)


@app.command()
def search(
    query: Annotated[str | None, typer.Argument(help="What to look for.", show_default=False)] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many answers.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    batch: BatchOption = None,
    out_file: OutOption = None,
    settings: SettingsOption = None,
    knowledge: KnowledgeOption = None,
) -> None:
    """Rank the answers for a query, or for a file of them."""
    chosen = settings_for(settings, knowledge)
    queries = read_queries(batch) if batch is not None else [("", query or "")]
    if batch is None and not query:
        raise SettingsError('nothing to search; write `healthfaq search "QUERY"` or name a file with --batch')
    if batch is not None and out_file is None:
        raise SettingsError("--batch needs --out FILE, the file the hits go to")
    with opened(chosen, with_model=False) as service:
        retriever = service.retriever
        if out_file is not None:
            lines = ({"id": id_, "hits": _hit_rows(retriever.search(text, k))} for id_, text in queries)
            write_lines(out_file, lines)
            return
        hits = retriever.search(queries[0][1], k)
    if as_json:
        parts = [{"entry": hit.entry, "words": round(hit.words, 4), "meaning": round(hit.meaning, 4)} for hit in hits]
        rows = [row | part for row, part in zip(_hit_rows(hits), parts, strict=True)]
        _print_json({"id": "", "query": query, "hits": rows})
        return
    for hit in hits:
        out.print(f"{hit.rank:3}  {hit.score:.3f}  {hit.answer_id}  ({hit.entry})", markup=False, highlight=False)


def _hit_rows(hits: Sequence[Hit]) -> list[dict[str, Any]]:
    return [{"id": hit.answer_id, "score": round(hit.score, 4), "rank": hit.rank} for hit in hits]


def _print_json(content: dict[str, Any]) -> None:
    print(json.dumps(content, ensure_ascii=False))


@app.command()
def index(settings: SettingsOption = None, knowledge: KnowledgeOption = None) -> None:
    """Build or refresh the index."""
    with opened(settings_for(settings, knowledge), with_model=False) as service:
        out.print(f"index ready: {len(service.knowledge.answers)} answers", highlight=False)


@app.command()
def version() -> None:
    """Print the version."""
    out.print(__version__, highlight=False)


def _add_finetune() -> None:
    """Add the commands that make a model, if that package is here; it is found by name, never imported by this one."""
    try:
        app.add_typer(importlib.import_module("finetune.cli").app, name="finetune")
    except ModuleNotFoundError as error:
        missing = error.name

        @app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
        def finetune() -> None:
            """Make a model from the vetted answers (not installed)."""
            raise SettingsError(f"finetune cannot run: {missing} is missing; install 'health-faq-chatbot[finetune]'")


_add_finetune()
