"""From a trained adapter to files that serve: the adapter as GGUF, and the merged model, quantised; both compared.

The merge is into full precision, never into a 4-bit base. The adapter alone is checked on the very base file it
will be laid over.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chatbot.engine.gguf_file import read_gguf
from chatbot.errors import SettingsError
from finetune.base_model import load_tokenizer, load_weights, need_extra
from finetune.converter import convert_adapter, convert_model
from finetune.gguf_model import GgufModel
from finetune.importance import importance_of
from finetune.parity import Check, as_markdown, divergence, divergence_check, logit_check, token_checks
from finetune.quantise import quantise
from finetune.recipe import ExportRecipe
from finetune.rows import Row
from finetune.stage import write_json

COMPARED_CHATS = 4
COMPARED_TOKENS = 64  # at the end of each chat: the reply and the question before it
Step = Callable[[str], None]
Logits = npt.NDArray[np.float32]


def export_model(
    base: Path, base_gguf: Path | None, adapter: Path, rows: Sequence[Row], folder: Path, recipe: ExportRecipe,
    *, threads: int, step: Step = lambda _: None,
) -> dict[str, Any]:  # fmt: skip
    """Write the files and the parity report; returns the counts.

    Args:
        base: The unquantised base, in the transformers format.
        base_gguf: The file the adapter will be laid over in serving, if there is one.
        adapter: The trained adapter.
        rows: Validation rows, to compare on and to weigh importance with.
        folder: Gets ``adapter.gguf``, ``model.gguf``, ``parity.json`` and ``parity.md``.
        recipe: What to write and how near it must be.
        threads: For the GGUF side.
        step: Told what is being done.

    Raises:
        SettingsError: A comparison is red; the report says which.
    """
    need_extra("torch", "transformers", "peft", "llama_cpp", "gguf", "sentencepiece")
    tokenizer = load_tokenizer(base)
    chats = rows[:: max(1, len(rows) // COMPARED_CHATS)][:COMPARED_CHATS]
    checks: list[Check] = []
    step("merging")
    merged = folder / "merged"
    expected, importance = _merge(base, adapter, merged, tokenizer, chats, rows[: recipe.importance_rows])
    tokenizer.save_pretrained(merged)
    step("converting")
    full = folder / "model-f16.gguf"
    pre = str(read_gguf(base_gguf).metadata.get("tokenizer.ggml.pre", "")) if base_gguf else ""
    convert_model(merged, full, pre_tokenizer=pre)
    shutil.rmtree(merged)
    step("comparing")
    exact = _with_model(full, None, threads, lambda model: _logits(model, tokenizer, chats))
    checks += _with_model(
        full, None, threads,
        lambda model: token_checks(tokenizer, base / "tokenizer.json", model, [row.messages for row in chats]),
    )  # fmt: skip
    checks.append(logit_check("logits: torch and f16 GGUF", expected, exact, most=recipe.max_logit_difference))
    if recipe.adapter:
        convert_adapter(adapter, base, folder / "adapter.gguf")
        if base_gguf is not None:
            laid_over = _with_model(
                base_gguf, folder / "adapter.gguf", threads, lambda model: _logits(model, tokenizer, chats)
            )
            found = divergence(expected, laid_over)
            checks.append(
                divergence_check("adapter over the base file, and torch", found, most_kl=recipe.max_divergence)
            )
    if recipe.merged:
        step("quantising")
        quantise(full, folder / "model.gguf", recipe.quantization, importance=importance, threads=threads)
        small = _with_model(folder / "model.gguf", None, threads, lambda model: _logits(model, tokenizer, chats))
        name = f"{recipe.quantization} and f16"
        checks.append(divergence_check(name, divergence(exact, small), most_kl=recipe.max_divergence))
    full.unlink()
    write_json(folder / "parity.json", [asdict(check) for check in checks])
    (folder / "parity.md").write_text(as_markdown(checks), encoding="utf-8")
    if red := [check for check in checks if not check.passed]:
        raise SettingsError(
            f"export: {red[0].name}: {red[0].found}; the files must not be served (see {folder / 'parity.md'})"
        )
    sizes = {file.stem: file.stat().st_size / 2**20 for file in sorted(folder.glob("*.gguf"))}
    return {"checks": len(checks), "red": 0} | {f"{name} MiB": round(size, 1) for name, size in sizes.items()}


def _merge(
    base: Path, adapter: Path, merged: Path, tokenizer: Any, chats: Sequence[Row], weighed: Sequence[Row]
) -> tuple[list[Logits], dict[str, Logits]]:
    """Write the merged model; return its logits on the chats, and the importance of its inputs."""
    import torch  # noqa: PLC0415
    from peft import PeftModel  # noqa: PLC0415

    model = PeftModel.from_pretrained(load_weights(str(base)), str(adapter)).merge_and_unload().eval()
    expected = []
    with torch.no_grad():
        for row in chats:
            logits = model(input_ids=torch.tensor([_tokens(tokenizer, row)])).logits[0, -COMPARED_TOKENS:]
            expected.append(logits.float().numpy())
    importance = importance_of(model, [_tokens(tokenizer, row) for row in weighed]) if weighed else {}
    model.save_pretrained(merged)
    return expected, importance


def _tokens(tokenizer: Any, row: Row) -> list[int]:
    text = tokenizer.apply_chat_template(row.messages, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text + row.reply, add_special_tokens=False).input_ids)


def _logits(model: GgufModel, tokenizer: Any, chats: Sequence[Row]) -> list[Logits]:
    return [model.logits(_tokens(tokenizer, row))[-COMPARED_TOKENS:] for row in chats]


def _with_model(path: Path, lora: Path | None, threads: int, use: Callable[[GgufModel], Any]) -> Any:
    model = GgufModel(path, lora=lora, threads=threads, context_tokens=1536, every_logit=True)
    try:
        return use(model)
    finally:
        model.close()
