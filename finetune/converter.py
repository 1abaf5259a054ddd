"""llama.cpp's own conversion scripts, out of the source package of llama-cpp-python, checked by hash and cached.

The scripts are not in the wheel. They come from the package registry as the source of the same version, and only
what is needed is unpacked: ``convert_hf_to_gguf.py``, ``convert_lora_to_gguf.py``, ``conversion/``, ``gguf-py/`` (MIT).
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from platformdirs import user_cache_path

from chatbot.errors import ModelLoadError
from finetune.stage import hash_of

# version → sha256 of the source package as the registry serves it
SOURCES = {"0.3.36": "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"}
FOLDER_VARIABLE = "HEALTHFAQ_CONVERTER"  # a folder that already has the scripts, for machines without a network
_WANTED = ("convert_hf_to_gguf.py", "convert_lora_to_gguf.py", "conversion/", "gguf-py/")
# Runs a script with one function replaced: how a text is cut before merging (`tokenizer.ggml.pre`) is taken from the
# base's own file, because a trimmed vocabulary no longer has the fingerprint that the converter looks for.
_RUNNER = """
import os, runpy, sys
from pathlib import Path
script = sys.argv[1]
sys.path.insert(0, str(Path(script).parent / "gguf-py"))
sys.path.insert(0, str(Path(script).parent))
sys.argv = sys.argv[1:]
if pre := os.environ.get("HEALTHFAQ_PRE_TOKENIZER"):
    from conversion import base
    base.TextModel.get_vocab_base_pre = lambda self, tokenizer: pre
runpy.run_path(script, run_name="__main__")
"""


def converter_folder() -> Path:
    """Return the folder with the scripts, fetching them the first time.

    Raises:
        ModelLoadError: The version is not known, the registry cannot be reached, or the package is not the pinned one.
    """
    if own := os.environ.get(FOLDER_VARIABLE):
        if not (Path(own) / "convert_hf_to_gguf.py").is_file():
            raise ModelLoadError(f"{own}: holds no convert_hf_to_gguf.py; correct {FOLDER_VARIABLE}")
        return Path(own)
    version = importlib.metadata.version("llama-cpp-python")
    if version not in SOURCES:
        known = ", ".join(SOURCES)
        raise ModelLoadError(
            f"no pinned source for llama-cpp-python {version} (known: {known}); install a known one, "
            f"or unpack its source and set {FOLDER_VARIABLE}"
        )
    folder = user_cache_path("health-faq-chatbot") / f"converter-{version}-{SOURCES[version][:12]}"
    if not folder.is_dir():
        _fetch(version, folder)
    return folder


def _fetch(version: str, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        source = ["--no-deps", "--no-binary", "llama-cpp-python", "--dest", work, f"llama-cpp-python=={version}"]
        command = [sys.executable, "-m", "pip", "download", "--quiet", *source]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        archives = list(Path(work).glob("llama_cpp_python-*.tar.gz"))
        if not archives:
            why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ModelLoadError(
                f"the source of llama-cpp-python {version} cannot be fetched ({why}); try again online"
            )
        if hash_of(archives[0]) != SOURCES[version]:
            raise ModelLoadError(f"the source of llama-cpp-python {version} is not the pinned one; do not use it")
        unpacked = Path(work) / "scripts"
        unpack(archives[0], unpacked)
        shutil.move(unpacked, folder)


def unpack(archive: Path, folder: Path) -> None:
    """Write the scripts of a source package to a folder; nothing else of it is unpacked."""
    with tarfile.open(archive) as source:
        for member in source:
            _, _, inner = member.name.partition("/vendor/llama.cpp/")
            if member.isfile() and inner.startswith(_WANTED):
                member.name = inner
                source.extract(member, folder, filter="data")


def convert_model(model: Path, gguf: Path, *, kind: str = "f16", pre_tokenizer: str = "") -> None:
    """Write a transformers folder as GGUF.

    Raises:
        ModelLoadError: The converter refused it.
    """
    _convert("convert_hf_to_gguf.py", [str(model), "--outfile", str(gguf), "--outtype", kind], pre_tokenizer)


def convert_adapter(adapter: Path, base: Path, gguf: Path, *, kind: str = "f16") -> None:
    """Write a peft adapter as GGUF.

    Raises:
        ModelLoadError: The converter refused it.
    """
    _convert(
        "convert_lora_to_gguf.py", [str(adapter), "--base", str(base), "--outfile", str(gguf), "--outtype", kind], ""
    )


def _convert(script: str, arguments: list[str], pre_tokenizer: str) -> None:
    path = converter_folder() / script
    environment = {**os.environ, "HEALTHFAQ_PRE_TOKENIZER": pre_tokenizer, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _RUNNER, str(path), *arguments],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ModelLoadError(f"{script} failed: {why[:300]}")
