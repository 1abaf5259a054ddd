import pytest

from chatbot.grounding.checker import GroundingChecker, check_sentence
from chatbot.prompting import ABSTENTION, Passage

pytestmark = pytest.mark.unit

FEVER = Passage(
    "fever/adults",
    "Fever in adults",
    """In adults, a temperature of 100.4 °F (38 °C) or higher usually counts as a fever. Most fevers come from an
infection, such as a cold or flu, and get better in a few days. See a doctor if the fever lasts more than 2 days.

## What you can do at home

- Rest and drink plenty of water or other fluids.
- Do not use ice, a cold bath or rubbing alcohol to cool down.
- You can take acetaminophen or ibuprofen if the fever makes you feel bad. Follow the label.

A fever does not always need medicine.

## When to get help

Call the clinic at 202-555-0142 if:

- Your fever lasts more than 2 days, or comes and goes for a week.
- You have a new rash or new bruises.

Call 911 now if you have a fever and:

- You have trouble breathing.
- You have a stiff neck or a very bad headache.
""",
)
BURNS = Passage(
    "skin/minor-burns",
    "Minor burns",
    """Cool a small burn under cool running water for 20 minutes. Do not use butter.

1. Hold the burn under water.
2. Cover the burn with a clean bandage.

Heat can cause blisters. Do not give aspirin to children.
Do not eat, drink, smoke or exercise before a reading. Take 2 puffs every 4 to 6 hours.

## Foods to avoid

- Raw milk.
""",
)


def is_shown(sentence: str, *passages: Passage) -> bool:
    return check_sentence(sentence, passages or (FEVER, BURNS)).grounded


def reason_for(sentence: str) -> str:
    verdict = check_sentence(sentence, (FEVER, BURNS))
    assert not verdict.grounded
    return " | ".join(verdict.reasons)


@pytest.mark.parametrize(
    "sentence",
    [
        "A fever does not always need medicine. [1]",
        "A fever does not always need medicine [1].",
        "a fever does not   always need medicine [1]!",
        "Rest and drink plenty of water or other fluids. [1]",
        "Call the clinic at 202-555-0142 if you have a new rash or new bruises. [1]",
        "Call 911 now if you have a fever and you have trouble breathing. [1]",
        "Cool a small burn under cool running water for 20 minutes. [2]",
    ],
)
def test_a_vetted_sentence_is_always_shown(sentence: str):
    assert is_shown(sentence)


def test_the_shown_text_has_no_mark_and_names_its_answer():
    verdict = check_sentence("See a doctor if the fever lasts more than 2 days [1].", (FEVER, BURNS))
    assert (verdict.text, verdict.citation) == ("See a doctor if the fever lasts more than 2 days.", "fever/adults")


@pytest.mark.parametrize(
    "sentence",
    [
        "If the fever lasts more than two days, see a doctor. [1]",
        "You should see a doctor if your fever lasts more than 2 days. [1]",
        "In adults, a temperature of 38 °C or higher usually counts as a fever. [1]",
        "Most fevers get better in a few days. [1]",
        "Avoid ice and cold baths. [1]",
        "Ice, a cold bath or rubbing alcohol should not be used to cool down. [1]",
        "You can take ibuprofen if the fever makes you feel bad. [1]",
        "Call the clinic if your fever comes and goes for a week or you have a new rash. [1]",
        "Hold the burn under water, then cover the burn with a clean bandage. [2]",
        "Rest and drink plenty of fluids, and follow the label. [1]",
        "Avoid raw milk. [2]",
        "Do not smoke or exercise before a reading. [2]",
        "Blisters can be caused by heat. [2]",
    ],
)
def test_an_honest_rewording_is_shown(sentence: str):
    assert check_sentence(sentence, (FEVER, BURNS)).reasons == ()


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("number", "See a doctor if the fever lasts more than 3 days. [1]"),
        ("number", "See a doctor if the fever lasts more than three days. [1]"),
        ("number", "In adults, a temperature of 39 °C or higher usually counts as a fever. [1]"),
        ("number", "In adults, a temperature of 38 °C usually counts as a fever. [1]"),
        ("number", "See a doctor if the fever lasts less than 2 days. [1]"),
        ("number", "See a doctor if the fever lasts more than 2 weeks. [1]"),
        ("number", "Cool a small burn under cool running water for 20 seconds. [2]"),
        ("number", "Take 2 puffs every 46 hours. [2]"),
        ("number", "Take 2 puffs every 4 hours. [2]"),
        ("word", "You can take aspirin if the fever makes you feel bad. [1]"),
        ("word", "Use honey on the burn. [2]"),
        ("negation", "Use ice to cool down. [1]"),
        ("negation", "A fever always needs medicine. [1]"),
        ("negation", "Drink before a reading. [2]"),
        ("negation", "Smoke or exercise before a reading. [2]"),
        ("negation", "Do not rest and drink plenty of fluids. [1]"),
        ("modality", "You must take acetaminophen if the fever makes you feel bad. [1]"),
        ("modality", "All fevers come from an infection. [1]"),
        ("modality", "Fevers come from an infection. [1]"),
        ("modality", "In adults, a temperature of 38 °C or higher counts as a fever. [1]"),
        ("modality", "You may call 911 if you have a fever and a stiff neck. [1]"),
        ("audience", "In children, a temperature of 38 °C or higher usually counts as a fever. [1]"),
        ("audience", "A temperature of 38 °C or higher usually counts as a fever. [1]"),
        ("audience", "Do not give aspirin to adults. [2]"),
        ("order", "Cover the burn with a clean bandage, then hold the burn under water. [2]"),
        ("order", "Blisters can cause heat. [2]"),
        ("order", "You can take acetaminophen and ibuprofen if the fever makes you feel bad. [1]"),
        ("condition", "You can take acetaminophen. [1]"),
        ("condition", "Call 911 now if you have a stiff neck. [1]"),
        ("", "Call 911 now if you have a new rash. [1]"),
        ("", "Call the clinic if you have trouble breathing. [1]"),
        ("", "You have a stiff neck. [1]"),
        ("meaning", "It gets better in a few days. [1]"),
    ],
)
def test_a_changed_sentence_is_refused_and_says_why(kind: str, sentence: str):
    assert kind in reason_for(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "You are fine. [1]",
        "A fever is nothing to worry about. [1]",
        "There is no need to see a doctor. [1]",
        "A fever is harmless. [1]",
        "See a doctor if the fever lasts more than 2 days, but do not worry. [1]",
    ],
)
def test_it_never_soothes_beyond_the_passage(sentence: str):
    assert not is_shown(sentence)


