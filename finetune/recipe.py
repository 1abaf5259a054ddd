"""Recipes: complete YAML files that say how a model is made. No inheritance, no hidden defaults."""

from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from chatbot.errors import SettingsError

RECIPES = Path(__file__).parent / "recipes"


class Part(BaseModel):
    """One part of a recipe; a key that is not known, or is missing, is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class BaseRecipe(Part):
    """The model that is specialised."""

    path: str = Field(description="'embedded', a GGUF file, or a folder in the transformers format")
    licence: str
    four_bit: bool = Field(description="QLoRA: hold the frozen weights in 4 bits while training (GPU only)")


class DatasetRecipe(Part):
    """How examples are made from the answers."""

    rounds: int = Field(ge=1, description="groups of rows around each answer")
    passages_weights: tuple[float, float, float] = Field(description="how often 1, 2 and 3 passages are offered")
    budgets_tokens: tuple[int, ...] = Field(min_length=1, description="passage budgets to draw from; serving's first")
    questions_of_anchor: int = Field(ge=1, description="questions asked of a group's own answer")
    questions_of_others: int = Field(ge=1, description="questions asked of each further passage")
    most_sentences: int = Field(ge=1, le=4)
    within: float = Field(ge=0, le=1, description="cosine below the best sentence within which others join it")
    two_needed_share: float = Field(ge=0, le=1, description="of groups")
    partly_share: float = Field(ge=0, le=1, description="of groups")
    follow_up_share: float = Field(ge=0, le=1, description="of groups")
    abstain_weights: tuple[float, float, float] = Field(description="how often 1, 2 and 3 near misses are asked")
    off_topic_share: float = Field(ge=0, le=1, description="of groups")
    near_miss_margin: float = Field(ge=0, le=1, description="cosine that a near miss must stay below its own answer")
    near_miss_ceiling: float = Field(ge=0, le=1, description="cosine above which a passage may answer by chance")
    off_topic_questions: tuple[str, ...] = Field(min_length=1)
    most_answers: int = Field(ge=0, description="0: all; fewer for a quick run")
    labels: str = Field(description="file that says which sentences answer which question; empty: nearest in meaning")


class TeacherRecipe(Part):
    """Who writes further questions and replies."""

    path: str = Field(description="a GGUF file or an OpenAI-compatible URL; 'base' for the base model itself")
    licence: str
    threads: int = Field(ge=0)
    timeout_s: float = Field(gt=0, description="for one generation")


class DistillRecipe(Part):
    """What the teacher is asked for, and what of it is kept."""

    enabled: bool
    teacher: TeacherRecipe
    questions_per_answer: int = Field(ge=0)
    replies_per_answer: int = Field(ge=0)
    max_words: int = Field(ge=10)
    ask_without_passages: bool = Field(description="refuse replies that the teacher gives without the passages too")
    near_duplicate: float = Field(ge=0, le=1, description="cosine above which two questions are one")


class TrainRecipe(Part):
    """LoRA, loss on the reply alone."""

    rank: int = Field(ge=1)
    alpha: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    learning_rate: float = Field(gt=0)
    warmup_share: float = Field(ge=0, le=1)
    groups_per_step: int = Field(ge=1)
    steps: int = Field(ge=1)
    evaluate_every: int = Field(ge=1, description="steps; a checkpoint is kept as often")
    patience: int = Field(ge=1, description="evaluations without a better validation loss before it stops")
    validation_groups: int = Field(ge=1)
    max_tokens: int = Field(ge=128, description="longest group; no row is ever cut, a longer group is split")
    threads: int = Field(ge=0, description="CPU threads; 0: all")
    precision: Literal["float32", "bfloat16"]


class PruneRecipe(Part):
    """What is taken out of the model, and how it is healed. A pruned model no longer fits the base's own file."""

    enabled: bool
    layers: int = Field(ge=0, description="layers to take out")
    feed_forward: int = Field(ge=0, description="units to keep in each layer, a multiple of 32; 0: all")
    vocabulary: int = Field(ge=0, description="tokens to keep, a multiple of 32; 0: all")
    calibration_rows: int = Field(ge=1, description="rows that say what matters")
    heal_rows: int = Field(ge=0, description="rows whose replies the unpruned model writes anew, to heal with")
    heal_steps: int = Field(ge=0, description="steps of healing with the settings of `train`; 0: none")


class ExportRecipe(Part):
    """How the model is written for serving."""

    quantization: str = Field(description="e.g. Q8_0, Q4_K_M; the merged file is written in it")
    importance_rows: int = Field(ge=0, description="prompts for the importance matrix; 0: none")
    adapter: bool = Field(description="write the adapter alone as well")
    merged: bool = Field(description="write the merged, quantised model")
    max_logit_difference: float = Field(gt=0)
    max_divergence: float = Field(gt=0, description="mean KL divergence of the quantised file, nats a token")


class EvaluateRecipe(Part):
    """What is measured on the held-back split."""

    rows: int = Field(ge=1)
    bootstrap: int = Field(ge=0, description="resamples for the intervals")
    labels: str = Field(description="file of questions and the sentences that answer them; empty: none")
    compare: tuple[str, ...] = Field(description="further GGUF files to measure with the same prompts")


class PromoteRecipe(Part):
    """The gates before a model is registered for serving."""

    right_passage: float = Field(ge=0, le=1)
    grounded: float = Field(ge=0, le=1)
    abstains: float = Field(ge=0, le=1)
    wrong_abstentions: float = Field(ge=0, le=1)
    stops: float = Field(ge=0, le=1)


class Recipe(Part):
    """One whole run."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    seed: int
    base: BaseRecipe
    dataset: DatasetRecipe
    distill: DistillRecipe
    train: TrainRecipe
    prune: PruneRecipe
    export: ExportRecipe
    evaluate: EvaluateRecipe
    promote: PromoteRecipe

    @model_validator(mode="after")
    def _pruned_models_stand_alone(self) -> Self:
        if self.prune.enabled and self.export.adapter:
            raise ValueError("prune.enabled needs export.adapter: false (an adapter of a pruned model fits no file)")
        return self


def load_recipe(name: str) -> Recipe:
    """Return a recipe by the name of a shipped one, or by its file.

    Raises:
        SettingsError: There is no such recipe, or keys are unknown, missing or wrong; every one is named.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else RECIPES / f"{name}.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Recipe.model_validate(content)
    except FileNotFoundError as error:
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.yaml")))
        raise SettingsError(f"{name}: there is no such recipe; known are {known}, or name a .yaml file") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        rows = "; ".join(f"{'.'.join(map(str, row['loc'])) or 'file'}: {row['msg']}" for row in error.errors())
        raise SettingsError(f"{path}: {rows}") from error
