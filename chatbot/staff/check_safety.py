"""The safety rules' own examples: what must fire does, what must not does not."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from chatbot.errors import Problem
from chatbot.reply import Outcome
from chatbot.safety.fitting import examples_of, fingerprint
from chatbot.safety.gate import Verdict
from chatbot.safety.rules import RuleBook

QUOTED = 90
URGENCY = (Outcome.EMERGENCY, Outcome.CRISIS, Outcome.DECLINED)  # a more urgent card than asked for is no fault


class CheckedGate(Protocol):
    """A gate that says which rules it was made from; see ``safety.SafetyGate``."""

    @property
    def rules(self) -> RuleBook:
        """The rules in force."""

    @property
    def weights_made_of(self) -> str | None:
        """The fingerprint of the examples that its weights were made of, or None without weights."""

    def check(self, message: str) -> Verdict | None:
        """Return the verdict of the first rule that fires, or None."""

    def prepare(self, messages: Sequence[str]) -> None:
        """Do what takes longest for many messages at once."""


def example_problems(gate: CheckedGate) -> Iterator[Problem]:
    """Yield a warning for each example of a rule file that comes out otherwise than the file says.

    They are warnings, because a rule file that cannot be used at all is an error already, and wording that no rule
    catches yet is better written down as an example than kept out of the file.
    """
    folder = gate.rules.folder
    place = f"safety/{folder.name}" if folder is not None and folder.name != "safety" else "safety"
    if gate.weights_made_of not in (None, fingerprint(examples_of(gate.rules))):
        message = "were made of other examples than stand in the files; make them anew, see safety/README.md"
        yield Problem(f"{place}/likeness.json", "weights", message, "warning")
    for group in gate.rules.groups.values():
        path = f"{place}/{group.id}.yaml"
        gate.prepare([*group.must_fire, *group.must_not_fire])
        for example in group.must_fire:
            verdict = gate.check(example)
            if verdict is None or URGENCY.index(verdict.outcome) > URGENCY.index(gate.rules.outcome(group.id)):
                came = "nothing" if verdict is None else verdict.rule_id
                message = f"{example[:QUOTED]!r} fires {came}; add its words to a rule of this file, or take it out"
                yield Problem(path, "must_fire", message, "warning")
        for example in group.must_not_fire:
            verdict = gate.check(example)
            if verdict is not None and verdict.rule_id.partition("/")[0] == group.id:
                message = f"{example[:QUOTED]!r} fires {verdict.rule_id}; make that rule narrower, or take it out"
                yield Problem(path, "must_not_fire", message, "warning")
    harmless = gate.rules.harmless.must_not_fire if gate.rules.harmless else ()
    gate.prepare(harmless)
    for example in harmless:
        if (verdict := gate.check(example)) is not None:
            message = f"{example[:QUOTED]!r} fires {verdict.rule_id}; make that rule narrower"
            yield Problem(f"{place}/harmless.yaml", "must_not_fire", message, "warning")
