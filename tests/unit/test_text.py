"""Sentences and blocks out of text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.text import clean_message, lead_paragraph, markdown_blocks, plain_text, split_sentences

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Rest. Drink water.", ["Rest.", "Drink water."]),
        ("Take 2.5 mL. Then wait.", ["Take 2.5 mL.", "Then wait."]),
        ("See Dr. Smith at 8 a.m. Monday.", ["See Dr. Smith at 8 a.m. Monday."]),
        ('Say "help." Then sit.', ['Say "help."', "Then sit."]),
        ("Is it 38 °C (100.4 °F)? Call.", ["Is it 38 °C (100.4 °F)?", "Call."]),
        ("no full stop", ["no full stop"]),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(text, sentences):
    assert split_sentences(text) == sentences


@given(st.text(max_size=200))
def test_no_character_but_white_space_is_lost(text):
    assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())


def test_blocks_keep_their_kind_and_number():
    blocks = markdown_blocks("Lead **bold** text.\n\n## Steps\n\n1. One\n2. Two\n\n- a\n")
    assert [(block.kind, block.text, block.number) for block in blocks] == [
        ("paragraph", "Lead bold text.", None),
        ("heading", "Steps", None),
        ("item", "One", 1),
        ("item", "Two", 2),
        ("item", "a", None),
    ]
    assert plain_text("1. One\n2. Two") == "1. One\n2. Two"
    assert lead_paragraph("## Title\n\nFirst.\n\nSecond.") == "First."


def test_html_stays_visible_text():
    assert "<b>x</b>" in plain_text("text <b>x</b>")


def test_a_message_is_cleaned_and_cut_but_not_emptied():
    assert clean_message("  a\u0000\u202eb\n\tc ", limit=100) == "a b c"
    assert clean_message("e\u0301", limit=10) == "é"
    assert len(clean_message("x " * 5000, limit=2000)) <= 2000
