"""Measures models on the questions of held-back answers: the retriever's passages, the grounding check of serving.

python tests/measurements/finetune_heldout.py OUT NAME=MODEL[:ADAPTER] …     (MODEL: a GGUF file, or `embedded`)

Two kinds of rows: `served` are the labelled questions of ``finetune_heldout.yaml`` with the passages that the retriever
offers; the others are the test split of the recipe's dataset stage. OUT keeps every draft, so it can be interrupted.
"""

import random
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from chatbot.engine.models import embedded_path  # noqa: E402
from finetune.bench import Bench, open_bench  # noqa: E402
from finetune.evaluate import Candidate, drafts_of, judge, summary, write_report  # noqa: E402
from finetune.recipe import load_recipe  # noqa: E402
from finetune.row_stages import dataset  # noqa: E402
from finetune.rows import Kind, Row, read_rows, write_rows  # noqa: E402
from finetune.served import labelled_rows  # noqa: E402

LABELS = Path(__file__).with_name("finetune_heldout.yaml")
WANTED: dict[Kind, int] = {
    "near miss": 34,
    "answerable": 16,
    "two needed": 4,
    "partly": 5,
    "follow-up": 4,
    "off topic": 1,
}


def rows_of(bench: Bench, folder: Path) -> list[Row]:
    """Return the rows, made once and kept in the folder."""
    path = folder / "rows.jsonl"
    if not path.exists():
        dataset(bench)
        rows = labelled_rows(LABELS, bench.answers, bench.retriever.decide, bench.count_tokens)
        rng = random.Random(bench.recipe.seed)
        test = read_rows(bench.within("dataset") / "test.jsonl")
        for kind, count in WANTED.items():
            of_kind = [row for row in test if row.kind == kind]
            rows += rng.sample(of_kind, k=min(count, len(of_kind)))
        write_rows(path, rows)
    return read_rows(path)


def candidate(spec: str) -> Candidate:
    """Return the model that ``NAME=MODEL[:ADAPTER]`` names."""
    name, _, files = spec.partition("=")
    model, _, adapter = files.partition(":")
    return Candidate(name, embedded_path() if model == "embedded" else Path(model), Path(adapter) if adapter else None)


def main(out: str, *specs: str) -> None:
    """Measure every model and write the report."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    bench = open_bench(load_recipe("embedded"), ROOT / "knowledge", folder / "runs", print)
    rows = rows_of(bench, folder)
    summaries, drafts = {}, {}
    for one in map(candidate, specs):
        drafts[one.name] = drafts_of(one, rows, folder, threads=2)
        judged = judge(rows, drafts[one.name], bench.checker)
        summaries[one.name] = summary(judged, drafts[one.name], resamples=1000, seed=bench.recipe.seed)
    write_report(folder, summaries, rows, drafts)
    print((folder / "report.md").read_text(encoding="utf-8").split("## What")[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