def test_a_sentence_must_cite_a_passage_that_exists():
    assert "citation" in reason_for("A fever does not always need medicine.")
    assert "citation" in reason_for("A fever does not always need medicine. [3]")
    assert "citation" in reason_for("A fever does not always need medicine. [0]")


def test_a_true_sentence_with_the_wrong_mark_is_refused():
    assert not is_shown("A fever does not always need medicine. [2]")


def test_one_of_two_marks_must_carry_the_whole_sentence():
    verdict = check_sentence("A fever does not always need medicine. [2][1]", (FEVER, BURNS))
    assert (verdict.grounded, verdict.citation) == (True, "fever/adults")
    assert not is_shown("See a doctor if the fever lasts more than 2 days, and cover the burn. [1][2]")


def test_without_marks_the_carrying_passage_is_found_when_asked_for():
    verdict = check_sentence("Do not use butter.", (FEVER, BURNS), find_citation=True)
    assert (verdict.grounded, verdict.citation) == (True, "skin/minor-burns")
    assert not check_sentence("Do not use butter. [1]", (FEVER, BURNS), find_citation=True).grounded


@pytest.mark.parametrize(
    "sentence",
    [
        ABSTENTION,
        f"{ABSTENTION} [1]",
        "Does a fever always need medicine? [1]",
        "Rest and drink plenty of [1]",
        "Call the clinic if: [1]",
        "Call 911 now, even. [1]",
        "A fever (does not always need medicine. [1]",
        "Raw milk. [2]",
        "Rest and drink plenty of fluids. Follow the label. [1]",
        "See https://example.org if the fever lasts more than 2 days. [1]",
        "Call the clinic at 202-555-0199 if you have a new rash. [1]",
        "[1]",
        "",
        "Passage 1: A fever does not always need medicine. [1]",
    ],
)
def test_what_is_not_one_plain_sentence_is_refused(sentence: str):
    assert not is_shown(sentence)


def test_38_celsius_is_not_100_fahrenheit_unless_the_passage_has_both():
    celsius = Passage("a/b", "Fever", "Call the clinic if the temperature is 38 °C or higher.")
    assert is_shown("Call the clinic if the temperature is 38 °C or higher. [1]", celsius)
    assert not is_shown("Call the clinic if the temperature is 100.4 °F or higher. [1]", celsius)


class _Directions:
    """An Embedder that gives each text the direction it was told, else the first."""

    name = "directions"

    def __init__(self, odd: str) -> None:
        self.odd = odd

    def encode(self, texts, *, progress=None):
        import numpy as np

        return np.array([[0.0, 1.0] if text == self.odd else [1.0, 0.0] for text in texts], dtype=np.float32)


def test_a_sentence_of_another_meaning_is_refused_although_every_word_is_there():
    sentence = "If the fever lasts more than two days, see a doctor."
    assert GroundingChecker(_Directions("")).check(f"{sentence} [1]", [FEVER]).grounded
    verdict = GroundingChecker(_Directions(sentence)).check(f"{sentence} [1]", [FEVER])
    assert not verdict.grounded
    assert verdict.reasons[0].startswith("meaning")


def test_a_vetted_sentence_needs_no_embedder_to_agree():
    sentence = "A fever does not always need medicine."
    assert GroundingChecker(_Directions(sentence)).check(f"{sentence} [1]", [FEVER]).grounded
