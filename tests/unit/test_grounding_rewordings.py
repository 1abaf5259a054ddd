"""Honest rewordings that are shown, each beside a false one of the same shape that is not."""

import pytest

from chatbot.grounding.checker import check_sentence
from chatbot.prompting import Passage

pytestmark = pytest.mark.unit


def shown(sentence: str, text: str, title: str = "A title") -> bool:
    return check_sentence(f"{sentence} [1]", [Passage("a/b", title, text)]).grounded


@pytest.mark.parametrize(
    ("text", "honest", "false"),
    [
        (
            "Call 911 now if the pain began after a fall, blow or crash.",
            "If the pain began after a fall, blow, or crash, call 911 now.",
            "If the pain began before a fall, blow, or crash, call 911 now.",
        ),
        (
            "Call 911 now if it is hard to breathe, swallow or speak.",
            "If it is hard to breathe, swallow, or speak, call 911 now.",
            "If it is not hard to breathe, swallow, or speak, call 911 now.",
        ),
        (
            "If the fever comes back or you feel worse, stay home again.",
            "If you feel worse or the fever comes back, stay home again.",
            "If you feel worse and the fever comes back, stay home again.",
        ),
        (
            "Cold sores spread easily, so do not kiss anyone until the sore has healed.",
            "Do not kiss anyone until the sore has healed.",
            "Kiss anyone until the sore has healed.",
        ),
        (
            "A cold usually gets better without treatment, and most people feel better within 2 weeks.",
            "Most people feel better within 2 weeks.",
            "Most people feel better without treatment within 2 weeks.",
        ),
        ("Keep the burned skin covered.", "Cover the burned skin.", "Do not cover the burned skin."),
        ("Put a cold pack on the knee.", "Use a cold pack on the knee.", "Use a hot pack on the knee."),
        (
            "Tell us early, because another medicine may suit you better.",
            "Tell us early, since another medicine may suit you better.",
            "Tell us early, since another medicine will suit you better.",
        ),
        ("Do not wear the same shoes 2 days in a row.", "Don't wear the same shoes two days in a row.",
         "Try not to wear the same shoes 2 days in a row."),
        ("Do not wear a collar unless your doctor tells you to.", "Wear a collar only if your doctor tells you to.",
         "Wear a collar if your doctor does not tell you to."),
        ("Wait 15 minutes, then check again.", "Wait 15 minutes before checking again.",
         "Check again, then wait 15 minutes."),
        ("Everyone should have an HIV test once.", "Everyone should have a test for HIV once.",
         "Everyone should have a test for flu once."),
        ("Wash your feet in warm water. Dry your feet well.", "Wash your feet in warm water and dry them well.",
         "Wash your feet in warm water and keep them wet."),
        ("Some germs make you sick in a few hours. Others take a few days.",
         "Some germs make you sick in a few hours, while others take a few days.",
         "Some germs make you sick in a few days, while others take a few hours."),
        ("Rest, water, and pain medicine often help.", "Rest, water and pain medicine can often help.",
         "Rest, water and pain medicine always help."),
        ("Thirst, a dry mouth and tiredness are common signs.", "Common signs are thirst, a dry mouth and tiredness.",
         "Common signs are thirst, a dry mouth and pain."),
        ("You can care for most burns at home.", "Most burns can be cared for at home.",
         "All burns can be cared for at home."),
        ("Drink water, and eat if you missed a meal. Rub your neck gently.", "Drink water, and rub your neck gently.",
         "Drink water, and rub your neck if you missed a meal."),
        ("Germs cause the infection.", "The infection is caused by germs.", "The infection causes germs."),
    ],
)  # fmt: skip
def test_an_honest_rewording_is_shown_and_a_false_one_is_not(text: str, honest: str, false: str):
    assert shown(honest, text)
    assert not shown(false, text)


def test_the_title_may_stand_where_the_passage_only_points_back():
    text = "The illness usually lasts 4 to 7 days. Children get an itchy rash."
    assert shown("Chickenpox usually lasts 4 to 7 days.", text, "Chickenpox")
    assert not shown("Measles usually lasts 4 to 7 days.", text, "Chickenpox")


def test_a_condition_of_words_of_the_title_is_more_than_a_name():
    text = "Diabetes can harm nerves, so you may not feel a cut."
    assert not shown("Diabetes can harm nerves, so you may not feel a cut, unless you have diabetes.", text, "Diabetes")
    assert shown("A test can show if you have a UTI.", "A test can show if you have one.", "UTI")


def test_words_of_two_list_items_do_not_make_a_new_one():
    text = "Call us if:\n\n- An adult has diarrhea for more than 2 days.\n- The sick person is a baby."
    assert shown("Call us if the sick person is a baby.", text)
    assert not shown("Call us if the sick person is an adult.", text)


def test_a_name_and_its_pronoun_may_change_places_but_not_roles():
    assert shown(
        "Take ibuprofen with milk if it upsets you.", "If ibuprofen upsets you, take it with milk.", "Ibuprofen"
    )
    assert not shown("Snoring can cause it.", "It can cause snoring.", "Snoring")
    text = "Never give aspirin to a child. It can cause a serious illness (Reye syndrome)."
    assert not shown("A serious illness (Reye syndrome) can cause it.", text)


def test_another_name_of_the_title_does_not_take_the_place_of_a_name():
    text = "Tylenol is one well-known brand."
    listed = "Ibuprofen, aspirin and naproxen are NSAIDs."
    assert not shown("Advil, aspirin and naproxen are NSAIDs.", listed, "Ibuprofen (Advil)")
    assert not shown("Ibuprofen, Advil and naproxen are NSAIDs.", listed, "Ibuprofen (Advil)")
    assert not shown("Acetaminophen is one well-known brand.", text, "Acetaminophen (Tylenol)")


def test_a_pronoun_is_quoted_with_the_sentence_that_has_it_and_never_put_in():
    text = "Lice are small insects. They crawl, and cannot jump or fly."
    assert shown("They crawl and can't jump or fly.", text, "Head lice")
    assert not shown("They are small insects.", text, "Head lice")


def test_an_item_that_forbids_by_itself_needs_no_heading():
    text = "## What to avoid\n\n- Do not use teething necklaces.\n- Hard toys."
    assert shown("Do not use teething necklaces.", text)
    assert not shown("Use teething necklaces.", text)
    assert not shown("Use hard toys.", text)
