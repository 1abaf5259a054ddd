"""The safety gate with the real embedder."""

from dataclasses import replace
from pathlib import Path

import pytest

from chatbot.embedder import MiniLM
from chatbot.errors import Problem
from chatbot.knowledge import Clinic, read_model
from chatbot.reply import Outcome
from chatbot.safety.fitting import examples_of, fingerprint
from chatbot.safety.gate import SafetyGate, right_outcome
from chatbot.safety.meaning import LIKENESS_FILE, read_weights
from chatbot.safety.rules import load_rules

pytestmark = pytest.mark.component
KNOWLEDGE = Path(__file__).resolve().parents[2] / "knowledge"


class CountingEmbedder:
    """The real embedder, counting how many texts it was asked for."""

    def __init__(self) -> None:
        self._embedder = MiniLM()
        self.name = self._embedder.name
        self.seen = 0

    def encode(self, texts, *, progress=None):
        self.seen += len(texts)
        return self._embedder.encode(texts, progress=progress)


@pytest.fixture(scope="module")
def rules():
    problems: list[Problem] = []
    clinic = read_model(KNOWLEDGE / "clinic.yaml", Clinic, KNOWLEDGE, problems)
    assert clinic is not None
    return load_rules(KNOWLEDGE, clinic, problems)


@pytest.fixture(scope="module")
def gate(rules):
    return SafetyGate(rules, MiniLM())


def test_an_example_is_enough_by_its_weight_and_says_why(rules, gate):
    likeness = gate.meaning.weigh(rules.reader.read(rules.groups["heart"].must_fire[0])).likest("urgent")
    assert likeness is not None
    assert likeness.group == "heart"
    assert "@chest" in likeness.signs


@pytest.mark.parametrize(("least", "fires"), [(-50.0, True), (50.0, False)])
def test_rules_are_not_believed_on_words_that_speak_of_something_else(rules, least, fires):
    point = rules.harmless.meaning.model_copy(update={"beside_rule": least, "alone": 60.0})
    strict = replace(rules, harmless=rules.harmless.model_copy(update={"meaning": point}))
    verdict = SafetyGate(strict, MiniLM()).check("my chest feels tight")
    assert (verdict is not None and verdict.rule_id == "heart/chest-pain") is fires


def test_the_whole_gate_judges_almost_every_example_as_its_file_says(rules, gate):
    wrong = []
    for group in rules.groups.values():
        gate.prepare([*group.must_fire, *group.must_not_fire])
        wrong += [text for text in group.must_fire if not right_outcome(gate.check(text), rules.outcome(group.id))]
        wrong += [text for text in group.must_not_fire if gate.check(text)]
    n = sum(len(group.must_fire) + len(group.must_not_fire) for group in rules.groups.values())
    assert len(wrong) <= 0.025 * n, wrong[:20]


def test_what_is_prepared_together_is_judged_as_it_would_be_alone(rules):
    texts = [group.must_fire[-1] for group in rules.groups.values()]
    together, alone = SafetyGate(rules, MiniLM()), SafetyGate(rules, MiniLM())
    together.prepare(texts)
    rule_ids = [[(v := gate.check(text)) and v.rule_id for text in texts] for gate in (together, alone)]
    assert rule_ids[0] == rule_ids[1]


def test_everyday_questions_pass(rules, gate):
    fired = [text for text in rules.harmless.must_not_fire if gate.check(text)]
    assert len(fired) <= 0.02 * len(rules.harmless.must_not_fire), fired


def test_a_short_message_costs_at_most_a_few_windows(rules):
    embedder = CountingEmbedder()
    gate = SafetyGate(rules, embedder)
    opened = embedder.seen
    gate.check("My nose runs and I sneeze. " * 74)
    assert embedder.seen - opened <= 6


def test_the_stored_weights_were_made_of_the_examples_as_they_are(rules):
    weights = read_weights(KNOWLEDGE / "safety" / LIKENESS_FILE)
    assert weights is not None
    assert weights.made_of == fingerprint(examples_of(rules))


def test_an_opened_gate_embeds_nothing_before_a_message_comes(rules):
    embedder = CountingEmbedder()
    SafetyGate(rules, embedder)
    assert embedder.seen == 0


def test_an_emergency_beats_a_request_to_decline(gate):
    verdict = gate.check("my chest feels crushed and I am sweating, how much aspirin should I take?")
    assert verdict is not None
    assert verdict.outcome is Outcome.EMERGENCY
