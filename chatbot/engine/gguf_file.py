"""What a GGUF file says about itself, read without the model library.

llama.cpp dies with a segmentation fault on some damaged or unfitting files, and takes its program with it.
These checks find such files first. They read the header alone, in well under a second.

Source: the GGUF specification, ggml-org/ggml ``docs/gguf.md``; adapter rules: llama.cpp ``src/llama-adapter.cpp``.
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatbot.errors import ModelLoadError

MAGIC = b"GGUF"
CONTROL_TOKEN, USER_TOKEN = 3, 4  # llama_token_type: these are found in any text before it is tokenized

_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9

# ggml type → (values in a block, bytes of a block); a type that is not here has its offset checked alone.
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor's place in the file."""

    shape: tuple[int, ...]  # innermost first, as llama.cpp counts
    kind: int
    offset: int  # bytes from the start of the data


@dataclass(frozen=True, slots=True)
class GgufFile:
    """A GGUF file's header."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @property
    def architecture(self) -> str:
        """The family of models, e.g. ``llama`` or ``qwen3``."""
        return str(self.metadata.get("general.architecture", ""))

    @property
    def control_tokens(self) -> tuple[str, ...]:
        """The texts that the tokenizer turns into control tokens, longest first."""
        texts = self.metadata.get("tokenizer.ggml.tokens", ())
        kinds = self.metadata.get("tokenizer.ggml.token_type", ())
        found = {
            text
            for text, kind in zip(texts, kinds, strict=False)
            if len(text) > 1 and (kind == CONTROL_TOKEN or (kind == USER_TOKEN and text[0] in "<["))
        }
        return tuple(sorted(found, key=lambda text: (-len(text), text)))


def check_model(path: Path) -> GgufFile:
    """Return the header of a complete chat model.

    Raises:
        ModelLoadError: The file is missing, not GGUF, cut short, an adapter, or has no chat template.
    """
    gguf = read_gguf(path)
    if gguf.metadata.get("general.type") == "adapter":
        raise ModelLoadError(f"{path}: is an adapter, not a model; name it as engine.lora and a model as engine.model")
    if not gguf.architecture or "token_embd.weight" not in gguf.tensors:
        raise ModelLoadError(f"{path}: is not a language model; choose a chat model with `healthfaq model use`")
    if not gguf.metadata.get("tokenizer.chat_template"):
        # llama-cpp-python would silently fall back to another model's format.
        raise ModelLoadError(f"{path}: has no chat template; choose an instruct (chat) model")
    return gguf


def check_lora(path: Path, base: GgufFile) -> GgufFile:
    """Return the header of a complete LoRA adapter that fits the base model.

    Raises:
        ModelLoadError: The file is missing, damaged, no adapter, or made for another model.
    """
    gguf = read_gguf(path)
    if gguf.metadata.get("general.type") != "adapter" or gguf.metadata.get("adapter.type") != "lora":
        raise ModelLoadError(f"{path}: is not a LoRA adapter; remove it from engine.lora")
    if gguf.architecture != base.architecture:
        made_for = f"made for a {gguf.architecture or 'nameless'} model, and {base.path.name} is {base.architecture}"
        raise ModelLoadError(f"{path}: {made_for}; use the adapter's own base model")
    pairs = {name.removesuffix(".lora_a") for name in gguf.tensors if name.endswith(".lora_a")}
    if not pairs:
        raise ModelLoadError(f"{path}: holds no LoRA tensors; export the adapter again")
    for name in sorted(pairs):
        _check_pair(path, name, gguf, base)
    return gguf


def _check_pair(path: Path, name: str, lora: GgufFile, base: GgufFile) -> None:
    a, b = lora.tensors[f"{name}.lora_a"].shape, lora.tensors.get(f"{name}.lora_b", Tensor((), 0, 0)).shape
    target = base.tensors.get(name)
    if target is None or len(a) < 2 or len(b) < 2 or a[1] != b[0]:
        raise ModelLoadError(f"{path}: its tensor {name} does not fit {base.path.name}; use its own base model")
    # The embedding table is the one tensor that llama.cpp multiplies from the other side.
    shape = (b[1], a[0]) if name == "token_embd.weight" else (a[0], b[1])
    if shape != target.shape[:2]:
        raise ModelLoadError(f"{path}: its tensor {name} is {shape}, not {target.shape[:2]}; use its own base model")


def read_gguf(path: Path) -> GgufFile:
    """Return the header of a GGUF file whose tensors all lie inside the file.

    Raises:
        ModelLoadError: The file is missing, not GGUF, damaged or cut short.
    """
    try:
        with path.open("rb") as file:
            if file.read(4) != MAGIC:
                raise ModelLoadError(f"{path}: is not a GGUF file; fetch it again or choose another")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _Reader(content, path).header()
    except FileNotFoundError as error:
        raise ModelLoadError(f"{path}: there is no such model file; see `healthfaq model list`") from error
    except OSError as error:
        raise ModelLoadError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    except (struct.error, ValueError, UnicodeDecodeError, OverflowError, MemoryError) as error:
        raise ModelLoadError(f"{path}: is damaged or cut short ({error}); fetch it again") from error


class _Reader:
    def __init__(self, content: mmap.mmap, path: Path) -> None:
        self._content = content
        self._path = path
        self._at = 4

    def header(self) -> GgufFile:
        version = self._scalar("<I")
        if version not in (2, 3):
            raise ValueError(f"GGUF version {version}")
        tensors, keys = self._count(24), self._count(13)
        metadata = {self._string(): self._value(self._scalar("<I")) for _ in range(keys)}
        table = {self._string(): self._tensor() for _ in range(tensors)}
        if not table:
            raise ValueError("no tensors")
        self._check_ends(table, int(metadata.get("general.alignment", 32)))
        return GgufFile(self._path, metadata, table)

    def _check_ends(self, table: Mapping[str, Tensor], alignment: int) -> None:
        if alignment < 1:
            raise ValueError(f"alignment {alignment}")
        start = -(-self._at // alignment) * alignment
        size = len(self._content)
        for name, tensor in table.items():
            values, width = _BLOCKS.get(tensor.kind, (1, 0))
            count = 1
            for length in tensor.shape:
                count *= length
            end = start + tensor.offset + -(-count // values) * width
            if end > size:
                raise ValueError(f"{name} ends at byte {end}, the file at {size}")

    def _tensor(self) -> Tensor:
        dimensions = self._scalar("<I")
        if dimensions > 4:
            raise ValueError(f"{dimensions} dimensions")
        shape = tuple(self._scalar("<Q") for _ in range(dimensions))
        return Tensor(shape, self._scalar("<I"), self._scalar("<Q"))

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._scalar(_SCALARS.get(kind, ""))
        inner = self._scalar("<I")
        if inner == _ARRAY:
            raise ValueError("an array of arrays")
        if inner == _STRING:
            return [self._string() for _ in range(self._count(8))]
        layout = _SCALARS.get(inner, "")
        width = struct.calcsize(layout)
        count = self._count(width)
        values = struct.unpack_from(f"<{count}{layout[1:]}", self._content, self._at)
        self._at += count * width
        return list(values)

    def _count(self, width: int) -> int:
        """Read a number of things, each at least ``width`` bytes, and believe it only if they fit the file."""
        count = self._scalar("<Q")
        if count * max(width, 1) > len(self._content) - self._at:
            raise ValueError(f"{count} entries in the {len(self._content) - self._at} bytes left")
        return int(count)

    def _string(self) -> str:
        length = self._count(1)
        raw = self._content[self._at : self._at + length]
        self._at += length
        return raw.decode("utf-8", errors="replace")

    def _scalar(self, layout: str) -> Any:
        if not layout:
            raise ValueError("a value of unknown type")
        (value,) = struct.unpack_from(layout, self._content, self._at)
        self._at += struct.calcsize(layout)
        return value
