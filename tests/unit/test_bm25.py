"""BM25 by array operations gives what the formula gives, document by document."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.retrieval.bm25 import K1, B, Counts, WordIndex
from chatbot.retrieval.store import Ragged

pytestmark = pytest.mark.unit
N_STEMS = 5
Documents = list[list[int]]


def ragged(documents: Documents) -> Ragged[np.int32]:
    return Ragged.of([np.array(one, np.int32) for one in documents], np.zeros(0, np.int32))


def by_the_formula(documents: Documents, asked: Sequence[int]) -> list[float]:
    mean = sum(map(len, documents)) / len(documents) or 1e-9
    scores, most = [0.0] * len(documents), 0.0
    for stem in asked:
        containing = sum(stem in one for one in documents)
        rarity = math.log(1 + (len(documents) - containing + 0.5) / (containing + 0.5))
        most += rarity
        for place, one in enumerate(documents):
            times = one.count(stem)
            scores[place] += rarity * times / (times + K1 * (1 - B + B * len(one) / mean))
    return [score / max(most, 1e-6) for score in scores]


stems = st.integers(0, N_STEMS - 1)


@given(st.lists(st.lists(stems, max_size=8), min_size=1, max_size=8), st.lists(stems, unique=True), st.data())
def test_scores_are_those_of_the_formula_over_the_chosen_documents(documents, asked, data):
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=len(documents), max_size=len(documents))))
    index = WordIndex(Counts.of(ragged(documents), N_STEMS), chosen)
    own = [one for one, is_chosen in zip(documents, chosen, strict=True) if is_chosen]
    assert index.owners.tolist() == np.flatnonzero(chosen).tolist()
    assert np.allclose(index.share(asked, 0), by_the_formula(own, asked) if own else [], atol=1e-5)


def test_words_that_stand_nowhere_lower_the_share():
    index = WordIndex(Counts.of(ragged([[0, 1], [2]]), N_STEMS), np.ones(2, bool))
    assert index.share([0], 1)[0] < index.share([0], 0)[0]


def test_a_stem_is_as_rare_as_the_answers_that_say_it_anywhere():
    counts = Counts.of(ragged([[0], [0, 1], [1, 1], [2]]), N_STEMS)
    rarity = counts.rarity(np.array([0, 0, 1, 2], np.int32), 3)
    expected = [math.log(1 + (3 - n + 0.5) / (n + 0.5)) for n in (1, 2, 1, 0, 0)]
    assert np.allclose(rarity, expected, atol=1e-6)


def test_nothing_indexed_is_nothing_found():
    index = WordIndex(Counts.of(ragged([]), 0), np.zeros(0, bool))
    assert len(index.share([], 3)) == 0


def test_rows_are_taken_in_any_order_with_fresh_ones():
    rows = ragged([[1, 2], [], [3]])
    taken = rows.taken(np.array([3, 2, 0, 1, 2]), [np.array([7, 8, 9], np.int32)])
    assert [taken[place].tolist() for place in range(5)] == [[7, 8, 9], [3], [1, 2], [], [3]]
