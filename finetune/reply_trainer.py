"""The trainer of ``train.py``: TRL's, with the loss worked out where a reply stands and nowhere else.

Nine of ten tokens of a training sequence are prompt. Scores over the whole vocabulary for them would be thrown away,
and on a CPU they are a fifth of the work.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import EarlyStoppingCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from finetune.encoding import IGNORED, Collator
from finetune.recipe import TrainRecipe

Report = Callable[[int, int, dict[str, float]], None]  # (step, steps, what the trainer logged)


class ReplyTrainer(SFTTrainer):  # type: ignore[misc]
    """Learns the labelled tokens of packed groups."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the mean loss over the labelled tokens, and the model's output if asked for."""
        labels = inputs.pop("labels")
        before = (labels[:, 1:] != IGNORED).any(dim=0).nonzero()[:, 0]  # each token is foretold by the one before it
        outputs = model(**inputs, logits_to_keep=before, use_cache=False)
        told = labels[:, before + 1]
        loss = torch.nn.functional.cross_entropy(
            outputs.logits.float().flatten(0, 1), told.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        loss = loss / (num_items_in_batch if num_items_in_batch is not None else (told != IGNORED).sum())
        return (loss, outputs) if return_outputs else loss


def lora_model(model: Any, recipe: TrainRecipe, start_from: Path | None) -> Any:
    """Return the model with a fresh adapter on every linear layer, or with one to go on from."""
    if start_from is not None:
        return PeftModel.from_pretrained(model, str(start_from), is_trainable=True)
    # "all-linear" leaves the output layer out; plain alpha / r is what the GGUF format can say.
    lora = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, lora)


def training_parts(checkpoints: Path, recipe: TrainRecipe, seed: int, tokenizer: Any, report: Report) -> dict[str, Any]:
    """Return the trainer's arguments, collator and callbacks."""
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return {
        "args": _arguments(checkpoints, recipe, seed),
        "data_collator": Collator(pad),
        "processing_class": tokenizer,
        "callbacks": [EarlyStoppingCallback(early_stopping_patience=recipe.patience), _Reporting(report)],
    }


def _arguments(checkpoints: Path, recipe: TrainRecipe, seed: int) -> Any:
    return SFTConfig(
        output_dir=str(checkpoints),
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        max_length=None,
        packing=False,
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
        gradient_accumulation_steps=recipe.groups_per_step,
        max_steps=recipe.steps,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(recipe.steps * recipe.warmup_share),
        weight_decay=0.0,
        eval_strategy="steps",
        save_strategy="steps",
        eval_steps=recipe.evaluate_every,
        save_steps=recipe.evaluate_every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        prediction_loss_only=True,
        logging_steps=1,
        seed=seed,
        data_seed=seed,
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        bf16=recipe.precision == "bfloat16",
        gradient_checkpointing=torch.cuda.is_available(),
        dataloader_pin_memory=False,
    )


class _Reporting(TrainerCallback):  # type: ignore[misc]
    def __init__(self, report: Report) -> None:
        self._report = report

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        numbers = {name: value for name, value in (logs or {}).items() if isinstance(value, float)}
        self._report(state.global_step, state.max_steps, numbers)
