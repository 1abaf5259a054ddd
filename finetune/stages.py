"""The stages of a run, each as one function of the bench: what it reads, what it leaves, what does the work.

Only this file, ``row_stages.py`` and ``cli.py`` know the order; the work itself is in one file a stage.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chatbot.errors import SettingsError
from finetune.base_model import need_extra
from finetune.bench import Bench
from finetune.curves import keep_curve, plot_curve
from finetune.evaluate import Candidate, drafts_of, judge, summary, write_report
from finetune.export import export_model
from finetune.promote import failed_gates, register
from finetune.prune import prune_model
from finetune.row_stages import dataset, distill, label_file
from finetune.rows import Row, read_rows
from finetune.served import labelled_rows
from finetune.stage import Stage, bar, hash_of, hash_text, run_stage, write_json
from finetune.train import train_adapter


def train(bench: Bench) -> None:
    """Train the adapter."""
    distill(bench)
    recipe = bench.recipe.train
    rows_file, validation_file = bench.within("distill") / "train.jsonl", bench.within("dataset") / "validation.jsonl"
    stage = Stage(
        "train",
        bench.within("train"),
        {
            "rows": hash_of(rows_file),
            "validation": hash_of(validation_file),
            "base": hash_of(bench.base),
            "recipe": recipe.model_dump_json(),
            "seed": str(bench.recipe.seed),
        },
        ("adapter", "log.json", "curve.png"),
    )

    def work() -> Mapping[str, Any]:
        judged_by = _first_groups(read_rows(validation_file), recipe.validation_groups)
        with bar("train", recipe.steps) as advance:
            ending = train_adapter(
                bench.base, read_rows(rows_file), judged_by, stage.folder, recipe,
                seed=bench.recipe.seed, four_bit=bench.recipe.base.four_bit,
                report=lambda step, steps, _: advance(completed=step, total=steps),
            )  # fmt: skip
        plot_curve(stage.folder / "log.json", stage.folder / "curve.png")
        keep_curve(stage.folder / "log.json", stage.folder / "trackio", bench.recipe.name)
        return ending

    run_stage(stage, work, say=bench.say, needs_mib=500)


def prune(bench: Bench) -> None:
    """Take out what matters least and heal the rest, where the recipe says so."""
    train(bench)
    recipe = bench.recipe.prune
    inputs = {"adapter": hash_of(bench.within("train") / "adapter"), "recipe": recipe.model_dump_json()}
    if recipe.enabled:
        inputs |= {"train": bench.recipe.train.model_dump_json(), "seed": str(bench.recipe.seed)}
    outputs = ("report.json", *(["model"] if recipe.enabled else []), *(["adapter"] if recipe.heal_steps else []))
    stage = Stage("prune", bench.within("prune"), inputs, outputs)

    def work() -> Mapping[str, Any]:
        if not recipe.enabled:
            write_json(stage.folder / "report.json", {"enabled": False})
            return {"taken out": "nothing, it is off"}
        rows = read_rows(bench.within("distill") / "train.jsonl")
        found, healing = prune_model(
            bench.base, bench.within("train") / "adapter", rows, stage.folder / "model", recipe
        )
        if recipe.heal_steps:
            healed = bench.recipe.train.model_copy(update={"steps": recipe.heal_steps})
            validation = read_rows(bench.within("dataset") / "validation.jsonl")
            found |= train_adapter(
                stage.folder / "model", [*healing, *rows], _first_groups(validation, healed.validation_groups),
                stage.folder, healed, seed=bench.recipe.seed,
            )  # fmt: skip
        write_json(stage.folder / "report.json", {"enabled": True, **found})
        return found

    run_stage(stage, work, say=bench.say, needs_mib=2000)


def _to_export(bench: Bench) -> tuple[Path, Path | None]:
    """Return the unquantised model and the adapter that belong together after pruning, or without it."""
    recipe = bench.recipe.prune
    if not recipe.enabled:
        return bench.base, bench.within("train") / "adapter"
    return bench.within("prune") / "model", bench.within("prune") / "adapter" if recipe.heal_steps else None


def _first_groups(rows: list[Row], count: int) -> list[Row]:
    groups = list(dict.fromkeys(row.group for row in rows))[:count]
    return [row for row in rows if row.group in groups]


def export(bench: Bench) -> None:
    """Write the GGUF files and compare them with what was trained."""
    prune(bench)
    recipe = bench.recipe.export
    base, adapter = _to_export(bench)
    outputs = ("parity.json", *(["adapter.gguf"] if recipe.adapter else []), *(["model.gguf"] if recipe.merged else []))
    trained = hash_text(hash_of(base), hash_of(adapter) if adapter else "")
    stage = Stage("export", bench.within("export"), {"model": trained, "recipe": recipe.model_dump_json()}, outputs)

    def work() -> Mapping[str, Any]:
        rows = read_rows(bench.within("dataset") / "validation.jsonl")
        with bar("export", 4) as advance:
            return export_model(
                base, bench.base_gguf, adapter, rows, stage.folder, recipe,
                threads=bench.recipe.train.threads, step=lambda _: advance(),
            )  # fmt: skip

    run_stage(stage, work, say=bench.say, needs_mib=3000)


def evaluate(bench: Bench) -> None:
    """Measure the base, the tuned and the quantised model on held-back answers."""
    export(bench)
    recipe = bench.recipe.evaluate
    candidates = candidates_of(bench)
    labels = label_file(recipe.labels) if recipe.labels else None
    stage = Stage(
        "evaluate",
        bench.within("evaluate"),
        {
            "rows": hash_of(bench.within("dataset") / "test.jsonl"),
            "recipe": recipe.model_dump_json(),
            "labels": hash_of(labels) if labels else "",
            "models": hash_text(*(hash_of(one.lora or one.path) for one in candidates)),
        },
        ("report.json", "report.md", "report.png"),
    )

    def work() -> Mapping[str, Any]:
        need_extra("llama_cpp", "matplotlib")
        rows = read_rows(bench.within("dataset") / "test.jsonl")[: recipe.rows]
        if labels is not None:
            rows += labelled_rows(labels, bench.answers, bench.retriever.decide, bench.count_tokens)
        summaries, drafts = {}, {}
        with bar("evaluate", len(rows) * len(candidates)) as advance:
            for one in candidates:
                drafts[one.name] = drafts_of(one, rows, stage.folder, threads=bench.recipe.train.threads, done=advance)
                judged = judge(rows, drafts[one.name], bench.checker)
                summaries[one.name] = summary(
                    judged, drafts[one.name], resamples=recipe.bootstrap, seed=bench.recipe.seed
                )
        write_report(stage.folder, summaries, rows, drafts)
        measures = summaries["tuned"]["measures"]
        return {"rows": len(rows), "models": len(candidates)} | {
            name: measures[name]
            for name in ("right_passage", "grounded", "useful", "abstains")
            if measures[name] is not None
        }

    run_stage(stage, work, say=bench.say)


def candidates_of(bench: Bench) -> list[Candidate]:
    """Return the models that are compared: base and tuned, the quantised one, and the recipe's further files."""
    exported = bench.within("export")
    found = []
    if bench.base_gguf is not None:
        found.append(Candidate("base", bench.base_gguf))
        if bench.recipe.export.adapter:
            found.append(Candidate("tuned", bench.base_gguf, exported / "adapter.gguf"))
    if bench.recipe.export.merged:
        found.append(Candidate("merged" if len(found) == 2 else "tuned", exported / "model.gguf"))
    return found + [Candidate(Path(path).stem, Path(path).expanduser()) for path in bench.recipe.evaluate.compare]


def promote(bench: Bench) -> None:
    """Register the model for serving if every gate holds."""
    evaluate(bench)
    summaries = json.loads((bench.within("evaluate") / "report.json").read_text(encoding="utf-8"))
    red = failed_gates(summaries["tuned"]["measures"], bench.recipe.promote)
    if red:
        raise SettingsError(f"promote: not registered; {'; '.join(red)} (see {bench.within('evaluate') / 'report.md'})")
    stage = Stage(
        "promote",
        bench.within("promote"),
        {"report": hash_of(bench.within("evaluate") / "report.json"), "recipe": bench.recipe.promote.model_dump_json()},
        ("card.md",),
    )
    run_stage(stage, lambda: register(bench, stage.folder, summaries), say=bench.say)


STAGES: Mapping[str, Callable[[Bench], None]] = {
    "dataset": dataset, "distill": distill, "train": train, "prune": prune, "export": export, "evaluate": evaluate,
    "promote": promote,
}  # fmt: skip
