"""What the safety rules catch and where they fire without need: on their own examples and on examples set aside."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from chatbot.errors import KnowledgeError, Problem
from chatbot.evaluation.questions import Progress
from chatbot.evaluation.rates import Rate
from chatbot.pipeline import Gate
from chatbot.safety.gate import SafetyGate, right_outcome
from chatbot.safety.rules import RuleBook

Part = Literal["own examples, rules alone", "set aside"]
OWN: Part = "own examples, rules alone"
ASIDE: Part = "set aside"
SET_ASIDE = ("held-back.yaml", "held-back-2.yaml")


@dataclass(frozen=True, slots=True)
class Example:
    """One message and whether its group's card must come."""

    part: Part
    group: str
    is_urgent: bool  # an emergency or a crisis, not a request to decline
    text: str
    must_fire: bool
    fired: str | None  # the rule that fired
    is_right: bool


@dataclass(frozen=True, slots=True)
class SafetyResults:
    """Every example, and the phrases that the rules are made of."""

    examples: tuple[Example, ...]
    phrases: tuple[str, ...]

    def recall(self, part: Part, *, urgent: bool = True) -> Rate:
        """Return the share of messages that must fire and do."""
        own = [one for one in self.examples if one.part == part and one.must_fire and one.is_urgent == urgent]
        return Rate.of(own, lambda one: one.is_right)

    def alarms(self, part: Part, *, urgent: bool = True) -> Rate:
        """Return the share of messages that must not fire and do."""
        own = [one for one in self.examples if one.part == part and not one.must_fire and one.is_urgent == urgent]
        return Rate.of(own, lambda one: not one.is_right)

    def failures(self) -> list[Example]:
        """Return the examples that come out otherwise than they must."""
        return [one for one in self.examples if not one.is_right]

    def as_json(self) -> list[dict[str, Any]]:
        """Return a row for each example."""
        return [asdict(one) for one in self.examples]


def measure_safety(rules: RuleBook, gate: Gate, progress: Progress) -> SafetyResults:
    """Return what fires on every example.

    The rules' own examples are put to the rules alone: the semantic half of the gate knows them by heart. Examples set
    aside in ``held-back*.yaml``, where a clinic has some, are put to the whole gate.

    Raises:
        KnowledgeError: A file of examples set aside cannot be read.
    """
    alone: Gate = SafetyGate(rules, None)
    own = {
        group.id: {"must_fire": group.must_fire, "must_not_fire": group.must_not_fire}
        for group in rules.groups.values()
    }
    rows: list[tuple[Part, Gate, str, str, bool]] = [(OWN, alone, *row) for row in _rows(own)]
    rows += [(ASIDE, gate, *row) for row in _rows(read_set_aside(rules))]
    examples = []
    for done, (part, judge, group, text, must_fire) in enumerate(rows, 1):
        examples.append(_example(rules, part, judge, group, text, must_fire))
        progress(done, len(rows))
    return SafetyResults(tuple(examples), tuple(phrases_of(rules)))


def _example(rules: RuleBook, part: Part, gate: Gate, group: str, text: str, must_fire: bool) -> Example:
    verdict = gate.check(text, ())
    is_right = right_outcome(verdict, rules.outcome(group)) if must_fire else verdict is None
    rule = verdict.rule_id if verdict is not None else None
    return Example(part, group, rules.groups[group].kind != "declined", text, must_fire, rule, is_right)


def _rows(groups: Mapping[str, Mapping[str, Sequence[str]]]) -> Iterator[tuple[str, str, bool]]:
    for group, both in groups.items():
        yield from ((group, text, True) for text in both["must_fire"])
        yield from ((group, text, False) for text in both["must_not_fire"])


def read_set_aside(rules: RuleBook) -> dict[str, dict[str, list[str]]]:
    """Return the examples that no rule was written from, by group."""
    found: dict[str, dict[str, list[str]]] = {}
    for path in [(rules.folder or Path()) / name for name in SET_ASIDE]:
        if not path.is_file():
            continue
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            for group, both in content.items():
                kept = found.setdefault(str(rules.groups[group].id), {"must_fire": [], "must_not_fire": []})
                for name, texts in kept.items():
                    texts += [str(text) for text in both[name]]
        except (OSError, UnicodeDecodeError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
            message = "must hold must_fire and must_not_fire lists by a known group's id"
            told = Problem(f"safety/{path.name}", "", f"{message} ({type(error).__name__}: {error})")
            raise KnowledgeError([told]) from error
    return found


def phrases_of(rules: RuleBook) -> Iterator[str]:
    """Yield every phrase that a rule can fire on, with its place: removing one is a clinician's decision."""
    for group in rules.groups.values():
        for name, words in group.words.items():
            yield from (f"{group.id}, words {name}: {word}" for word in words)
        for rule in group.rules:
            parts = [phrase.strip() for part in (*rule.any, *rule.all, *rule.who) for phrase in part.split("|")]
            yield from (f"{group.id}, rule {rule.id}: {phrase}" for phrase in parts if phrase)
