"""Rows as tokens, exactly as serving sees them, with the passages that rows share evaluated once.

A group's rows differ only after their passages. They are laid out as one sequence, prefix first and then each row's
branch; the attention mask lets a branch see the prefix and itself alone, and positions go on from the prefix in each
branch. The loss and its gradients are those of separate rows, at a fraction of the computing.

Source: tree attention as in SpecInfer (Miao et al. 2023, arXiv 2305.09781), used here for training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from finetune.rows import Row

IGNORED = -100


@dataclass(frozen=True, slots=True)
class Encoded:
    """One row: its prompt's tokens and its reply's, the end of the turn included."""

    prompt: tuple[int, ...]
    reply: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Packed:
    """Rows of one group in one sequence; all four lists are as long as it."""

    input_ids: list[int]
    labels: list[int]  # the token itself where it is part of a reply, else -100
    position_ids: list[int]
    branch: list[int]  # 0: the shared prefix; rows from 1

    def as_dict(self) -> dict[str, list[int]]:
        """Return the four lists by name."""
        return {
            "input_ids": self.input_ids,
            "labels": self.labels,
            "position_ids": self.position_ids,
            "branch": self.branch,
        }


def encode(row: Row, tokenizer: Any) -> Encoded:
    """Return a row's tokens: the prompt as the template renders it, then the reply and the end of the turn."""
    prompt = prompt_ids(row, tokenizer)
    reply = tokenizer(row.reply, add_special_tokens=False).input_ids
    return Encoded(tuple(prompt), (*reply, tokenizer.eos_token_id))


def prompt_ids(row: Row, tokenizer: Any) -> list[int]:
    """Return the tokens of the messages that serving builds, up to where the reply begins."""
    text = tokenizer.apply_chat_template(row.messages, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False).input_ids)


def pack(rows: Sequence[Encoded], *, max_tokens: int) -> list[Packed]:
    """Return sequences that hold every row whole; more than one when a group is longer than ``max_tokens``.

    Raises:
        ValueError: A single row is longer than ``max_tokens``; nothing is ever cut.
    """
    packs: list[Packed] = []
    prefix = _common_prefix([row.prompt for row in rows])
    waiting: list[Encoded] = []
    length = prefix
    for row in rows:
        own = len(row.prompt) + len(row.reply) - prefix
        if prefix + own > max_tokens:
            raise ValueError(f"a row of {prefix + own} tokens does not fit train.max_tokens = {max_tokens}; raise it")
        if waiting and length + own > max_tokens:
            packs.append(_packed(waiting, prefix))
            waiting, length = [], prefix
        waiting.append(row)
        length += own
    return [*packs, _packed(waiting, prefix)] if waiting else packs


def _packed(rows: Sequence[Encoded], prefix: int) -> Packed:
    ids = list(rows[0].prompt[:prefix])
    labels, positions, branch = [IGNORED] * prefix, list(range(prefix)), [0] * prefix
    for number, row in enumerate(rows, 1):
        own = row.prompt[prefix:]
        ids += [*own, *row.reply]
        labels += [IGNORED] * len(own) + list(row.reply)
        positions += range(prefix, prefix + len(own) + len(row.reply))
        branch += [number] * (len(own) + len(row.reply))
    return Packed(ids, labels, positions, branch)


def _common_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """Return how many first tokens all prompts share, leaving each at least one of its own."""
    shortest = min(len(prompt) for prompt in prompts)
    length = 0
    while length < shortest - 1 and len({prompt[length] for prompt in prompts}) == 1:
        length += 1
    return length


def tree_mask(branch: torch.Tensor) -> torch.Tensor:
    """Return who may look at whom, shape ``(n, n)`` bool: earlier tokens of the prefix or of the same branch."""
    same = (branch[:, None] == branch[None, :]) | (branch[None, :] == 0)
    return same & torch.ones_like(same).tril()


class Collator:
    """Makes batches for the trainer; shorter sequences are padded with tokens that nobody sees."""

    def __init__(self, pad_id: int) -> None:
        self._pad = pad_id

    def __call__(self, examples: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        """Return ids, labels and positions ``(batch, n)`` and the mask ``(batch, 1, n, n)``, True: may be seen."""
        longest = max(len(example["input_ids"]) for example in examples)
        fills = {"input_ids": self._pad, "labels": IGNORED, "position_ids": 0, "branch": -1}
        batch = {
            name: torch.tensor([example[name] + [fill] * (longest - len(example[name])) for example in examples])
            for name, fill in fills.items()
        }
        branch = batch.pop("branch")
        batch["attention_mask"] = torch.stack([tree_mask(row) for row in branch])[:, None]
        return batch
