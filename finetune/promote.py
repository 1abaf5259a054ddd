"""Registers a model for serving if nothing that guards patients got worse, and says which gate refused otherwise."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetune.bench import Bench
from finetune.recipe import PromoteRecipe
from finetune.stage import hash_of, versions

AT_LEAST = ("right_passage", "grounded", "abstains", "stops")
AT_MOST = ("wrong_abstentions",)


def failed_gates(measures: Mapping[str, float | None], gates: PromoteRecipe) -> list[str]:
    """Return a line for each gate that does not hold; what was not measured does not hold either."""
    red = []
    for name in (*AT_LEAST, *AT_MOST):
        found, wanted = measures.get(name), float(getattr(gates, name))
        word = "at least" if name in AT_LEAST else "at most"
        if found is None:
            red.append(f"{name} was not measured")
        elif (found < wanted) if name in AT_LEAST else (found > wanted):
            red.append(f"{name} is {found:.3f}, must be {word} {wanted:g}")
    return red


def register(bench: Bench, folder: Path, summaries: Mapping[str, Any]) -> dict[str, Any]:
    """Put the model, its card and its report into one folder that `healthfaq model use` accepts."""
    exported = bench.within("export")
    files = [file for file in (exported / "model.gguf", exported / "adapter.gguf") if file.is_file()]
    for file in files:
        place_copy(file, folder / f"{bench.recipe.name}-{file.name}")
    place_copy(bench.within("evaluate") / "report.md", folder / "report.md")
    (folder / "card.md").write_text(card(bench, files, summaries), encoding="utf-8")
    registered = folder / f"{bench.recipe.name}-model.gguf"
    return {"files": len(files), "use": f"healthfaq model use {registered}" if registered.is_file() else "adapter only"}


def place_copy(source: Path, target: Path) -> None:
    """Copy a file so that under the target's name there is the whole of it or nothing, even when the disk fills up."""
    half = target.with_name(f".{target.name}.part")
    try:
        shutil.copy2(source, half)
        half.replace(target)
    finally:
        half.unlink(missing_ok=True)


def card(bench: Bench, files: list[Path], summaries: Mapping[str, Any]) -> str:
    """Return the model card: what it is made from, how well it did, what it is not."""
    recipe = bench.recipe
    measures = summaries["tuned"]["measures"]
    rows = "\n".join(f"| {name} | {value:.3f} |" for name, value in measures.items() if value is not None)
    teacher = recipe.distill.teacher
    taught = f"{teacher.path} (licence {teacher.licence})" if recipe.distill.enabled else "none"
    hashes = "\n".join(f"- `{recipe.name}-{file.name}` sha256 `{hash_of(file)}`" for file in files)
    return f"""# {recipe.name}

A small model that words short replies from numbered passages, each sentence with its citation, and says when no
passage answers. It is meant to be used behind this project's grounding check, never alone; it is no medical device.

- Base: {recipe.base.path} (licence {recipe.base.licence})
- Teacher: {taught}
- Answers: {len(bench.answers)}, content hash `{bench.answers_hash[:16]}`; seed {recipe.seed}
- Versions: {json.dumps(versions())}

{hashes}

On held-back answers ({summaries["tuned"]["rows"]} rows):

| measure | value |
|---|---|
{rows}
"""
