"""The larger model that writes further questions and replies: a GGUF file here, or any OpenAI-compatible URL."""

import os
import time
from pathlib import Path
from typing import Any, Protocol

import httpx

from chatbot.errors import HealthFaqError, ModelLoadError
from chatbot.prompting import Message
from finetune.base_model import gguf_of
from finetune.gguf_model import GgufModel
from finetune.recipe import TeacherRecipe

KEY_VARIABLE = "HEALTHFAQ_TEACHER_KEY"


class TeacherError(HealthFaqError):
    """The teacher gave nothing usable for one request."""


class UnfinishedText(TeacherError):
    """The teacher is well, but this text did not end within its tokens."""


class Teacher(Protocol):
    """Writes one text for some messages."""

    @property
    def name(self) -> str:
        """What is noted on every row that it wrote."""

    def write(self, messages: list[Message], *, most_tokens: int) -> str:
        """Return a whole text.

        Raises:
            TeacherError: It did not answer, broke off, or ran out of tokens.
        """

    def close(self) -> None:
        """Free what it holds."""


class GgufTeacher:
    """A model file in this process; greedy."""

    def __init__(self, path: Path, recipe: TeacherRecipe) -> None:
        self.name = path.stem
        self._model = GgufModel(path, threads=recipe.threads, context_tokens=3072)

    def write(self, messages: list[Message], *, most_tokens: int) -> str:
        """Return the text; a text that does not end by itself is refused."""
        try:
            drafted = self._model.reply(messages, most_tokens=most_tokens)
        except (ValueError, RuntimeError) as error:
            raise TeacherError(f"{self.name}: {error}") from error
        if not drafted.stopped:
            raise UnfinishedText(f"{self.name}: did not end within {most_tokens} tokens")
        return drafted.text

    def close(self) -> None:
        """Free the memory."""
        self._model.close()


class HttpTeacher:
    """A model behind an OpenAI-compatible URL; its key comes from the environment alone."""

    def __init__(self, url: str, recipe: TeacherRecipe, client: httpx.Client | None = None) -> None:
        key = os.environ.get(KEY_VARIABLE, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.name = url
        self._url = f"{url.rstrip('/').removesuffix('/v1')}/v1/chat/completions"
        self._client = client or httpx.Client(timeout=recipe.timeout_s, headers=headers)

    def write(self, messages: list[Message], *, most_tokens: int) -> str:
        """Return the text; a refusal, a timeout and an answer of another shape are all one clear error."""
        request = {"model": "default", "messages": messages, "temperature": 0, "max_tokens": most_tokens}
        began = time.monotonic()
        try:
            answer = self._client.post(self._url, json=request)
            answer.raise_for_status()
            choice: dict[str, Any] = answer.json()["choices"][0]
            text = str(choice["message"]["content"]).strip()
        except httpx.TimeoutException as error:
            raise TeacherError(f"{self.name}: no answer within {time.monotonic() - began:.0f} s") from error
        except httpx.HTTPError as error:
            raise TeacherError(f"{self.name}: {error}") from error
        except (ValueError, LookupError, TypeError) as error:
            raise TeacherError(f"{self.name}: its answer is not a chat completion") from error
        if choice.get("finish_reason") == "length":
            raise UnfinishedText(f"{self.name}: did not end within {most_tokens} tokens")
        return text

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def open_teacher(recipe: TeacherRecipe, *, base: str) -> Teacher:
    """Return the recipe's teacher.

    Raises:
        ModelLoadError: Its file is missing or no chat model.
    """
    if recipe.path.startswith(("http://", "https://")):
        return HttpTeacher(recipe.path, recipe)
    path = gguf_of(base if recipe.path == "base" else recipe.path)
    if path is None:
        raise ModelLoadError(f"{recipe.path}: a teacher is a GGUF file or an OpenAI-compatible URL, not a folder")
    return GgufTeacher(path, recipe)
