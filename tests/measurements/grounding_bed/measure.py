"""Measure the grounding check on the test bed: what it catches by kind, and what it drops wrongly.

    python tests/measurements/grounding_bed/measure.py --part development --misses 10
    python tests/measurements/grounding_bed/measure.py --part report --misses 1000

Needs the shipped answers and, unless --words-only, the embedder. About a minute.
"""

import argparse
import json
import random
import statistics
import time
from collections import defaultdict
from pathlib import Path

import on_path  # noqa: F401 - first
import yaml
from corrupt import Row, corrupted, is_development, true_sentences
from reword import reworded

from chatbot.embedder import MiniLM
from chatbot.grounding.checker import GroundingChecker
from chatbot.knowledge import Answer, load_knowledge
from chatbot.prompting import Passage

HERE = Path(__file__).parent


def honest(answers: dict[str, Answer]) -> list[Row]:
    """Return the paraphrases that were read and found honest, hand-written and from the teacher."""
    rows = [Row(r["answer"], "honest (hand)", "hand", r["text"], "") for r in _hand() if r["kind"] == "honest"]
    for name in ("fresh", "held_back"):
        by_answer = yaml.safe_load((HERE / f"{name}.yaml").read_text(encoding="utf-8"))
        rows += [Row(id_, f"honest ({name})", name, text, "") for id_, texts in by_answer.items() for text in texts]
    path = HERE / "teacher_paraphrases.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        row = json.loads(line)
        kind = "honest (teacher)" if row["honest"] else "dishonest (teacher)"
        rows.append(Row(row["answer"], kind, "teacher", row["text"], row["from"]))
    return [row for row in rows if row.answer_id in answers]


def _hand() -> list[dict[str, str]]:
    path = HERE / "handwritten.yaml"
    found: list[dict[str, str]] = []
    for answer_id, kinds in (yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}).items():
        found += [{"answer": answer_id, "kind": kind, "text": text} for kind, texts in kinds.items() for text in texts]
    return found


def all_rows(answers: dict[str, Answer], per_generator: int) -> list[Row]:
    """Return every sentence of the bed, at most so many of one generator."""
    by_generator: dict[str, list[Row]] = defaultdict(list)
    for row in [*corrupted(answers), *reworded(answers)]:
        by_generator[row.generator].append(row)
    rows = []
    for name, made in sorted(by_generator.items()):
        rows += random.Random(name).sample(made, min(per_generator, len(made)))
    rows += [Row(a.id, "verbatim", "verbatim", text, text) for a in answers.values() for text in true_sentences(a)]
    rows += [
        Row(r["answer"], r["kind"], "hand", r["text"], "")
        for r in _hand()
        if r["kind"] != "honest" and r["answer"] in answers
    ]
    return rows + honest(answers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("development", "report"), default="development")
    parser.add_argument("--misses", type=int, default=10, help="how many to print of each kind")
    parser.add_argument("--per-generator", type=int, default=1000)
    parser.add_argument("--words-only", action="store_true", help="without the embedder")
    parser.add_argument("--kind", default="", help="this kind alone")
    args = parser.parse_args()
    knowledge = load_knowledge(HERE.parents[2] / "knowledge")
    answers = {id_: a for id_, a in knowledge.answers.items() if is_development(id_) == (args.part == "development")}
    checker = GroundingChecker(None if args.words_only else MiniLM())
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    missed: dict[str, list[str]] = defaultdict(list)
    spent_ms: list[float] = []
    for row in all_rows(answers, args.per_generator):
        if args.kind and args.kind not in row.kind:
            continue
        answer = answers[row.answer_id]
        start = time.perf_counter()
        verdict = checker.check(f"{row.text} [1]", [Passage(answer.id, answer.title, answer.text)])
        spent_ms.append((time.perf_counter() - start) * 1000)
        wanted = row.kind.startswith(("verbatim", "honest"))
        right = verdict.grounded == wanted
        for key in ((row.kind, ""), (row.kind, row.generator)):
            counts[key][0] += 1
            counts[key][1] += right
        if not right:
            why = f"  <- {verdict.reasons[:3]}" if wanted else f"  (from: {row.origin})" if row.origin else ""
            missed[row.kind].append(f"[{row.generator}] {row.answer_id}: {row.text}{why}")
    for (kind, generator), (n, right) in sorted(counts.items()):
        if generator != "hand" or n != counts[(kind, "")][0]:
            name = f"  {generator}" if generator else kind
            print(f"{name:32s} {n:6d} {right / n:7.4f}")
    print(
        f"median {statistics.median(spent_ms):.2f} ms, 95th percentile {sorted(spent_ms)[int(len(spent_ms) * 0.95)]:.2f} ms"
    )
    for kind, texts in sorted(missed.items()):
        print(f"\n== {kind}: {len(texts)}")
        print("\n".join(texts[: args.misses]))


if __name__ == "__main__":
    main()
