from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot.grounding.checker import split_stream
from chatbot.grounding.sentence_stream import MAX_BUFFER_CHARS

pytestmark = pytest.mark.unit

REPLY = (
    "Rest at home. [1] Take 2.5 ml at 8 a.m. or later [2]. See Dr. Smith.\n[1][2]\n- Drink water [1]\n1. Stop. And then"
)
SENTENCES = [
    "Rest at home. [1]",
    "Take 2.5 ml at 8 a.m. or later [2].",
    "See Dr. Smith. [1][2]",
    "Drink water [1]",
    "Stop.",
    "And then",
]


def test_sentences_come_whole_with_their_marks():
    assert list(split_stream([REPLY])) == SENTENCES


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, len(REPLY)), max_size=30))
def test_it_does_not_matter_how_the_text_is_cut_into_pieces(cuts: list[int]):
    edges = [0, *sorted(cuts), len(REPLY)]
    pieces = [REPLY[start:end] for start, end in pairwise(edges)]
    assert list(split_stream(pieces)) == SENTENCES


def test_a_sentence_is_sent_on_before_the_next_one_is_finished():
    seen: list[str] = []

    def pieces():
        yield "Rest. [1] "
        yield "D"
        seen.append("asked for more")
        yield "rink water. [1]"

    stream = split_stream(pieces())
    assert next(stream) == "Rest. [1]"
    assert seen == []


def test_a_text_without_end_is_cut_and_nothing_grows():
    sentences = list(split_stream("and so on " for _ in range(1000)))
    assert max(map(len, sentences)) <= MAX_BUFFER_CHARS + 10


def test_nothing_comes_of_nothing():
    assert list(split_stream([])) == []
    assert list(split_stream(["", "  \n", " "])) == []


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(max_size=20), max_size=20))
def test_no_letter_is_lost_whatever_comes(pieces: list[str]):
    def letters(text: str) -> list[str]:
        return [c for c in text if c.isalpha()]

    assert letters("".join(split_stream(pieces))) == letters("".join(pieces))
