"""The gate in front of everything: emergencies, crises and requests that must be declined."""

from collections.abc import Sequence
from dataclasses import dataclass

from chatbot.knowledge import GreetingText
from chatbot.reply import Outcome


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which rule fired, on which words, and the fixed text the patient reads."""

    outcome: Outcome  # EMERGENCY, CRISIS or DECLINED
    rule_id: str
    text: str  # Markdown, the clinic's numbers filled in
    matched: tuple[str, ...] = ()
    error: str | None = None

    @classmethod
    def of_failure(cls, text: str, error: BaseException) -> "Verdict":
        """Return the verdict for a gate that could not decide: the clinic's emergency text."""
        return cls(Outcome.EMERGENCY, "safety-gate-failed", text, error=f"{type(error).__name__}: {error}")


def greeting_for(message: str, greetings: Sequence[GreetingText]) -> str | None:
    """Return the greeting's text when the message holds nothing but its phrases, else None."""
    words = "".join(c if c.isalnum() or c in "' " else " " for c in message.casefold()).split()
    for greeting in greetings:
        rest = f" {' '.join(words)} "
        for phrase in sorted(greeting.phrases, key=len, reverse=True):
            rest = rest.replace(f" {phrase.casefold()} ", "  ")
        if words and not rest.strip():
            return greeting.text
    return None
