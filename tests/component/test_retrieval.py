"""Retrieval over some of the shipped answers, with the real embedder."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from chatbot.embedder import MiniLM
from chatbot.knowledge import Answer, load_knowledge
from chatbot.reply import Turn
from chatbot.retrieval.index import open_index
from chatbot.retrieval.retriever import Retriever
from chatbot.retrieval.words import read_synonyms

pytestmark = pytest.mark.component
KNOWLEDGE = Path(__file__).parents[2] / "knowledge"
TOPICS = ("fever", "medicines", "our-clinic", "eyes-ears-mouth")


@pytest.fixture(scope="module")
def chosen() -> Mapping[str, Answer]:
    answers = load_knowledge(KNOWLEDGE).answers
    return {id_: answer for id_, answer in answers.items() if answer.topic in TOPICS}


@pytest.fixture(scope="module")
def retriever(chosen: Mapping[str, Answer]) -> Retriever:
    synonyms = read_synonyms(KNOWLEDGE / "synonyms.yaml", KNOWLEDGE, [])
    return Retriever(open_index(None, chosen, synonyms, MiniLM()))


@pytest.mark.parametrize(
    ("question", "id_"),
    [
        ("can I get a refill", "our-clinic/prescriptions"),
        ("how do i take tylonol", "medicines/acetaminophen"),
        ("my kid has pinkeye", "eyes-ears-mouth/pink-eye"),
        ("i want to talk to a real person", "our-clinic/reach-a-person"),
    ],
)
def test_lay_words_and_typos_find_the_answer(retriever: Retriever, question: str, id_: str):
    assert retriever.search(question)[0].answer_id == id_


def test_every_question_that_staff_wrote_finds_its_own_answer_first(retriever: Retriever, chosen: Mapping[str, Answer]):
    asked = [(question, answer.id) for answer in list(chosen.values())[::4] for question in answer.questions]
    missed = [(question, id_) for question, id_ in asked if retriever.search(question, 1)[0].answer_id != id_]
    assert missed == []


@pytest.mark.parametrize("question", ["what is the capital of france", "how do i change a tyre", "who won the game"])
def test_what_no_clinic_answers_is_not_answered(retriever: Retriever, question: str):
    assert retriever.decide(question).kind != "answered"
    history = (Turn("user", "What temperature is a fever?"), Turn("assistant", "…"))
    assert retriever.decide(question, history).kind != "answered"


def test_a_refresh_after_one_edit_embeds_only_that(chosen: Mapping[str, Answer], retriever: Retriever):
    class Counting(MiniLM):
        seen = 0

        def encode_pieces(self, texts, *, progress=None):  # type: ignore[no-untyped-def]
            self.seen += len(texts)
            return super().encode_pieces(texts, progress=progress)

    embedder = Counting()
    answer = chosen["fever/adults"]
    edited = answer.model_copy(update={"questions": (*answer.questions, "Is a hundred and two a lot for a grown-up?")})
    open_index(
        None,
        {**chosen, answer.id: edited},
        retriever.index.synonyms,
        embedder,
        previous=retriever.index,
        recalibrate=False,
    )
    assert embedder.seen == 1
