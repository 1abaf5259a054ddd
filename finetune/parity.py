"""Is what was exported what was trained? Tokens, templates and logits, compared; any red blocks the export."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chatbot.prompting import Message

# Texts on which tokenizers are known to differ: numbers, units, signs, accents, spaces, line ends, other scripts.
CANARIES = (
    "100.4 °F (38 °C)", "1,000 mg / 2.5 mL – 3×/day", "don't  double   space", "\n\n- item\n1. one\n", 
    "naïve café façade",
    "Call 911 now if:", "[1] [12]", "β-blocker µg ≥ 5%", "A1C<7.0%", "¿Dónde está?", "你好 مرحبا", "👶🏽🤒",
    "<|im_start|>user",
    "www.example.org/a_b?c=1&d=2", "\tTab and trailing space ", "ﬁne ½ cup",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison and its verdict."""

    name: str
    passed: bool
    found: str


def token_checks(tokenizer: Any, tokenizer_file: Path, gguf: Any, chats: Sequence[list[Message]]) -> list[Check]:
    """Compare the tokenizer as trained with, its file read alone, and the GGUF's, on canaries and rendered chats."""
    from tokenizers import Tokenizer  # noqa: PLC0415

    plain = Tokenizer.from_file(str(tokenizer_file))
    texts = [*CANARIES, *(_render(tokenizer, chat) for chat in chats)]
    ours = [tokenizer(text, add_special_tokens=False).input_ids for text in texts]
    by_file = [plain.encode(text, add_special_tokens=False).ids for text in texts]
    by_gguf = [gguf.tokens(text) for text in texts]
    wrong_file = [text for text, a, b in zip(texts, ours, by_file, strict=True) if a != b]
    wrong_gguf = [text for text, a, b in zip(texts, ours, by_gguf, strict=True) if a != b]
    wrong_chat = [chat for chat in chats if gguf.rendered(chat) != _render(tokenizer, chat)]
    return [
        _none_differ("token ids: transformers and tokenizer.json", wrong_file, len(texts)),
        _none_differ("token ids: transformers and GGUF", wrong_gguf, len(texts)),
        _none_differ("rendered chats: transformers and GGUF", wrong_chat, len(chats)),
    ]


def _render(tokenizer: Any, chat: list[Message]) -> str:
    return str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))


def _none_differ(name: str, wrong: Sequence[object], total: int) -> Check:
    found = f"{total - len(wrong)} of {total} the same" + (
        f"; first difference: {str(wrong[0])[:80]!r}" if wrong else ""
    )
    return Check(name, not wrong, found)


def logit_check(
    name: str, ours: Sequence[npt.NDArray[np.float32]], theirs: Sequence[npt.NDArray[np.float32]], *, most: float
) -> Check:
    """Compare logits position by position, each shape ``(n, vocabulary)``; none may differ by more than ``most``."""
    largest = max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True))
    correlation = min(float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for a, b in zip(ours, theirs, strict=True))
    return Check(
        name, largest <= most, f"largest difference {largest:.4f} (at most {most}), correlation {correlation:.7f}"
    )


@dataclass(frozen=True, slots=True)
class Divergence:
    """How far one model's next-token distributions are from another's."""

    mean_kl: float  # nats a token
    same_first: float  # share of positions with the same most likely token


def divergence(ours: Sequence[npt.NDArray[np.float32]], theirs: Sequence[npt.NDArray[np.float32]]) -> Divergence:
    """Return the mean KL divergence of ``theirs`` from ``ours`` and how often both would write the same token."""
    kl, same = [], []
    for a, b in zip(ours, theirs, strict=True):
        p, q = _log_softmax(a), _log_softmax(b)
        kl.append((np.exp(p) * (p - q)).sum(axis=1))
        same.append(a.argmax(axis=1) == b.argmax(axis=1))
    return Divergence(float(np.concatenate(kl).mean()), float(np.concatenate(same).mean()))


def divergence_check(name: str, found: Divergence, *, most_kl: float, least_same: float = 0.88) -> Check:
    """Judge a divergence."""
    passed = found.mean_kl <= most_kl and found.same_first >= least_same
    same = f"same first token {found.same_first:.1%} (at least {least_same:.0%})"
    return Check(name, passed, f"mean KL {found.mean_kl:.4f} nats (at most {most_kl}), {same}")


def _log_softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def as_markdown(checks: Sequence[Check]) -> str:
    """Return the checks as a table."""
    rows = "\n".join(f"| {'green' if check.passed else '**red**'} | {check.name} | {check.found} |" for check in checks)
    return f"| | check | found |\n|---|---|---|\n{rows}\n"
