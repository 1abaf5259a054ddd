"""Writes a GGUF in fewer bits through llama-cpp-python's binding, with the importance matrix where there is one."""

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chatbot.errors import ModelLoadError, SettingsError

Importance = Mapping[str, npt.NDArray[np.float32]]  # GGUF tensor name → mean squared input, one value a column


def quantise(
    source: Path, target: Path, quantization: str, *, importance: Importance | None = None, threads: int = 0
) -> None:
    """Write ``source`` (f16 or f32) to ``target`` in the named quantization, e.g. ``Q8_0`` or ``Q4_K_M``.

    Raises:
        SettingsError: There is no quantization of that name.
        ModelLoadError: The library could not write the file.
    """
    import llama_cpp  # noqa: PLC0415 - loads a shared library

    kind = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{quantization}", None)
    if kind is None:
        raise SettingsError(
            f"export.quantization: {quantization} is not known; use Q8_0, Q6_K, Q5_K_M, Q4_K_M or IQ4_XS"
        )
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = kind
    parameters.nthread = threads
    kept_alive = _importance_array(llama_cpp, importance) if importance else None
    if kept_alive is not None:
        parameters.imatrix = kept_alive[0]
    if llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(parameters)) != 0:
        target.unlink(missing_ok=True)
        raise ModelLoadError(f"{source} cannot be quantised to {quantization}")


def _importance_array(llama_cpp: Any, importance: Importance) -> tuple[Any, list[Any]]:
    """Return the ctypes rows, and what must stay alive as long as they are used."""
    rows = (llama_cpp.llama_model_imatrix_data * (len(importance) + 1))()  # a row without a name ends it
    held: list[Any] = []
    for row, (name, values) in zip(rows, sorted(importance.items()), strict=False):
        column = np.ascontiguousarray(values, dtype=np.float32)
        held.append((name.encode(), column))
        row.name = held[-1][0]
        row.data = column.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        row.size = column.size
    return rows, held
