import statistics
import time
from pathlib import Path

import pytest

from chatbot.embedder import MiniLM
from chatbot.grounding.checker import GroundingChecker
from chatbot.grounding.statements import plain_form, vetted
from chatbot.knowledge import load_knowledge
from chatbot.prompting import Passage

pytestmark = pytest.mark.component

PROJECT = Path(__file__).resolve().parents[2]
FEVER = Passage(
    "fever/adults",
    "Fever in adults",
    "See a doctor if the fever lasts more than 2 days. A fever does not always need medicine.",
)


@pytest.fixture(scope="module")
def checker() -> GroundingChecker:
    return GroundingChecker(MiniLM())


def test_a_rewording_is_close_in_meaning_to_what_carries_it(checker: GroundingChecker):
    assert checker.check("If your fever lasts more than two days, see a doctor. [1]", [FEVER]).reasons == ()


def test_a_changed_number_is_refused_however_close_the_meaning(checker: GroundingChecker):
    assert not checker.check("If your fever lasts more than three days, see a doctor. [1]", [FEVER]).grounded


def test_every_shipped_sentence_may_be_quoted(checker: GroundingChecker):
    for answer in load_knowledge(PROJECT / "knowledge").answers.values():
        passage = Passage(answer.id, answer.title, answer.text)
        for sentence in answer.lead.split(". ")[:1]:
            if plain_form(sentence) in vetted(answer.title, answer.text).verbatim:
                assert checker.check(f"{sentence.rstrip('.')}. [1]", [passage]).grounded


def test_a_check_takes_milliseconds(checker: GroundingChecker):
    spent = []
    for days in range(3, 40):
        start = time.perf_counter()
        checker.check(f"If your fever lasts more than {days} days, see a doctor. [1]", [FEVER])
        spent.append(time.perf_counter() - start)
    assert statistics.median(spent) < 0.1
