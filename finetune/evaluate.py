"""Measures models on held-back answers with the prompts and the grounding check of serving; writes a report.

Every draft is kept as it comes, so an interrupted evaluation goes on where it stopped.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finetune.gguf_model import Drafted, GgufModel
from finetune.rows import KINDS, Row, json_lines
from finetune.scoring import MEASURES, Checker, Score, intervals, measured, score
from finetune.stage import write_json

SHOWN_EXAMPLES = 20


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model to measure."""

    name: str
    path: Path
    lora: Path | None = None


def drafts_of(
    candidate: Candidate, rows: Sequence[Row], folder: Path, *, threads: int, done: Callable[[], None] = lambda: None
) -> list[Drafted]:
    """Return the candidate's reply to every row; those already in its file are not written again."""
    path = folder / f"drafts-{candidate.name}.jsonl"
    known = read_drafts(path)
    if missing := [row for row in rows if row.id not in known]:
        model = GgufModel(candidate.path, lora=candidate.lora, threads=threads)
        try:
            with path.open("a", encoding="utf-8") as file:
                for row in missing:
                    known[row.id] = model.reply(row.messages)
                    file.write(json.dumps({"id": row.id, **asdict(known[row.id])}, ensure_ascii=False) + "\n")
                    file.flush()
                    done()
        finally:
            model.close()
    return [known[row.id] for row in rows]


def read_drafts(path: Path) -> dict[str, Drafted]:
    """Return the drafts of a file by row id, and take a line that was cut short out of it."""
    known: dict[str, Drafted] = {}
    for line in json_lines(path) if path.is_file() else ():
        try:
            content = json.loads(line)
            row_id = content.pop("id")
            known[row_id] = Drafted(**content)
        except (ValueError, TypeError, KeyError):
            break  # the line that was being written when it was interrupted
    if path.is_file():
        kept = [json.dumps({"id": id_, **asdict(draft)}, ensure_ascii=False) + "\n" for id_, draft in known.items()]
        path.write_text("".join(kept), encoding="utf-8")
    return known


def judge(rows: Sequence[Row], drafts: Sequence[Drafted], checker: Checker) -> list[tuple[Row, Score]]:
    """Return every row with the score of its draft."""
    return [
        (row, score(row, draft.text, stopped=draft.stopped, checker=checker))
        for row, draft in zip(rows, drafts, strict=True)
    ]


def summary(
    judged: Sequence[tuple[Row, Score]], drafts: Sequence[Drafted], *, resamples: int, seed: int
) -> dict[str, Any]:
    """Return one model's measures, their intervals, the measures by row kind, and its speed."""
    by_kind = {kind: [pair for pair in judged if pair[0].kind == kind] for kind in KINDS}
    return {
        "rows": len(judged),
        "measures": measured(judged),
        "intervals": intervals(judged, resamples=resamples, seed=seed),
        "by_kind": {kind: {"rows": len(pairs), **measured(pairs)} for kind, pairs in by_kind.items() if pairs},
        "prompt_tokens_per_s": _rate(drafts, "prompt"),
        "reply_tokens_per_s": _rate(drafts, "reply"),
    }


def _rate(drafts: Sequence[Drafted], part: str) -> float:
    tokens = sum(getattr(draft, f"{part}_tokens") for draft in drafts)
    seconds = sum(getattr(draft, f"{part}_seconds") for draft in drafts)
    return round(tokens / seconds, 1) if seconds else 0.0


def write_report(
    folder: Path, summaries: Mapping[str, dict[str, Any]], rows: Sequence[Row], drafts: Mapping[str, Sequence[Drafted]]
) -> None:
    """Write ``report.json``, ``report.md`` and ``report.png``."""
    write_json(folder / "report.json", summaries)
    parts = [
        "# Held-back answers: what each model writes\n",
        f"{len(rows)} rows of answers that were never trained on. 95 % intervals by resampling answers.\n",
        _table(summaries),
        "## What is measured\n",
        "\n".join(f"- **{name}**: {told}" for name, (_, told) in MEASURES.items()),
        "\n## By kind of row\n",
        *(_kind_table(name, found) for name, found in summaries.items()),
        "## Replies to read\n",
        *_examples(rows, drafts),
    ]
    (folder / "report.md").write_text("\n".join(parts) + "\n", encoding="utf-8")
    plot(folder / "report.png", summaries)


def _table(summaries: Mapping[str, dict[str, Any]]) -> str:
    names = list(summaries)
    lines = [f"| measure | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for measure in MEASURES:
        cells = [
            _cell(summaries[name]["measures"][measure], summaries[name]["intervals"].get(measure)) for name in names
        ]
        lines.append(f"| {measure} | {' | '.join(cells)} |")
    for speed in ("prompt_tokens_per_s", "reply_tokens_per_s"):
        lines.append(f"| {speed} | {' | '.join(str(summaries[name][speed]) for name in names)} |")
    return "\n".join(lines) + "\n"


def _cell(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f} ({interval[0]:.2f}–{interval[1]:.2f})" if interval else f"{value:.3f}"


def _kind_table(name: str, found: dict[str, Any]) -> str:
    shown = ("right_passage", "grounded", "on_point", "useful", "abstains", "wrong_abstentions")
    lines = [f"**{name}**\n", f"| kind | rows | {' | '.join(shown)} |", f"|---|---|{'---|' * len(shown)}"]
    for kind, measures in found["by_kind"].items():
        lines.append(f"| {kind} | {measures['rows']} | {' | '.join(_cell(measures[one], None) for one in shown)} |")
    return "\n".join(lines) + "\n"


def _examples(rows: Sequence[Row], drafts: Mapping[str, Sequence[Drafted]]) -> list[str]:
    step = max(1, len(rows) // SHOWN_EXAMPLES)
    lines = []
    for place in range(0, len(rows), step):
        row = rows[place]
        passages = ", ".join(f"[{n}] {passage.answer_id}" for n, passage in enumerate(row.passages, 1))
        lines.append(f"- *{row.kind}* **{row.question}** ({passages})")
        lines.append(f"  - reference: {row.reply}")
        lines += [f"  - {name}: {' '.join(found[place].text.split())[:400]}" for name, found in drafts.items()]
    return lines


def plot(path: Path, summaries: Mapping[str, dict[str, Any]]) -> None:
    """Draw the shares as bars, one colour a model."""
    import matplotlib as mpl  # noqa: PLC0415 - a second to import

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    measures = ("right_passage", "grounded", "on_point", "useful", "covered", "abstains", "wrong_abstentions", "stops")
    figure, axes = pyplot.subplots(figsize=(10, 4))
    width = 0.8 / max(1, len(summaries))
    for place, (name, found) in enumerate(summaries.items()):
        heights = [found["measures"][measure] or 0.0 for measure in measures]
        axes.bar([at + place * width for at in range(len(measures))], heights, width=width, label=name)
    axes.set_xticks([at + 0.4 - width / 2 for at in range(len(measures))], measures, rotation=20)
    axes.set_ylim(0, 1.02)
    axes.set_title("Held-back answers")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
