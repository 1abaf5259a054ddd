"""Personal data is taken out of what is kept; what staff need in order to answer stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.staff.redaction import LONGEST, redacted

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("My name is Anna Schmidt, can I bring a dog?", "My name is [name], can I bring a dog?"),
        ("my name is anna, is there parking?", "my name is [name], is there parking?"),
        ("Hi, I'm John O'Brien. Do you do ear piercing?", "Hi, I'm [name]. Do you do ear piercing?"),
        ("this is Maria Lopez calling about my bill", "this is [name] calling about my bill"),
        ("I saw Dr. Patel. Can she do tattoos?", "I saw Dr [name]. Can she do tattoos?"),
        ("my daughter Emily Rose has warts", "my daughter [name] has warts"),
        ("call me on 202-555-0142 please", "call me on [number] please"),
        ("my cell is (202) 555 0142", "my cell is [number]"),
        ("+44 7911 123456 is my number", "[number] is my number"),
        ("write to anna.schmidt+x@mail.example.org", "write to [e-mail]"),
        ("born 03/04/1985, do I need a shot?", "[date of birth], do I need a shot?"),
        ("DOB: 1985-04-03. Do you take my insurance?", "[date of birth]. Do you take my insurance?"),
        ("my date of birth is April 3, 1985", "my [date of birth]"),
        ("i was born on 3 april 1985 in spain", "i was [date of birth] in spain"),
        ("on 12.11.2025 I was there", "on [date] I was there"),
        ("policy 123456789 is it covered", "policy [number] is it covered"),
        ("record MRN-448812 please", "record [number] please"),
        ("I live at 12 Maple Grove Road, do you visit?", "I live at [address], do you visit?"),
        ("see www.example.org/me?x=1", "see [web address]"),
    ],
)
def test_what_points_at_one_person_is_marked_out(typed: str, kept: str):
    assert redacted(typed) == kept


@pytest.mark.parametrize(
    "typed",
    [
        "Can I take 400 mg of ibuprofen with 2.5 ml of syrup?",
        "Is 120/80 a good blood pressure, or 101.5 °F a fever?",
        "I am allergic to eggs. Can I have the flu shot?",
        "I'm pregnant, can I fly?",
        "Does the COVID-19 shot hurt in 2026?",
        "is vitamin B12 in meat",
        "My son is 5 years old and has a cough for 10 days",
        "Is a BMI of 31 bad? My HbA1c is 6.5",
    ],
)
def test_what_the_question_is_about_stays(typed: str):
    assert redacted(typed) == typed


@given(st.text(max_size=2000))
def test_any_text_becomes_one_short_line_and_stays_so(typed: str):
    once = redacted(typed)
    assert len(once) <= LONGEST
    assert "\n" not in once


@given(st.text(alphabet="0123456789 -().", max_size=40))
def test_no_run_of_six_digits_is_kept(typed: str):
    digits = 0
    for sign in redacted(f"call {typed}").replace("[number]", "x"):
        digits = digits + 1 if sign.isdigit() else 0
        assert digits < 6
