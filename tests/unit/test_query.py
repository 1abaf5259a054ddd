"""Query understanding: the question in a long message, typed short forms, misspelt words, follow-ups."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.reply import Turn
from chatbot.retrieval.query import leans_on_history, shorten, understand, without_lead_in
from chatbot.retrieval.words import Speller, Synonyms, expand_short_forms, search_stems, stem, words_of

pytestmark = pytest.mark.unit
SPELLER = Speller(
    ["ibuprofen", "acetaminophen", "diabetes", "headache", "prednisone", "vaccine", "temperature"],
    english=frozenset(["mother", "wife", "sole", "shop"]),
)


def weigh(stem_: str) -> float:
    return 3.0


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("ibuprophen", "ibuprofen"), ("acetominophen", "acetaminophen"), ("diabeetus", "diabetes"),
     ("headake", "headache"), ("vacine", "vaccine"), ("temprature", "temperature")],
)  # fmt: skip
def test_a_misspelt_word_becomes_the_one_that_sounds_like_it(typed: str, meant: str):
    assert SPELLER.correct(typed) == meant


@pytest.mark.parametrize("word", ["prednisolone", "mother", "soles", "shopping", "xyz", "100.4", "ozempic"])
def test_another_word_is_left_alone(word: str):
    assert SPELLER.correct(word) == word


@pytest.mark.parametrize("word", ["lupus", "sepsis", "scabies", "rosacea"])
def test_a_condition_that_no_answer_names_is_not_mended_into_a_word_that_one_does(word: str):
    assert Speller(["laps", "sips", "scabs", "race", "fever"]).correct(word) == word


def test_of_two_words_as_near_the_one_that_sounds_alike_is_meant():
    assert Speller(["fear", "fever"]).correct("fevar") == "fever"


def test_short_forms_are_written_out():
    assert expand_short_forms("can u tell me abt my meds pls") == "can you tell me about my medicines please"


def test_synonyms_of_several_words_share_a_mark():
    synonyms = Synonyms.of([["BP", "blood pressure"]])
    assert "=0" in search_stems("my BP is high", synonyms)
    assert "=0" in search_stems("high blood pressures", synonyms)
    assert "=0" not in search_stems("blood under pressure", synonyms)


def test_a_short_form_is_written_out_for_the_embedder():
    assert Synonyms.of([["BP", "blood pressure"]]).written_out("is my BP ok") == "is my BP (blood pressure) ok"


def test_the_question_is_found_in_a_rambling_message():
    message = (
        "Hello, my name is Ann and I am 54 years old. I work in a bakery with my sister. Last week my neighbor visited "
        "us. How long does the shingles vaccine protect me? Thank you so much for your time."
    )
    assert shorten(message, weigh) == "How long does the shingles vaccine protect me?"


def test_a_short_message_loses_only_its_opening():
    assert shorten("Hi, I was wondering what a fever is", weigh) == "what a fever is"


def test_an_opening_alone_is_kept():
    assert without_lead_in("hello") == "hello"


@pytest.mark.parametrize(
    "text", ["and for children?", "how long?", "is it contagious?", "what about kids", "does it hurt"]
)
def test_a_message_without_a_subject_leans_on_the_earlier_one(text: str):
    assert leans_on_history(text) == "yes"


@pytest.mark.parametrize("text", ["what can I eat?", "does it cause fever?", "how do I lower it?"])
def test_a_short_message_that_names_something_may_lean_on_the_earlier_one(text: str):
    assert leans_on_history(text) == "perhaps"


@pytest.mark.parametrize(
    "text", ["how long does the flu usually last in adults?", "my son is itching all over his arms since noon", ""]
)
def test_a_message_with_a_subject_stands_alone(text: str):
    assert leans_on_history(text) == "no"


def test_a_follow_up_is_searched_with_the_last_question_that_stood_alone():
    history = (
        Turn("user", "What is a fever?"),
        Turn("assistant", "…"),
        Turn("user", "how long?"),
        Turn("assistant", "…"),
    )
    query = understand("and for children?", history, weight=weigh, mend=str)
    assert query.earlier == "What is a fever?"
    assert query.views == ("and for children? fever",)


def test_the_subject_takes_the_place_of_the_word_that_points_at_it():
    query = understand(
        "how is it treated?", (Turn("user", "What are the symptoms of the flu?"),), weight=weigh, mend=str
    )
    assert query.whole == "how is flu treated?"


def test_a_question_that_stands_alone_never_looks_back():
    query = understand(
        "what is the name of the capital of france?", (Turn("user", "What is a fever?"),), weight=weigh, mend=str
    )
    assert query.earlier == ""
    assert all("fever" not in view for view in query.views)


@given(text=st.text(max_size=300))
def test_any_text_can_be_understood(text: str):
    query = understand(text, (), weight=weigh, mend=SPELLER.mend)
    assert query.views
    assert all(isinstance(stem(word), str) for word in words_of(text))
