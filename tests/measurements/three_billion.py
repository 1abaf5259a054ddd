"""Walks the ~3B path with random weights: training steps, export, quantising, loading, writing. Speed and memory only.

python tests/measurements/three_billion.py OUT [--layers 40] [--steps 2] [--tokens 900]

The architecture is Granite-4.1-3B's (40 layers, 2560 wide, 8192 feed-forward, 40 heads over 8, tied), with the tokenizer
of the embedded model and its vocabulary. Random weights say nothing about what a model writes. With all layers it needs
about 20 GB of memory and 15 GB of disk; fewer layers measure one layer's price.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from chatbot.engine.gguf_file import read_gguf  # noqa: E402
from chatbot.engine.models import embedded_path  # noqa: E402
from chatbot.prompting import Passage, build_messages  # noqa: E402
from finetune.converter import convert_model  # noqa: E402
from finetune.gguf_model import GgufModel  # noqa: E402
from finetune.quantise import quantise  # noqa: E402
from finetune.recipe import load_recipe  # noqa: E402

T = TypeVar("T")
SENTENCE = "Rest, drink water often, and call the clinic if the fever lasts more than 3 days. "


def timed(found: dict[str, float], name: str, work: Callable[[], T]) -> T:
    """Return what the work returns; note its seconds and the most memory this process has had so far."""
    began = time.monotonic()
    result = work()
    found[f"{name}_s"] = round(time.monotonic() - began, 1)
    found[f"{name}_peak_gib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    print(name, found[f"{name}_s"], "s, at most", found[f"{name}_peak_gib"], "GiB so far", flush=True)
    return result


def random_model(layers: int, vocabulary: int) -> Any:
    """Return a bfloat16 model of the architecture, with random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_default_dtype(torch.bfloat16)
    try:
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocabulary, hidden_size=2560, intermediate_size=8192, num_hidden_layers=layers,
                num_attention_heads=40, num_key_value_heads=8, tie_word_embeddings=True, max_position_embeddings=8192,
                bos_token_id=1, eos_token_id=2,
            )
        )  # fmt: skip
    finally:
        torch.set_default_dtype(torch.float32)


def train_steps(model: Any, steps: int, tokens: int) -> Any:
    """Do some LoRA steps on random tokens; returns the merged model."""
    import torch

    from finetune.reply_trainer import lora_model

    adapted = lora_model(model, load_recipe("clinic-3b").train, None)
    adapted.train()
    adapted.gradient_checkpointing_enable()
    adapted.enable_input_require_grads()
    optimizer = torch.optim.AdamW([each for each in adapted.parameters() if each.requires_grad], lr=2e-4)
    for _ in range(steps):
        ids = torch.randint(100, model.config.vocab_size, (1, tokens))
        replies = torch.arange(tokens - 200, tokens - 1)  # the last 200 tokens stand for the replies of a group
        with torch.autocast("cpu", torch.bfloat16):
            logits = adapted(input_ids=ids, logits_to_keep=replies, use_cache=False).logits[0]
        torch.nn.functional.cross_entropy(logits.float(), ids[0, replies + 1]).backward()
        optimizer.step()
        optimizer.zero_grad()
    return adapted.merge_and_unload()


def main() -> None:
    """Walk the path and write ``OUT/three_billion.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", type=int, default=40)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=900)
    given = parser.parse_args()
    from transformers import AutoTokenizer

    folder: Path = given.out
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, float] = {"layers": given.layers, "tokens_a_step": given.tokens}
    gguf = embedded_path()
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    untrained = timed(found, "build", lambda: random_model(given.layers, len(tokenizer)))
    found["parameters"] = sum(each.numel() for each in untrained.parameters())
    merged = timed(found, "train", lambda: train_steps(untrained, given.steps, given.tokens))
    found["seconds_a_step"] = round(found["train_s"] / given.steps, 1)
    timed(found, "save", lambda: merged.save_pretrained(folder / "model"))
    tokenizer.save_pretrained(folder / "model")
    full, small = folder / "f16.gguf", folder / "Q4_K_M.gguf"
    pre = str(read_gguf(gguf).metadata["tokenizer.ggml.pre"])
    timed(found, "convert", lambda: convert_model(folder / "model", full, pre_tokenizer=pre))
    timed(found, "quantise", lambda: quantise(full, small, "Q4_K_M", threads=2))
    found |= {"f16_mib": full.stat().st_size >> 20, "Q4_K_M_mib": small.stat().st_size >> 20}
    loaded = timed(found, "load", lambda: GgufModel(small, threads=2))
    messages = build_messages("What helps against fever?", [Passage("a/b", "Fever", SENTENCE * 30)])
    written = timed(found, "write", lambda: loaded.reply(messages, most_tokens=40))
    found["prompt_tokens_per_s"] = round(written.prompt_tokens / written.prompt_seconds, 1)
    found["reply_tokens_per_s"] = round(written.reply_tokens / max(written.reply_seconds, 1e-6), 1)
    (folder / "three_billion.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
