"""LoRA on the very prompts that serving builds: loss on the reply alone, no row cut, resumed where it stopped.

Source: LoRA (Hu et al. 2021, arXiv 2106.09685) on every linear layer, as "LoRA Without Regret" (Thinking Machines,
2025) found best; run by TRL's SFTTrainer.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from chatbot.errors import SettingsError
from finetune.base_model import load_tokenizer, load_weights, need_extra
from finetune.recipe import TrainRecipe
from finetune.rows import Row, grouped
from finetune.stage import write_json

Report = Callable[[int, int, dict[str, float]], None]  # (step, steps, what the trainer logged)


def packed_groups(rows: Sequence[Row], tokenizer: Any, recipe: TrainRecipe) -> list[dict[str, list[int]]]:
    """Return the training sequences: each group's rows behind their shared passages.

    Raises:
        SettingsError: A row is longer than ``max_tokens``, or the end of the turn is not learnt.
    """
    from finetune.encoding import encode, pack  # noqa: PLC0415 - torch

    try:
        packs = [
            sequence.as_dict()
            for group in grouped(rows)
            for sequence in pack([encode(row, tokenizer) for row in group], max_tokens=recipe.max_tokens)
        ]
    except ValueError as error:
        raise SettingsError(str(error)) from error
    if not packs:
        raise SettingsError("there are no rows to train on; check the knowledge folder and the recipe's dataset part")
    learnt = [label for label in packs[0]["labels"] if label >= 0]
    if learnt[-1] != tokenizer.eos_token_id:
        raise SettingsError("the last token of a reply is not the end of the turn; the model would never stop")
    return packs


def train_adapter(
    base: Path, rows: Sequence[Row], validation: Sequence[Row], folder: Path, recipe: TrainRecipe, *, seed: int,
    four_bit: bool = False, start_from: Path | None = None, report: Report = lambda *_: None,
) -> dict[str, float]:  # fmt: skip
    """Train an adapter and write it to ``folder/adapter``; returns what the curve ended with.

    Args:
        base: The unquantised base, in the transformers format.
        rows: What is learnt.
        validation: What says when to stop; of other answers than ``rows``.
        folder: Where checkpoints, the log and the adapter go; a checkpoint that is there is gone on from.
        recipe: Rank, rate, steps and the like.
        seed: Of the order of rows and the first weights.
        four_bit: Hold the frozen weights in 4 bits (QLoRA; needs a GPU and bitsandbytes).
        start_from: An adapter to go on from instead of a fresh one.
        report: Told every step.
    """
    need_extra("torch", "transformers", "peft", "trl", "datasets")
    import torch  # noqa: PLC0415
    from datasets import Dataset  # noqa: PLC0415
    from transformers import set_seed  # noqa: PLC0415

    from finetune.reply_trainer import ReplyTrainer, lora_model, training_parts  # noqa: PLC0415

    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    set_seed(seed)
    tokenizer = load_tokenizer(base)
    model = lora_model(load_weights(str(base), precision=recipe.precision, four_bit=four_bit), recipe, start_from)
    checkpoints = folder / "checkpoints"
    parts = training_parts(checkpoints, recipe, seed, tokenizer, report)
    trainer = ReplyTrainer(
        model=model,
        train_dataset=Dataset.from_list(packed_groups(rows, tokenizer, recipe)),
        eval_dataset=Dataset.from_list(packed_groups(validation, tokenizer, recipe)),
        **parts,
    )
    trainer.train(resume_from_checkpoint=last_whole_checkpoint(checkpoints))
    trainer.model.save_pretrained(folder / "adapter")
    history = trainer.state.log_history
    write_json(folder / "log.json", history)
    return _ending(history) | {"steps": trainer.state.global_step}


def last_whole_checkpoint(folder: Path) -> str | None:
    """Return the newest checkpoint that was written to its end, and take half-written ones away."""
    whole = []
    for checkpoint in folder.glob("checkpoint-*"):
        try:
            json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))  # the trainer writes it last
            whole.append(checkpoint)
        except (OSError, ValueError):
            shutil.rmtree(checkpoint)
    return str(max(whole, key=lambda each: int(each.name.rpartition("-")[2]))) if whole else None


def _ending(history: Sequence[dict[str, float]]) -> dict[str, float]:
    trained = [entry["loss"] for entry in history if "loss" in entry]
    judged = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    ending: dict[str, float] = {}
    if trained:
        ending |= {"first_loss": trained[0], "last_loss": sum(trained[-10:]) / len(trained[-10:])}
    if judged:
        ending |= {"best_validation_loss": min(judged), "last_validation_loss": judged[-1]}
    return ending
