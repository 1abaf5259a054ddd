"""Prunes the tuned 135M model in several ways and measures each: size, speed, loss on held-back rows, healed or not.

python tests/measurements/prune_frontier.py RUN OUT [POINT …]

RUN is a finished run folder up to `train` (base, dataset, train/adapter). A POINT is LAYERS:UNITS:WORDS:HEALSTEPS, for
example 0:0:16384:0 (keep 16,384 tokens) or 2:1408:0:30. Points that OUT already has are not measured again.
Loss is nats a reply token on the first validation groups; speed is of the Q8_0 file with one thread.
"""

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from chatbot.engine.gguf_file import read_gguf  # noqa: E402
from chatbot.engine.models import embedded_path  # noqa: E402
from finetune.base_model import load_tokenizer, load_weights, merged_model  # noqa: E402
from finetune.converter import convert_model  # noqa: E402
from finetune.encoding import Collator, prompt_ids  # noqa: E402
from finetune.gguf_model import GgufModel  # noqa: E402
from finetune.prune import own_replies, pruned  # noqa: E402
from finetune.quantise import quantise  # noqa: E402
from finetune.recipe import load_recipe  # noqa: E402
from finetune.rows import Row, grouped, read_rows  # noqa: E402
from finetune.stage import write_json  # noqa: E402
from finetune.train import packed_groups, train_adapter  # noqa: E402

POINTS = (
    "0:0:0:0",
    "0:0:16384:0",
    "1:0:0:0",
    "3:0:0:0",
    "0:1408:0:0",
    "0:1024:0:0",
    "1:1408:16384:0",
    "1:1408:16384:20",
)
CALIBRATION_ROWS, HEAL_ROWS, LOSS_GROUPS, SPEED_ROWS = 12, 12, 4, 4


def reply_loss(model: Any, tokenizer: Any, rows: list[Row]) -> float:
    """Return the mean loss of the reply tokens."""
    import torch

    recipe = load_recipe("embedded").train
    total = count = 0.0
    for packed in packed_groups(rows, tokenizer, recipe):
        batch = Collator(0)([packed])
        labels = batch.pop("labels")
        before = (labels[0, 1:] >= 0).nonzero()[:, 0]
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            logits = model(**batch, logits_to_keep=before, use_cache=False).logits[0].float()
        total += float(torch.nn.functional.cross_entropy(logits, labels[0, before + 1], reduction="sum"))
        count += len(before)
    return total / count


def measure(run: Path, out: Path, point: str) -> dict[str, Any]:
    """Return one point's figures."""
    layers, units, words, steps = (int(part) for part in point.split(":"))
    recipe = load_recipe("embedded")
    rows = read_rows(run / "dataset" / "train.jsonl")
    held = [row for group in grouped(read_rows(run / "dataset" / "validation.jsonl"))[:LOSS_GROUPS] for row in group]
    base, folder = run / "base" / "model", out / "work"
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer = load_tokenizer(base)
    tokenizer.save_pretrained(folder / "model")
    model = merged_model(base, run / "train" / "adapter")
    healing = own_replies(model, tokenizer, rows[:HEAL_ROWS]) if steps else []
    prompts = [prompt_ids(row, tokenizer) for row in rows[:CALIBRATION_ROWS]]
    tokens_file = folder / "model" / "tokenizer.json"
    found = pruned(model, tokens_file, prompts, layers=layers, feed_forward=units, vocabulary=words)
    model.save_pretrained(folder / "model")
    if steps:
        # The reply of the unpruned model where it ended by itself, the row's own elsewhere.
        rest = [row for row in rows[HEAL_ROWS:] if row.group not in {one.group for one in healing}]
        healer = recipe.train.model_copy(update={"steps": steps, "evaluate_every": steps, "learning_rate": 5e-4})
        train_adapter(folder / "model", [*healing, *rest], held[:4], folder, healer, seed=recipe.seed)
        model = merged_model(folder / "model", folder / "adapter")
        model.save_pretrained(folder / "model")
    tokenizer = load_tokenizer(folder / "model")
    found["loss"] = round(reply_loss(load_weights(str(folder / "model"), precision="bfloat16"), tokenizer, held), 4)
    pre = str(read_gguf(embedded_path()).metadata["tokenizer.ggml.pre"])
    convert_model(folder / "model", folder / "f16.gguf", pre_tokenizer=pre)
    quantise(folder / "f16.gguf", folder / "q8.gguf", "Q8_0", threads=1)
    drafts = []
    loaded = GgufModel(folder / "q8.gguf", threads=1)
    for row in held[:SPEED_ROWS]:
        drafts.append(loaded.reply(row.messages, most_tokens=60))
    loaded.close()
    found |= {
        "mib": round((folder / "q8.gguf").stat().st_size / 2**20, 1),
        "prompt_tokens_per_s": round(sum(d.prompt_tokens for d in drafts) / sum(d.prompt_seconds for d in drafts), 1),
        "reply_tokens_per_s": round(sum(d.reply_tokens for d in drafts) / sum(d.reply_seconds for d in drafts), 1),
        "first_reply": drafts[0].text,
    }
    shutil.rmtree(folder)
    return found


def plot(picture: Path, figures: dict[str, dict[str, Any]]) -> None:
    """Draw loss over size, each point named, larger where it writes faster."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    chart, axes = pyplot.subplots(figsize=(8, 5))
    for name, found in figures.items():
        axes.scatter(found["mib"], found["loss"], s=found["reply_tokens_per_s"], alpha=0.6)
        axes.annotate(f"{name}\n{found['reply_tokens_per_s']:.0f} tok/s", (found["mib"], found["loss"]), fontsize=8)
    axes.set_xlabel("MiB (Q8_0)")
    axes.set_ylabel("nats a reply token, held back")
    axes.set_title("layers out : units kept : tokens kept : healing steps (0: all)")
    chart.tight_layout()
    chart.savefig(picture, dpi=110)
    pyplot.close(chart)


def main(run: str, out: str, *points: str) -> None:
    """Measure every point that is not there yet, and draw them all."""
    import torch

    torch.set_num_threads(1)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "frontier.json"
    figures: dict[str, dict[str, Any]] = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    for point in points or POINTS:
        if point not in figures:
            began = time.monotonic()
            figures[point] = measure(Path(run), folder, point)
            write_json(store, figures)
            print(point, round(time.monotonic() - began), "s", figures[point], flush=True)
    plot(folder / "frontier.png", figures)


if __name__ == "__main__":
    main(*sys.argv[1:])
