"""The model that is specialised, from a GGUF file or a folder, as full-precision weights with its own tokenizer."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatbot.engine.gguf_file import check_model, read_gguf
from chatbot.engine.models import embedded_path
from chatbot.errors import ModelLoadError

EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class BaseModel:
    """Where the base is: always a folder in the transformers format, and the GGUF it came from, if it did."""

    folder: Path
    gguf: Path | None


def need_extra(*modules: str) -> None:
    """Raise one clear line when a part of the extra ``finetune`` is missing.

    Raises:
        ModelLoadError: At least one of the modules is not installed.
    """
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise ModelLoadError(
            f"{', '.join(missing)} is missing; install the extra: pip install 'health-faq-chatbot[finetune]'"
        )


def gguf_of(path: str) -> Path | None:
    """Return the GGUF file behind a recipe's ``base.path``, or None when it is a folder.

    Raises:
        ModelLoadError: There is no such file or folder, or the file is no chat model.
    """
    if path == EMBEDDED:
        return embedded_path()
    place = Path(path).expanduser()
    if place.is_dir():
        return None
    check_model(place)
    return place


def unpack_base(path: str, folder: Path) -> None:
    """Write the base as an unquantised folder in the transformers format: weights, tokenizer, template.

    Raises:
        ModelLoadError: It cannot be read, or it has no chat template.
    """
    need_extra("transformers", "gguf")
    from transformers import AutoTokenizer  # noqa: PLC0415 - seconds to import

    gguf = gguf_of(path)
    where: dict[str, Any] = {"gguf_file": gguf.name} if gguf else {}
    root = str(gguf.parent if gguf else Path(path).expanduser())
    try:
        tokenizer = AutoTokenizer.from_pretrained(root, local_files_only=True, **where)
        if not tokenizer.chat_template:
            raise ModelLoadError(f"{path}: has no chat template; choose an instruct (chat) model")
        if gguf is not None:
            _mend_word_cutting(tokenizer, gguf)
        model = load_weights(root, **where)
    except (OSError, ValueError, KeyError) as error:
        raise ModelLoadError(f"{path}: cannot be loaded: {' '.join(str(error).split())[:300]}") from error
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _mend_word_cutting(tokenizer: Any, gguf: Path) -> None:
    """Cut digits one by one where the file says so and transformers does not know it.

    transformers 5.23 has no rule for the files' kind ``smollm`` (``GGUF_PRE_TOKENIZER_SPLITS``), so that " ½" came out
    as other tokens than llama.cpp's; the export's comparison of tokens found it.
    """
    if read_gguf(gguf).metadata.get("tokenizer.ggml.pre") != "smollm":
        return
    from tokenizers import pre_tokenizers as cut  # noqa: PLC0415

    words = cut.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.backend_tokenizer.pre_tokenizer = cut.Sequence([cut.Digits(individual_digits=True), words])


def load_weights(root: str, *, gguf_file: str | None = None, precision: str = "float32", four_bit: bool = False) -> Any:
    """Return the causal language model; a GGUF is dequantised, so that it can be trained and saved."""
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM  # noqa: PLC0415
    from transformers.utils import logging  # noqa: PLC0415

    logging.disable_progress_bar()
    more: dict[str, Any] = {}
    if gguf_file:
        from transformers.utils.quantization_config import GgufConfig  # noqa: PLC0415

        more = {"gguf_file": gguf_file, "quantization_config": GgufConfig(dequantize=True)}
    elif four_bit:
        from transformers import BitsAndBytesConfig  # noqa: PLC0415

        more["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    return AutoModelForCausalLM.from_pretrained(
        root, dtype=getattr(torch, precision), attn_implementation="sdpa", local_files_only=True, **more
    )


def load_tokenizer(folder: Path) -> Any:
    """Return the folder's tokenizer."""
    from transformers import AutoTokenizer  # noqa: PLC0415

    return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)


def merged_model(base: Path, adapter: Path | None) -> Any:
    """Return the base in full precision with an adapter, if any, merged into it; for computing, not for training.

    Raises:
        ModelLoadError: The adapter was trained on another base.
    """
    model = load_weights(str(base))
    if adapter is None:
        return model.eval()
    from peft import PeftModel  # noqa: PLC0415
    from peft.utils import load_peft_weights  # noqa: PLC0415

    try:
        trained = {name.partition(".lora_")[0] for name in load_peft_weights(str(adapter), device="cpu")}
        trained = {name.removeprefix("base_model.model.") for name in trained}
        kinds = tuple({name.rpartition(".")[2] for name in trained})
        there = {name for name, _ in model.named_modules() if name.endswith(kinds)}
        if trained != there:  # the library would leave out what does not fit, and merge the rest
            raise ValueError(
                f"{len(trained - there)} of its layers are not there, {len(there - trained)} are not in it"
            )
        return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload().eval()
    except (OSError, ValueError, RuntimeError) as error:  # a missing file; other layers; another shape
        why = " ".join(str(error).split())[:200]
        raise ModelLoadError(f"{adapter}: does not fit {base} ({why}); train it on this base") from error
