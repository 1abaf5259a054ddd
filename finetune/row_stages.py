"""The stages of a run that make rows: the base they are counted with, the examples, and what a teacher adds.

Each is one function of the bench: what it reads, what it leaves, what does the work; see ``stages.py`` for the rest.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chatbot.errors import SettingsError
from chatbot.settings import PROJECT
from finetune.base_model import unpack_base
from finetune.bench import Bench
from finetune.dataset import Maker, neighbours_by_search
from finetune.distill import Asking, ask_for_questions, distilled_rows, kept_questions, report_of, taken_questions
from finetune.filters import grams, questions_in, tally
from finetune.labels import read_labels
from finetune.rows import Row, read_rows, write_rows
from finetune.split import Split, split_of
from finetune.stage import Stage, bar, hash_of, run_stage, track
from finetune.teacher import open_teacher

SPLITS = (Split.TRAIN, Split.VALIDATION, Split.TEST)


def base(bench: Bench) -> None:
    """Unpack the base model into full precision."""
    recipe = bench.recipe.base
    gguf = bench.base_gguf
    source = hash_of(gguf if gguf is not None else Path(recipe.path).expanduser())
    stage = Stage("base", bench.within("base"), {"base": source}, ("model",))

    def work() -> Mapping[str, Any]:
        bench.base.mkdir(parents=True, exist_ok=True)
        unpack_base(recipe.path, bench.base)
        return {"licence": recipe.licence}

    run_stage(stage, work, say=bench.say, needs_mib=2000)


def dataset(bench: Bench) -> None:
    """Make the examples of all three splits from the answers."""
    base(bench)
    stage = Stage(
        "dataset",
        bench.within("dataset"),
        {
            "answers": bench.answers_hash,
            "recipe": bench.recipe.dataset.model_dump_json(),
            "seed": str(bench.recipe.seed),
            "tokenizer": hash_of(bench.base / "tokenizer.json"),
            "labels": hash_of(label_file(bench.recipe.dataset.labels)) if bench.recipe.dataset.labels else "",
        },
        (*(f"{split}.jsonl" for split in SPLITS), "report.md"),
    )

    def work() -> Mapping[str, Any]:
        made = _make_rows(bench, stage.folder, {})
        for split, rows in made.items():
            write_rows(stage.folder / f"{split}.jsonl", rows)
        (stage.folder / "report.md").write_text(report_of(made[Split.TRAIN], {}), encoding="utf-8")
        return {f"{split} rows": len(rows) for split, rows in made.items()}

    run_stage(stage, work, say=bench.say)


def _make_rows(
    bench: Bench, folder: Path, more: Mapping[str, list[str]], *, splits: tuple[Split, ...] = SPLITS
) -> dict[Split, list[Row]]:
    chooser = bench.chooser(folder / "vectors.npz")
    ids = list(bench.answers)
    labels = read_labels(label_file(bench.recipe.dataset.labels)) if bench.recipe.dataset.labels else []
    maker = Maker(
        bench.answers, chooser, neighbours_by_search(bench.answers, bench.search), bench.count_tokens,
        bench.recipe.dataset, checker=bench.checker, more_questions=more, labels=labels,
    )  # fmt: skip
    with bar("dataset", bench.recipe.dataset.rounds * len(ids)) as advance:
        made = {split: maker.rows(split, seed=bench.recipe.seed, progress=lambda _: advance()) for split in splits}
    if not all(made.values()):
        empty = ", ".join(split for split, rows in made.items() if not rows)
        raise SettingsError(
            f"{bench.knowledge_folder}: too few answers: none falls into the split {empty}; add answers"
        )
    return made


def label_file(name: str) -> Path:
    """Return a recipe's file of labels; what a shipped recipe names lies in this project."""
    return PROJECT / Path(name).expanduser()


def distill(bench: Bench) -> None:
    """Let the teacher write questions and replies; leave the rows that are trained on."""
    dataset(bench)
    recipe = bench.recipe.distill
    stage = Stage(
        "distill",
        bench.within("distill"),
        {"dataset": hash_of(bench.within("dataset") / "train.jsonl"), "recipe": recipe.model_dump_json()},
        ("train.jsonl", "report.md"),
    )

    def work() -> Mapping[str, Any]:
        rows = read_rows(bench.within("dataset") / "train.jsonl")
        counts: dict[str, Mapping[str, int]] = {}
        if recipe.enabled:
            rows, counts = _distilled(bench, stage.folder, rows)
        write_rows(stage.folder / "train.jsonl", rows)
        (stage.folder / "report.md").write_text(report_of(rows, counts), encoding="utf-8")
        (stage.folder / "counts.json").write_text(json.dumps(counts), encoding="utf-8")
        told = {f"{name} {key}": number for name, tallied in counts.items() for key, number in tallied.items()}
        return {"rows": len(rows), "teacher": recipe.teacher.path if recipe.enabled else "off", **told}

    run_stage(stage, work, say=bench.say)


def _distilled(bench: Bench, folder: Path, rows: list[Row]) -> tuple[list[Row], dict[str, Mapping[str, int]]]:
    recipe = bench.recipe.distill
    held = [answer for id_, answer in bench.answers.items() if split_of(id_) != Split.TRAIN]
    held_back = grams([text for answer in held for text in (*answer.questions, *answer.sentences)])
    trained = [answer for id_, answer in bench.answers.items() if split_of(id_) == Split.TRAIN]
    teacher = open_teacher(recipe.teacher, base=bench.recipe.base.path)
    try:
        asking = Asking(teacher, folder / "texts.jsonl")
        more: dict[str, list[str]] = {}
        verdicts = []
        for answer in track(trained if recipe.questions_per_answer else [], "questions"):
            messages = ask_for_questions(answer, recipe.questions_per_answer)
            texts = questions_in(
                asking.text(f"questions {answer.id}", messages, most_tokens=40 * recipe.questions_per_answer)
            )
            more[answer.id], judged = kept_questions(
                answer, texts, taken=taken_questions(bench.answers), embedder=bench.embedder,
                near_duplicate=recipe.near_duplicate, search=bench.search, held_back=held_back,
            )  # fmt: skip
            verdicts += judged
        if any(more.values()):
            rows = _make_rows(bench, folder, more, splits=(Split.TRAIN,))[Split.TRAIN]
        with bar("replies", len(trained) * recipe.replies_per_answer) as advance:
            rows, replies = distilled_rows(
                rows, asking, teacher.name, recipe, checker=bench.checker, held_back=held_back, done=advance
            )
    finally:
        teacher.close()
    return rows, {"questions": tally(verdicts), "replies": replies, "teacher": {"failed": asking.failed}}
