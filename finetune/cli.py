"""``healthfaq finetune``: a stage a command, and ``run`` for all of them. ``chatbot.cli`` finds it by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from platformdirs import user_data_path
from rich.console import Console

from chatbot.settings import PROJECT
from finetune.recipe import RECIPES, load_recipe

app = typer.Typer(
    name="finetune", help="Make a model from the vetted answers (needs the extra `finetune`).", no_args_is_help=True
)
out = Console()

RecipeOption = Annotated[str, typer.Option("--recipe", help="Name of a shipped recipe, or a .yaml file.")]
KnowledgeOption = Annotated[Path, typer.Option("--knowledge", help="Folder of the clinic's answers.")]
RunsOption = Annotated[Path, typer.Option("--runs", help="Where runs are kept.", show_default=False)]
DEFAULT_RUNS = user_data_path("health-faq-chatbot") / "finetune"


def _say(line: str) -> None:
    out.print(line, markup=False, highlight=False, soft_wrap=True)


def _run(stage: str, recipe: str, knowledge: Path, runs: Path) -> None:
    chosen = load_recipe(recipe)
    from finetune.bench import open_bench  # noqa: PLC0415 - the libraries take seconds to import, help needs them not
    from finetune.stages import STAGES  # noqa: PLC0415

    STAGES[stage](open_bench(chosen, knowledge, runs, _say))


@app.command()
def run(
    recipe: RecipeOption, knowledge: KnowledgeOption = PROJECT / "knowledge", runs: RunsOption = DEFAULT_RUNS
) -> None:
    """Run every stage, from the answers to a registered model."""
    _run("promote", recipe, knowledge, runs)


@app.command()
def recipes() -> None:
    """List the shipped recipes."""
    for path in sorted(RECIPES.glob("*.yaml")):
        _say(f"{path.stem:12} {path.read_text(encoding='utf-8').splitlines()[0].lstrip('# ')}")


def _add(stage: str, told: str) -> None:
    def command(
        recipe: RecipeOption, knowledge: KnowledgeOption = PROJECT / "knowledge", runs: RunsOption = DEFAULT_RUNS
    ) -> None:
        _run(stage, recipe, knowledge, runs)

    command.__doc__ = told
    typed: Callable[..., None] = command
    app.command(stage)(typed)


for _stage, _told in {
    "dataset": "Make examples from the answers.",
    "distill": "Let a teacher write further questions and replies, and filter them.",
    "train": "Train a LoRA adapter.",
    "prune": "Take out what matters least, and heal the rest, where the recipe says so.",
    "export": "Write GGUF files and check them against what was trained.",
    "evaluate": "Measure on held-back answers.",
    "promote": "Register the model if every gate holds.",
}.items():
    _add(_stage, f"{_told} Earlier stages run first where they are not up to date.")
