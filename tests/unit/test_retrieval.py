"""Finding answers, and deciding whether one of them answers."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from retrieval_fakes import FEVER, HOURS, PINK_EYE, PRESSURE, SMALL, SYNONYMS, TYLENOL, PieceCountingEmbedder

from chatbot.knowledge import AcceptanceQuestion
from chatbot.reply import Turn
from chatbot.retrieval.decision import Judge, Probe, Thresholds, decide_kind, thresholds_for
from chatbot.retrieval.index import open_index
from chatbot.retrieval.retriever import Decision, Hit, Retriever
from chatbot.staff.acceptance import Outcome, figures_of, half_of, risk_coverage

pytestmark = pytest.mark.unit
RETRIEVER = Retriever(open_index(None, SMALL, SYNONYMS, PieceCountingEmbedder()))


@pytest.mark.parametrize(
    ("query", "id_"),
    [("what temperature is a fever", FEVER.id), ("my BP is high", PRESSURE.id), ("how do i take tylenol", TYLENOL.id),
     ("is conjunctivitis contagious", PINK_EYE.id), ("r u open on saturday", HOURS.id), ("acetominophen", TYLENOL.id)],
)  # fmt: skip
def test_the_answer_comes_first(query: str, id_: str):
    assert RETRIEVER.search(query)[0].answer_id == id_


def test_hits_are_ranked_by_score_between_0_and_1():
    hits = RETRIEVER.search("fever doctor open")
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    assert all(0 <= hit.score <= 1 for hit in hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_a_hit_says_why():
    hit = RETRIEVER.search("What temperature is a fever?")[0]
    assert hit.entry == "What temperature is a fever?"
    assert dict(hit.parts)["meaning_asked"] == pytest.approx(1, abs=1e-3)
    assert hit.words > 0.3


@pytest.mark.parametrize("text", ["", " ", "...", "?!", "日本語の質問", "😀", "a" * 2000])
def test_text_that_says_nothing_finds_no_answer(text: str):
    assert RETRIEVER.decide(text).kind != "answered"


@settings(max_examples=30, deadline=None)
@given(text=st.text(max_size=200))
def test_any_text_gets_a_decision_that_holds_together(text: str):
    decision = RETRIEVER.decide(text)
    assert len(decision.candidates) in {"answered": (1,), "did_you_mean": (2, 3), "no_answer": (0,)}[decision.kind]
    assert decision.kind != "answered" or decision.passages[0] == decision.candidates[0]


def test_a_hit_in_the_first_turn_never_carries_an_unrelated_second_one():
    history = (Turn("user", "What temperature is a fever?"), Turn("assistant", "A fever is …"))
    alone = RETRIEVER.decide("what is the capital of france")
    assert RETRIEVER.decide("what is the capital of france", history) == alone
    assert alone.kind != "answered"


def test_a_follow_up_finds_the_earlier_subject():
    decision = RETRIEVER.decide("is it contagious?", (Turn("user", "How is pink eye treated?"),))
    assert decision.hits[0].answer_id == PINK_EYE.id
    assert decision.earlier_question == "How is pink eye treated?"


def test_a_short_question_is_read_with_the_earlier_one_only_if_the_answer_says_all_it_names():
    history = (Turn("user", "What is high blood pressure?"),)
    decision = RETRIEVER.decide("can I walk?", history)
    assert (decision.hits[0].answer_id, decision.earlier_question) == (PRESSURE.id, "What is high blood pressure?")
    assert decision.kind == "did_you_mean"  # it is a guess
    assert RETRIEVER.decide("can I walk?").hits[0].answer_id != PRESSURE.id
    strange = RETRIEVER.decide("should I eat gravel?", history)
    assert strange.earlier_question == ""
    assert strange.kind != "answered"


def test_a_short_question_that_is_answered_alone_stays_alone():
    history = (Turn("user", "What is high blood pressure?"),)
    decision = RETRIEVER.decide("What temperature is a fever?", history)
    assert (decision.kind, decision.candidates, decision.earlier_question) == ("answered", (FEVER.id,), "")


def test_a_further_question_that_names_something_else_is_not_carried_by_the_earlier_one():
    history = (Turn("user", "What temperature is a fever?"),)
    decision = RETRIEVER.decide("and what about my bicycle tyres?", history)
    assert decision.kind != "answered"
    assert decision.earlier_question == ""


def test_of_many_answers_the_best_ten_are_told():
    many = {
        f"topic/a{n}": FEVER.model_copy(update={"id": f"topic/a{n}", "title": f"Fever number {n}"}) for n in range(30)
    }
    decision = Retriever(open_index(None, many, SYNONYMS, PieceCountingEmbedder())).decide(
        "what temperature is a fever"
    )
    assert len(decision.hits) == 10


def test_many_threads_get_the_same_hits():
    queries = ["what is a fever", "bp", "open on saturday", "pink eye"] * 10
    alone = [RETRIEVER.search(query) for query in queries]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(RETRIEVER.search, queries)) == alone


def test_scores_decide_between_answer_suggestion_and_none():
    thresholds = Thresholds(answer=1.0, suggest=-1.0)
    assert [decide_kind(c, thresholds) for c in (2.0, 0.0, -2.0)] == ["answered", "did_you_mean", "no_answer"]


JUDGE = Judge(0.0, (), usual=Thresholds(1.0, -3.0), answer_level=0.95, suggest_level=0.2)


def _probes(n: int, shift: float) -> list[Probe]:
    return [Probe(shift + place / n, "removed") for place in range(n)]


def test_thresholds_follow_what_wrong_answers_reach_in_this_knowledge():
    low, high = (thresholds_for(_probes(1000, shift), JUDGE) for shift in (-2.0, 2.0))
    assert high.answer - low.answer == pytest.approx(4, rel=0.1)
    assert high.suggest <= high.answer


def test_a_handful_of_answers_keeps_near_the_usual_thresholds():
    assert thresholds_for([], JUDGE) == JUDGE.usual
    assert thresholds_for(_probes(2, 9.0), JUDGE).answer == pytest.approx(JUDGE.usual.answer, abs=0.5)


def test_right_answers_do_not_move_the_thresholds():
    removed = _probes(100, 0.0)
    assert thresholds_for([*removed, Probe(9.0, "right")], JUDGE) == thresholds_for(removed, JUDGE)


def test_a_question_stays_in_its_half():
    assert half_of("Is it  a Fever?") == half_of("is it a fever?")
    halves = [half_of(f"question {n}") for n in range(1000)]
    assert 400 < halves.count("report") < 600


def _outcome(expect: str, decision: Decision) -> Outcome:
    return Outcome(AcceptanceQuestion(question="?", expect=expect), decision)


def test_figures_are_worked_out_as_the_report_says():
    hit = (Hit("a/b", 0.9, 1),)
    outcomes = [
        _outcome("a/b", Decision("answered", ("a/b",), hits=hit)),
        _outcome("a/c", Decision("answered", ("a/b",), hits=hit)),
        _outcome("a/c", Decision("did_you_mean", ("a/b", "a/c"), hits=(Hit("a/b", 0.5, 1),))),
        _outcome("a/c", Decision("no_answer")),
        _outcome("no_answer", Decision("answered", ("a/b",), hits=(Hit("a/b", 0.2, 1),))),
        _outcome("no_answer", Decision("no_answer")),
    ]
    figures = figures_of(outcomes)
    assert (figures.n_in_scope, figures.n_out_of_scope) == (4, 2)
    assert (figures.answered_right, figures.right_or_offered, figures.wrongly_answered) == (0.25, 0.5, 0.25)
    assert figures.out_of_scope_answered == 0.5
    curve = risk_coverage(outcomes)
    assert curve[-1] == (1.0, pytest.approx(5 / 6))
