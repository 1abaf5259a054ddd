"""Reading grades and the places that are hard to read."""

import pytest

from chatbot.staff.readability import flesch_kincaid_grade, pronunciations, read_markdown, syllables_in, words_in

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("word", "syllables"),
    [
        ("cat", 1), ("fever", 2), ("medicine", 3), ("acetaminophen", 6), ("doctor's", 2), ("100.4", 1), ("CDC", 3),
        ("zzyzx", 1), ("flimmerated", 4), ("queezle", 2),
    ],
)  # fmt: skip
def test_syllables_are_counted_as_spoken(word: str, syllables: int):
    assert syllables_in(word) == syllables


def test_the_dictionary_is_there():
    assert len(pronunciations()) > 100_000


def test_the_grade_is_flesch_kincaid():
    # 6 words in 1 sentence, 6 syllables: 0.39 * 6 + 11.8 * 1 - 15.59
    assert flesch_kincaid_grade(["The cat sat on the mat."]) == pytest.approx(-1.45)
    assert flesch_kincaid_grade([]) == 0


def test_long_words_and_sentences_raise_the_grade():
    plain = "Rest and drink water. See a doctor."
    hard = "Hydration and recuperation are recommended, whereas deterioration necessitates medical consultation."
    assert read_markdown(plain).grade < 4 < 12 < read_markdown(hard).grade


def test_long_sentences_and_paragraphs_are_found_and_headings_do_not_count():
    long = " ".join(["word"] * 21) + "."
    text = f"# {long}\n\nOne. Two. Three. Four.\n\n- {long}\n- Short."
    reading = read_markdown(text)
    assert reading.long_sentences == (long,)
    assert reading.long_paragraphs == ("One. Two. Three. Four.",)


def test_a_phone_number_and_a_hyphenated_word():
    assert words_in("Call 202-555-0142 for follow-up.") == ["Call", "202-555-0142", "for", "follow", "up"]
