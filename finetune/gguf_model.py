"""One GGUF file in this process, for checking and measuring it: its tokens, its logits, its greedy replies."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chatbot.engine.gguf_file import check_lora, check_model
from chatbot.errors import ModelLoadError
from chatbot.prompting import MAX_REPLY_TOKENS, Message

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Drafted:
    """What a model wrote, and how it went."""

    text: str
    stopped: bool  # ended its turn by itself
    prompt_tokens: int
    reply_tokens: int
    prompt_seconds: float
    reply_seconds: float


class GgufModel:
    """A model with or without an adapter; greedy, so the same prompt gives the same reply."""

    def __init__(
        self,
        path: Path,
        *,
        lora: Path | None = None,
        context_tokens: int = 2048,
        threads: int = 0,
        every_logit: bool = False,
    ) -> None:
        """Check the files first, because the library dies on some damaged ones, then load them.

        Raises:
            ModelLoadError: The model or the adapter is missing, damaged, or does not fit.
        """
        base = check_model(path)
        if lora is not None:
            check_lora(lora, base)
        import llama_cpp  # noqa: PLC0415 - loads a shared library
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter  # noqa: PLC0415

        self._api = llama_cpp
        try:
            self._llama = llama_cpp.Llama(
                str(path), lora_path=str(lora) if lora else None, n_ctx=context_tokens, n_batch=512, verbose=False,
                n_threads=threads or None, n_threads_batch=threads or None, logits_all=every_logit,
            )  # fmt: skip
        except (ValueError, RuntimeError) as error:
            raise ModelLoadError(f"{path}: cannot be loaded: {error}") from error
        if lora is not None and not self._llama._lora_adapter:  # a null pointer is not None to the library
            raise ModelLoadError(f"{lora}: the adapter could not be loaded; export it again")
        self.template = str(base.metadata["tokenizer.chat_template"])
        self._formatter = Jinja2ChatFormatter(self.template, self._token_text("eos"), self._token_text("bos"))
        self._vocabulary = llama_cpp.llama_model_get_vocab(self._llama.model)

    def _token_text(self, kind: str) -> str:
        token = getattr(self._llama, f"token_{kind}")()
        return str(self._llama._model.token_get_text(token)) if token != -1 else ""

    def rendered(self, messages: list[Message]) -> str:
        """Return the prompt as the file's own template writes it."""
        return str(self._formatter(messages=messages).prompt)

    def tokens(self, text: str) -> list[int]:
        """Return the text's tokens; special tokens in it are taken as such."""
        return list(self._llama.tokenize(text.encode(), add_bos=False, special=True))

    def logits(self, tokens: list[int]) -> Logits:
        """Return the logits after each token, shape ``(len(tokens), vocabulary)``; needs ``every_logit``."""
        self._llama.reset()
        self._llama.eval(tokens)
        return np.array(self._llama.scores[: len(tokens)], dtype=np.float32)

    def reply(self, messages: list[Message], *, most_tokens: int = MAX_REPLY_TOKENS) -> Drafted:
        """Return what the model writes for these messages."""
        tokens = self.tokens(self.rendered(messages))
        written: list[int] = []
        stopped = False
        began = first = time.perf_counter()
        generation: Any = self._llama.generate(tokens, temp=0.0, repeat_penalty=1.0)
        for token in generation:
            if not written:
                first = time.perf_counter()
            if self._api.llama_vocab_is_eog(self._vocabulary, token):
                stopped = True
                break
            written.append(token)
            if len(written) >= most_tokens:
                break
        generation.close()
        text = self._llama.detokenize(written).decode("utf-8", errors="replace").strip()
        return Drafted(text, stopped, len(tokens), len(written), first - began, time.perf_counter() - first)

    def close(self) -> None:
        """Free the memory."""
        self._llama.close()
