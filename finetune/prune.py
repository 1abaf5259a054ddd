"""Takes out of a model what matters least: vocabulary rows, whole layers, feed-forward units.

What matters is measured on the clinic's own prompts, in one pass. A pruned model has to be healed by training
(``train_adapter`` on replies of the unpruned one) and is a model of its own: the base's GGUF no longer fits it.

Sources: layers by block influence, ShortGPT (Men et al. 2024, arXiv 2403.03853); units by the saliency ``h w² / 2`` of
optimal brain damage (LeCun, Denker & Solla 1989) with the diagonal of the layer's Hessian; vocabulary after
"Language-specific trimming" (Ushio, Zhou & Camacho-Collados 2023).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chatbot.errors import SettingsError
from finetune.base_model import load_tokenizer, merged_model
from finetune.importance import mean_squares
from finetune.recipe import PruneRecipe
from finetune.rows import Row

Vector = npt.NDArray[np.float32]


def block_influence(model: Any, prompts: Sequence[Sequence[int]]) -> Vector:
    """Return how much each layer turns what passes through it: one minus the mean cosine, shape ``(layers,)``."""
    import torch  # noqa: PLC0415 - seconds to import

    layers = model.model.layers
    sums = np.zeros(len(layers))
    tokens = 0
    with torch.no_grad():
        for prompt in prompts:
            ids = torch.tensor([list(prompt)], device=model.device)
            states = model(input_ids=ids, output_hidden_states=True, use_cache=False).hidden_states
            # The last state has passed the closing norm as well, so the last layer is never a candidate.
            for place in range(len(layers) - 1):
                alike = torch.nn.functional.cosine_similarity(states[place].float(), states[place + 1].float(), dim=-1)
                sums[place] += float((1 - alike).sum())
            tokens += len(prompt)
    influence = (sums / max(1, tokens)).astype(np.float32)
    influence[-1] = np.inf
    return np.asarray(influence)


def drop_layers(model: Any, influence: Vector, count: int) -> list[int]:
    """Take out the layers of least influence, in place; returns their numbers.

    Raises:
        SettingsError: Nothing would be left.
    """
    import torch  # noqa: PLC0415

    layers = list(model.model.layers)
    if not 0 <= count < len(layers):
        raise SettingsError(f"prune.layers: {count} of {len(layers)} layers cannot be taken out; name fewer")
    gone = sorted(int(place) for place in np.argsort(influence, kind="stable")[:count])
    kept = [place for place in range(len(layers)) if place not in gone]
    model.model.layers = torch.nn.ModuleList(layers[place] for place in kept)
    for place, layer in enumerate(model.model.layers):
        layer.self_attn.layer_idx = place
    model.config.num_hidden_layers = len(kept)
    for name in ("layer_types", "no_rope_layers"):
        if (each := getattr(model.config, name, None)) is not None:
            setattr(model.config, name, [each[place] for place in kept])
    return gone


def unit_saliency(down: Any, squares: Vector) -> Vector:
    """Return what each feed-forward unit is worth: its mean squared activation times its squared outgoing weights."""
    return np.asarray(squares * down.weight.detach().float().pow(2).sum(dim=0).cpu().numpy(), dtype=np.float32)


def narrow_feed_forward(model: Any, squares: Mapping[str, Vector], width: int) -> None:
    """Keep the ``width`` most salient units of every layer, in place; the same number everywhere, as files want it.

    Args:
        model: A model whose layers have ``mlp.gate_proj``, ``mlp.up_proj`` and ``mlp.down_proj``.
        squares: Mean squared inputs by module name, of this very model (see ``mean_squares``).
        width: Units to keep.

    Raises:
        SettingsError: There are not that many.
    """
    import torch  # noqa: PLC0415

    have = int(model.config.intermediate_size)
    if not 0 < width <= have:
        raise SettingsError(f"prune.feed_forward: {width} is not between 1 and {have}, the units there are")
    for place, layer in enumerate(model.model.layers):
        saliency = unit_saliency(layer.mlp.down_proj, squares[f"model.layers.{place}.mlp.down_proj"])
        kept = torch.from_numpy(np.sort(np.argsort(-saliency, kind="stable")[:width]))
        for name, axis in (("gate_proj", 0), ("up_proj", 0), ("down_proj", 1)):
            linear = getattr(layer.mlp, name)
            linear.weight = torch.nn.Parameter(linear.weight.detach().index_select(axis, kept).contiguous())
            linear.out_features, linear.in_features = linear.weight.shape
        layer.mlp.intermediate_size = width
    model.config.intermediate_size = width


def trim_vocabulary(model: Any, tokenizer_file: Path, size: int) -> None:
    """Keep the first ``size`` tokens, in the model and in its ``tokenizer.json``.

    Byte-pair tokens are numbered in the order in which they were merged, so a first part is whole: every token in it is
    made of tokens in it, and any text can still be written, in more tokens.

    Raises:
        SettingsError: The tokenizer is of another kind, or special tokens or bytes would be lost.
    """
    import torch  # noqa: PLC0415

    content = json.loads(tokenizer_file.read_text(encoding="utf-8"))
    if content["model"]["type"] != "BPE":
        raise SettingsError(f"prune.vocabulary: {tokenizer_file} is no byte-pair tokenizer; set it to 0")
    vocabulary: dict[str, int] = content["model"]["vocab"]
    lost = [token["content"] for token in content["added_tokens"] if token["id"] >= size]
    lost += [token for token, number in vocabulary.items() if len(token) == 1 and number >= size]
    if lost or size > len(vocabulary):
        raise SettingsError(
            f"prune.vocabulary: with {size} of {len(vocabulary)} tokens, {len(lost)} are lost that must stay; "
            "choose another size"
        )
    kept = {token: number for token, number in vocabulary.items() if number < size}
    content["model"]["vocab"] = kept
    content["model"]["merges"] = [
        merge for merge in content["model"]["merges"] if all(part in kept for part in (*_parts(merge), _whole(merge)))
    ]
    rows = model.get_input_embeddings().weight.detach()[:size].clone()
    model.resize_token_embeddings(size, mean_resizing=False)
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(rows)
    model.tie_weights()
    tokenizer_file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _parts(merge: str | Sequence[str]) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _whole(merge: str | Sequence[str]) -> str:
    return "".join(_parts(merge))


def pruned(
    model: Any,
    tokenizer_file: Path,
    prompts: Sequence[Sequence[int]],
    *,
    layers: int,
    feed_forward: int,
    vocabulary: int,
) -> dict[str, Any]:
    """Prune a model in place, layers first, then units, then words; returns what was taken out.

    Args:
        model: The merged model in full precision.
        tokenizer_file: Its ``tokenizer.json``, which is rewritten when words are taken out.
        prompts: Token ids of the clinic's own prompts and replies, to weigh with.
        layers: How many layers to take out.
        feed_forward: How many units to keep in each layer; 0: all.
        vocabulary: How many tokens to keep; 0: all.
    """
    before = sum(parameter.numel() for parameter in model.parameters())
    gone = drop_layers(model, block_influence(model, prompts), layers) if layers else []
    if feed_forward:
        narrow_feed_forward(model, mean_squares(model, prompts), feed_forward)
    if vocabulary:
        trim_vocabulary(model, tokenizer_file, vocabulary)
    after = sum(parameter.numel() for parameter in model.parameters())
    return {"layers": gone, "parameters": after, "smaller": round(1 - after / before, 3)}


def own_replies(model: Any, tokenizer: Any, rows: Sequence[Row]) -> list[Row]:
    """Return the rows with the replies that the model itself writes, to heal its pruned self with.

    A reply that does not end by itself is left out (self-data distillation, arXiv 2410.09982).
    """
    import torch  # noqa: PLC0415

    from finetune.encoding import prompt_ids  # noqa: PLC0415

    written = []
    for row in rows:
        ids = torch.tensor([prompt_ids(row, tokenizer)])
        with torch.no_grad():
            made = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=160)
        reply = made[0, ids.shape[1] :].tolist()
        if reply and reply[-1] == tokenizer.eos_token_id:
            text = tokenizer.decode(reply[:-1], skip_special_tokens=True).strip()
            written.append(replace(row, reply=text, origin="unpruned"))
    return written


def prune_model(
    base: Path, adapter: Path, rows: Sequence[Row], folder: Path, recipe: PruneRecipe
) -> tuple[dict[str, Any], list[Row]]:
    """Write the pruned model to ``folder``; returns what was taken out, and rows to heal it with.

    Args:
        base: The unquantised base, in the transformers format.
        adapter: The trained adapter; it is merged before anything is taken out.
        rows: Training rows, to weigh with.
        folder: Gets the pruned model and its tokenizer.
        recipe: How much is taken out.
    """
    from finetune.encoding import prompt_ids  # noqa: PLC0415 - torch

    tokenizer = load_tokenizer(base)
    model = merged_model(base, adapter)
    healing = own_replies(model, tokenizer, rows[: recipe.heal_rows])
    tokenizer.save_pretrained(folder)
    prompts = [prompt_ids(row, tokenizer) for row in rows[: recipe.calibration_rows]]
    found = pruned(
        model, folder / "tokenizer.json", prompts,
        layers=recipe.layers, feed_forward=recipe.feed_forward, vocabulary=recipe.vocabulary,
    )  # fmt: skip
    model.save_pretrained(folder)
    return found, healing
