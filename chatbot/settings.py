"""Runtime settings: one YAML file, every field with its unit and a safe default."""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chatbot.errors import SettingsError

PROJECT = Path(__file__).resolve().parent.parent


HostName = Annotated[str, Field(pattern=r"^[a-z0-9.-]+$")]
Origin = Annotated[str, Field(pattern=r"^https?://[a-z0-9.-]+(:\d+)?$")]


class Frozen(BaseModel):
    """Settings never change while the program runs; a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EngineSettings(Frozen):
    """How the language model is run. Keys for remote servers come from the environment only."""

    model: str = Field(default="", description="name or GGUF file; empty: what `healthfaq model use` chose")
    lora: Path | None = Field(default=None, description="GGUF adapter laid over the model")
    urls: tuple[str, ...] = Field(default=(), description="OpenAI-compatible servers to use instead of a local model")
    slots: int = Field(default=1, ge=1, le=1024, description="replies that each of these servers writes at once")
    remote_model: str = Field(default="default", description="model name sent to remote servers")
    remote_options: dict[str, Any] = Field(default={}, description="further fields of each request to them")
    key_variable: str = Field(default="HEALTHFAQ_API_KEY", description="environment variable that holds their key")
    threads: int = Field(default=0, ge=0, le=256, description="CPU threads; 0: one for each core that is free")
    context_tokens: int = Field(default=2048, ge=512, le=131072)
    batch_tokens: int = Field(default=128, ge=32, le=4096)
    passage_tokens: int = Field(default=700, ge=100, le=8000, description="budget for vetted text in the prompt")
    reply_timeout_s: float = Field(default=30, gt=0, description="a reply ends with its vetted text after so long")
    start_timeout_s: float = Field(default=60, gt=0)
    queue_length: int = Field(default=20, ge=0, description="replies that may wait for the model")
    queue_per_patient: int = Field(
        default=1,
        ge=0,
        description="replies that a caller who names the patient may wait for at once, 0: no limit; "
        "a tab of the page has one turn at a time anyway, a new question ends the one before",
    )
    memory_limit_mib: int = Field(
        default=0, ge=0, description="its process is restarted above this; 0: half more than at its start, and 512"
    )


class CheckSettings(Frozen):
    """When `healthfaq check` calls something a problem. Shares are of the questions an answer must be found for."""

    min_found: float = Field(default=0.85, ge=0, le=1, description="answered right, or right among 'did you mean'")
    max_wrong: float = Field(default=0.05, ge=0, le=1, description="answered with another answer")
    max_grade: float = Field(default=8, gt=0, description="US school grade; above it an answer is hard to read")
    due_soon_days: int = Field(default=30, ge=0, description="a review that ends so soon is told")


class EvalSettings(Frozen):
    """When `healthfaq eval --gate` is red, beside the limits of `check`. Shares lie in [0, 1], their point estimates count."""

    max_out_of_scope_answered: float = Field(default=0.05, ge=0, le=1, description="answered though nothing fits")
    min_own_red_flags: float = Field(default=0.9, ge=0, le=1, description="own must_fire examples, rules alone")
    min_red_flags: float = Field(default=0.9, ge=0, le=1, description="emergencies and crises set aside that are found")
    max_false_alarms: float = Field(default=0.08, ge=0, le=1, description="near-misses set aside that fire")
    max_other_answer: float = Field(default=0.05, ge=0, le=1, description="another wording gets another answer")
    min_same_after_restart: float = Field(default=1.0, ge=0, le=1, description="word for word the same reply")
    max_refused: float = Field(default=0.35, ge=0, le=1, description="generated sentences that grounding refuses")
    max_unsupported: float = Field(
        default=0.0, ge=0, le=1, description="shown sentences a second look finds no basis for"
    )
    max_first_text_ms: float = Field(default=1000, gt=0, description="median milliseconds to the first text")
    max_swapped: int = Field(default=0, ge=0, description="answers whose texts fit each other's questions better")
    max_phrases_gone: int = Field(
        default=0, ge=0, description="red-flag phrases taken out since the accepted evaluation"
    )
    max_flags_lost: int = Field(default=0, ge=0, description="red flags found then and not now")
    max_newly_wrong: int = Field(default=3, ge=0, description="questions that newly get a wrong answer")
    max_watt_hours: float = Field(default=0.3, gt=0, description="watt-hours an answer, in each mode")
    core_watts: float = Field(
        default=10, gt=0, description="watts of a busy core with its memory, where no energy counter can be read"
    )


class GapSettings(Frozen):
    """The record of questions that found no answer. It holds patients' words, so it is off until staff switch it on."""

    record: bool = Field(default=False, description="keep such questions, obvious personal data taken out")
    keep_days: int = Field(default=90, ge=1, le=3650, description="older ones are deleted")
    url: str = Field(
        default="",
        description="database, as in postgresql+psycopg://user@host/name (the password is read from PGPASSFILE or "
        "PGPASSWORD); empty: gaps.db in the state folder",
    )


class Settings(Frozen):
    """Everything an operator may set; see the README for the file's format."""

    knowledge: Path = PROJECT / "knowledge"
    state: Path = Field(default_factory=lambda: user_data_path("health-faq-chatbot"), description="index, models")
    mode: Literal["verbatim", "guided"] = "guided"
    reviewed_only: bool = False
    host: str = "127.0.0.1"
    port: int = Field(default=7860, ge=1, le=65535)
    staff_host: str = Field(default="127.0.0.1", description="other than this machine's own asks for a token")
    staff_port: int = Field(default=7861, ge=0, le=65535, description="0: no staff page")
    hosts: tuple[HostName, ...] = Field(
        default=(), description="names the page answers to, beside localhost, this machine's name and plain addresses"
    )
    embed_origins: tuple[Origin, ...] = Field(
        default=(), description="web sites that may show the page in a frame, as https://www.example.org"
    )
    idle_minutes: float = Field(default=10, ge=0, description="a page nobody touches is wiped after these; 0: never")
    explain: bool = Field(default=False, description="say why below each reply: for demonstrations, not for patients")
    engine: EngineSettings = EngineSettings()
    check: CheckSettings = CheckSettings()
    gaps: GapSettings = GapSettings()
    eval: EvalSettings = EvalSettings()


def load_settings(path: Path | None) -> Settings:
    """Return the settings of a file, or the defaults when no file is named.

    Paths in the file are taken from the file's own folder.

    Raises:
        SettingsError: The file is missing, not YAML, or has keys or values that are not allowed.
    """
    if path is None:
        return Settings()
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        settings = Settings.model_validate(content)
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: there is no such settings file; check the name after --settings") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        rows = "; ".join(f"{'.'.join(map(str, row['loc']))}: {row['msg']}" for row in error.errors())
        raise SettingsError(f"{path}: {rows}") from error
    base = path.resolve().parent
    engine = settings.engine
    if engine.lora is not None:
        engine = engine.model_copy(update={"lora": base / engine.lora})
    if engine.model.endswith(".gguf"):
        engine = engine.model_copy(update={"model": str(base / engine.model)})
    paths = {"knowledge": base / settings.knowledge, "state": base / settings.state}
    return settings.model_copy(update={**paths, "engine": engine})
