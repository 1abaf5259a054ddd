"""What the importance matrix of the clinic's own prompts does to quantising the tuned model: divergence, changed replies.

python tests/measurements/importance.py RUN OUT [KIND …]           KIND: Q8_0, Q5_K_M, Q4_K_M, IQ4_XS …

RUN is a finished run folder up to `train`. Weighed with validation rows, compared on others of them.
"""

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from chatbot.engine.gguf_file import read_gguf  # noqa: E402
from chatbot.engine.models import embedded_path  # noqa: E402
from finetune.base_model import load_tokenizer, merged_model  # noqa: E402
from finetune.converter import convert_model  # noqa: E402
from finetune.encoding import prompt_ids  # noqa: E402
from finetune.gguf_model import GgufModel  # noqa: E402
from finetune.importance import importance_of  # noqa: E402
from finetune.parity import divergence  # noqa: E402
from finetune.quantise import quantise  # noqa: E402
from finetune.rows import read_rows  # noqa: E402
from finetune.stage import write_json  # noqa: E402

WEIGHED, COMPARED, LAST = 12, 10, 64


def replies_and_logits(path: Path, rows: list[Any], ids: list[list[int]]) -> tuple[list[str], list[Any]]:
    """Return a file's greedy replies, and its logits at the end of each prompt with the row's reply."""
    model = GgufModel(path, threads=1, context_tokens=1536, every_logit=True)
    try:
        return [model.reply(row.messages).text for row in rows], [model.logits(each)[-LAST:] for each in ids]
    finally:
        model.close()


def main(run: str, out: str, *kinds: str) -> None:
    """Measure every kind with and without, and write ``OUT/importance.json``."""
    import torch

    torch.set_num_threads(1)
    folder, rows = Path(out), read_rows(Path(run) / "dataset" / "validation.jsonl")
    folder.mkdir(parents=True, exist_ok=True)
    base = Path(run) / "base" / "model"
    tokenizer = load_tokenizer(base)
    model = merged_model(base, Path(run) / "train" / "adapter")
    weighed, compared = rows[::7][:WEIGHED], rows[3::7][:COMPARED]
    whole = [[*prompt_ids(row, tokenizer), *tokenizer(row.reply).input_ids] for row in [*weighed, *compared]]
    importance = importance_of(model, whole[: len(weighed)])
    full = folder / "f16.gguf"
    if not full.exists():
        model.save_pretrained(folder / "merged")
        tokenizer.save_pretrained(folder / "merged")
        convert_model(
            folder / "merged", full, pre_tokenizer=str(read_gguf(embedded_path()).metadata["tokenizer.ggml.pre"])
        )
    exact_replies, exact = replies_and_logits(full, compared, whole[len(weighed) :])
    figures = {}
    for kind in kinds or ("Q8_0", "Q4_K_M", "IQ4_XS"):
        for name, weights in (("without", None), ("with", importance)):
            path = folder / f"{kind}-{name}.gguf"
            quantise(full, path, kind, importance=weights, threads=1)
            replies, logits = replies_and_logits(path, compared, whole[len(weighed) :])
            found = divergence(exact, logits)
            figures[f"{kind} {name}"] = {
                "mib": round(path.stat().st_size / 2**20, 1),
                "mean_kl": round(found.mean_kl, 5),
                "same_first": round(found.same_first, 4),
                "replies_that_change": sum(a != b for a, b in zip(replies, exact_replies, strict=True)),
                "of": len(compared),
            }
            path.unlink()
            print(kind, name, figures[f"{kind} {name}"], flush=True)
            write_json(folder / "importance.json", figures)


if __name__ == "__main__":
    main(*sys.argv[1:])
