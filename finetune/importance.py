"""How much each input of each linear layer matters: one pass over the clinic's own prompts.

The mean of the squared input is three things at once: the quantiser's importance matrix, the activation norm of Wanda
(Sun et al. 2023, arXiv 2306.11695), and the diagonal of the layer's Hessian 2XXᵀ in the sense of optimal brain damage
(LeCun, Denker & Solla 1989).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]


def mean_squares(model: Any, prompts: Sequence[Sequence[int]]) -> dict[str, Vector]:
    """Return each linear layer's mean squared input by module name, shape ``(in_features,)``."""
    import torch  # noqa: PLC0415

    sums: dict[str, Any] = {}
    counts: dict[str, int] = {}

    def watch(name: str) -> Any:
        def hook(_: Any, inputs: tuple[Any, ...]) -> None:
            flat = inputs[0].detach().float().reshape(-1, inputs[0].shape[-1])
            sums[name] = sums.get(name, 0) + flat.pow(2).sum(dim=0)
            counts[name] = counts.get(name, 0) + len(flat)

        return hook

    handles = [
        module.register_forward_pre_hook(watch(name))
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    ]
    try:
        with torch.no_grad():
            for prompt in prompts:
                model(input_ids=torch.tensor([list(prompt)], device=model.device))
    finally:
        for handle in handles:
            handle.remove()
    return {name: (sums[name] / counts[name]).cpu().numpy().astype(np.float32) for name in sums}


def importance_of(model: Any, prompts: Sequence[Sequence[int]]) -> dict[str, Vector]:
    """Return the mean squared inputs by GGUF tensor name, as the quantiser wants them."""
    import gguf  # noqa: PLC0415

    kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(kinds[model.config.model_type], model.config.num_hidden_layers)
    found = {}
    for module, squares in mean_squares(model, prompts).items():
        if name := names.get_name(f"{module}.weight", try_suffixes=(".weight",)):
            found[name] = squares
    return found
