"""From a trained adapter to files that serve: the adapter as GGUF, and the merged model, quantised; both compared.

The merge is into full precision, never into a 4-bit base. The adapter alone is checked on the very base file it
will be laid over.
"""

import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chatbot.engine.gguf_file import read_gguf
from chatbot.errors import SettingsError
from finetune.base_model import load_tokenizer, merged_model, need_extra
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
    base: Path, base_gguf: Path | None, adapter: Path | None, rows: Sequence[Row], folder: Path, recipe: ExportRecipe,
    *, threads: int, step: Step = lambda _: None,
) -> dict[str, Any]:  # fmt: skip
    """Write the files and the parity report; returns the counts.

    Args:
        base: The unquantised base, in the transformers format.
        base_gguf: The file the adapter will be laid over in serving, if there is one.
        adapter: The trained adapter; None for a pruned model that was not healed.
        rows: Validation rows, to compare on and to weigh importance with.
        folder: Gets ``adapter.gguf``, ``model.gguf``, ``parity.json`` and ``parity.md``.
        recipe: What to write and how near it must be.
        threads: For the GGUF side.
        step: Told what is being done.

    Raises:
        SettingsError: A comparison is red; the report says which.
    """
    need_extra("torch", "transformers", "peft", "llama_cpp", "gguf", "sentencepiece")
    compared = _Compared(load_tokenizer(base), rows[:: max(1, len(rows) // COMPARED_CHATS)][:COMPARED_CHATS], threads)
    step("merging")
    merged, full = folder / "merged", folder / "model-f16.gguf"
    expected, importance = _merge(base, adapter, merged, compared, rows[: recipe.importance_rows])
    step("converting")
    pre = str(read_gguf(base_gguf).metadata.get("tokenizer.ggml.pre", "")) if base_gguf else ""
    convert_model(merged, full, pre_tokenizer=pre)
    shutil.rmtree(merged)
    step("comparing")
    exact = compared.logits(full)
    checks = compared.tokens(full, base / "tokenizer.json")
    checks.append(logit_check("logits: torch and f16 GGUF", expected, exact, most=recipe.max_logit_difference))
    if recipe.adapter and adapter is not None:
        convert_adapter(adapter, base, folder / "adapter.gguf")
        if base_gguf is not None:
            found = divergence(expected, compared.logits(base_gguf, folder / "adapter.gguf"))
            name = "adapter over the base file, and torch"
            checks.append(divergence_check(name, found, most_kl=recipe.max_divergence))
    if recipe.merged:
        step("quantising")
        quantise(full, folder / "model.gguf", recipe.quantization, importance=importance, threads=threads)
        found = divergence(exact, compared.logits(folder / "model.gguf"))
        checks.append(divergence_check(f"{recipe.quantization} and f16", found, most_kl=recipe.max_divergence))
    full.unlink()
    _report(checks, folder)
    sizes = {file.stem: file.stat().st_size / 2**20 for file in sorted(folder.glob("*.gguf"))}
    return {"checks": len(checks), "red": 0} | {f"{name} MiB": round(size, 1) for name, size in sizes.items()}


def _report(checks: Sequence[Check], folder: Path) -> None:
    write_json(folder / "parity.json", [asdict(check) for check in checks])
    (folder / "parity.md").write_text(as_markdown(checks), encoding="utf-8")
    if red := [check for check in checks if not check.passed]:
        raise SettingsError(
            f"export: {red[0].name}: {red[0].found}; the files must not be served (see {folder / 'parity.md'})"
        )


@dataclass(frozen=True)
class _Compared:
    """What files are compared on: some whole chats, with this tokenizer."""

    tokenizer: Any
    chats: Sequence[Row]
    threads: int

    def ids(self, row: Row) -> list[int]:
        """Return a chat's tokens, its reply included."""
        text = self.tokenizer.apply_chat_template(row.messages, tokenize=False, add_generation_prompt=True)
        return list(self.tokenizer(text + row.reply, add_special_tokens=False).input_ids)

    def logits(self, path: Path, lora: Path | None = None) -> list[Logits]:
        """Return a file's logits at the end of each chat."""
        with closing(self._open(path, lora)) as model:
            return [model.logits(self.ids(row))[-COMPARED_TOKENS:] for row in self.chats]

    def tokens(self, path: Path, tokenizer_file: Path) -> list[Check]:
        """Compare a file's tokens and rendered chats with the tokenizer's."""
        with closing(self._open(path, None)) as model:
            return token_checks(self.tokenizer, tokenizer_file, model, [row.messages for row in self.chats])

    def _open(self, path: Path, lora: Path | None) -> GgufModel:
        return GgufModel(path, lora=lora, threads=self.threads, context_tokens=1536, every_logit=True)


def _merge(
    base: Path, adapter: Path | None, merged: Path, compared: _Compared, weighed: Sequence[Row]
) -> tuple[list[Logits], dict[str, Logits]]:
    """Write the merged model; return its logits on the compared chats, and the importance of its inputs."""
    import torch  # noqa: PLC0415

    model = merged_model(base, adapter)
    expected = []
    with torch.no_grad():
        for row in compared.chats:
            logits = model(input_ids=torch.tensor([compared.ids(row)])).logits[0, -COMPARED_TOKENS:]
            expected.append(logits.float().numpy())
    importance = importance_of(model, [compared.ids(row) for row in weighed]) if weighed else {}
    model.save_pretrained(merged)
    compared.tokenizer.save_pretrained(merged)
    return expected, importance
