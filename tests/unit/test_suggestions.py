"""Vetted questions that fit what is being typed."""

import pytest
from fakes import answer

from chatbot.page.suggestions import Suggestions, suggestions_html
from chatbot.page.words import shipped_words

pytestmark = pytest.mark.unit
WORDS = shipped_words()


def suggestions(*questions, language="en"):
    answers = {
        f"t/{n}": answer(f"t/{n}", "Text.").model_copy(update={"questions": (question,)})
        for n, question in enumerate(questions)
    }
    return Suggestions(answers, WORDS[language])


ASKED = suggestions("When should I see a doctor about a fever?", "What is a fever?", "How do I treat a cold sore?")


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("fev", ["What is a fever?", "When should I see a doctor about a fever?"]),
        ("FEVER doct", ["When should I see a doctor about a fever?"]),
        ("sore cold", ["How do I treat a cold sore?"]),
        ("fever mars", []),
        ("cold s", ["How do I treat a cold sore?"]),
        ("fe ", []),
        ("", []),
        ("a", []),
        ("?!", []),
    ],
)
def test_every_telling_word_must_be_there_and_the_last_may_be_unfinished(typed, found):
    assert ASKED.matching(typed) == found


def test_accents_make_no_difference():
    spanish = suggestions("¿Qué debo hacer si tengo diarrea?", language="es")
    assert spanish.matching("que hacer diarr") == ["¿Qué debo hacer si tengo diarrea?"]


def test_an_answer_is_suggested_once_and_at_most_five_in_all():
    twice = answer("t/x", "Text.").model_copy(update={"questions": ("What is flu?", "Flu: bad?")})
    assert Suggestions({"t/x": twice}, WORDS["en"]).matching("flu") == ["Flu: bad?"]
    assert len(suggestions(*(f"What is flu {n}?" for n in range(9))).matching("flu")) == 5


def test_hostile_questions_stay_words():
    html = suggestions_html(['"><script>alert(1)</script>'], WORDS["en"])
    assert "<script" not in html and html.count("<button") == 1
    assert suggestions_html([], WORDS["en"]) == ""


def test_an_answers_plain_questions_come_before_patients_own_words():
    asked = answer("t/fever", "Text.").model_copy(
        update={"questions": ("What temperature is a fever?", "a one", "a two", "fever how long")}
    )
    assert Suggestions({"t/fever": asked}, WORDS["en"]).matching("fever") == ["What temperature is a fever?"]
