import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot.grounding.quantities import Quantity, read_quantities
from chatbot.grounding.wording import raw_words

pytestmark = pytest.mark.unit


def amounts(text: str) -> list[Quantity]:
    return [part for part in read_quantities(raw_words(text)) if isinstance(part, Quantity)]


def same(one: str, other: str) -> bool:
    return [a.same_as(b) for a, b in zip(amounts(one), amounts(other), strict=True)] == [True] * len(amounts(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2 to 3 days", "two to three days"),
        ("2-3 days", "2 to 3 days"),
        ("between 2 and 3 days", "2 to 3 days"),
        ("twice a day", "2 times a day"),
        ("2 times daily", "2 times per day"),
        ("more than 2 days", "over 2 days"),
        ("38 °C or higher", "at least 38 °C"),
        ("65 and older", "65 or older"),
        ("no more than 200 mg", "up to 200 milligrams"),
        ("a week", "1 week"),
        ("24 hours", "twenty-four hours"),
        ("2,300 mg", "2300 mg"),
        ("half an hour", "0.5 hours"),
        ("every 4 to 6 hours", "every four to six hours"),
        ("100.4 degrees Fahrenheit", "100.4 °F"),
        ("3, 6 and 9 months", "3 months, 6 months and 9 months"),
        ("120/80", "120/80 mm Hg"),
        ("within 7 days", "in 7 days"),
    ],
)
def test_one_amount_written_two_ways_is_the_same(one: str, other: str):
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2 to 3 days", "23 days"),
        ("2 to 3 days", "2 days"),
        ("2 days", "2 weeks"),
        ("2 times a day", "2 times a week"),
        ("more than 2 days", "2 days"),
        ("more than 2 days", "less than 2 days"),
        ("at least 2 days", "up to 2 days"),
        ("38 °C or higher", "38 °C"),
        ("38 °C", "38 °F"),
        ("every 4 hours", "4 hours"),
        ("a few days", "several days"),
        ("10 mg", "10 mcg"),
        ("600 medicines", "600 people"),
        ("120/80", "130/80"),
        ("within 7 days", "for 7 days"),
        ("1 inch (about 2 cm)", "1 inch (at least 2 cm)"),
    ],
)
def test_two_amounts_are_not_the_same(one: str, other: str):
    assert not same(one, other)


def test_a_conversion_in_brackets_shares_the_comparison():
    assert [str(amount) for amount in amounts("100.4 °F (38 °C) or higher")] == [">=100.4 degf", ">=38 degc"]


def test_one_and_once_are_not_always_amounts():
    assert amounts("one of them, once you feel better, no one") == []


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=80))
def test_any_text_is_read_and_no_word_of_it_is_lost(text: str):
    words = raw_words(text)
    read = read_quantities(words)
    kept = [part for part in read if isinstance(part, str)]
    assert len(read) <= len(words)
    assert set(kept) <= set(words)
    assert len(kept) == len(words) or any(isinstance(part, Quantity) for part in read)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 9999), st.integers(2, 9999))
def test_numbers_are_the_same_only_if_they_are_equal(one: int, other: int):
    assert same(f"{one} days", f"{other} days") == (one == other)
