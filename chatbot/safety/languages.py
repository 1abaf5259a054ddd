"""The gates of every language the clinic serves, as one: a red flag fires whatever language the page is in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chatbot.reply import Outcome, Turn
from chatbot.safety.gate import SafetyGate, Verdict
from chatbot.safety.rules import RuleBook

URGENCY = (Outcome.EMERGENCY, Outcome.CRISIS, Outcome.DECLINED)


@dataclass(frozen=True, slots=True)
class GateOfLanguages:
    """Asks the gate of every language, for a message may begin in one and cry for help in another (a Gate)."""

    first: SafetyGate
    language: str  # the first one's code
    others: Mapping[str, SafetyGate]
    language_of: Callable[[str], str | None]

    @property
    def rules(self) -> RuleBook:
        """The first language's rule book."""
        return self.first.rules

    @property
    def every(self) -> tuple[SafetyGate, ...]:
        """The gate of each language, the first one first."""
        return (self.first, *self.others.values())

    def check(self, message: str, history: Sequence[Turn] = ()) -> Verdict | None:
        """Return the most urgent verdict; where two are alike, that of the language the message is clearly in."""
        verdict = self.first.check(message, history)
        if not self.others:
            return verdict
        spoken = self.language_of(message)
        verdicts = [(code, gate.check(message, history)) for code, gate in self.others.items()]
        found = [(self.language, verdict), *verdicts]
        fired = [(URGENCY.index(one.outcome), code != spoken, one) for code, one in found if one is not None]
        return min(fired, key=lambda one: one[:2], default=(0, True, None))[2]
