"""Why a turn ended as it did."""

import pytest
from fakes import ANSWERED, CLINIC, SHIPPED_KNOWLEDGE, FixedRetriever, ScriptedWriter, WordGate

from chatbot.explain import CHECKS, explain, explanation_html, near_rules
from chatbot.grounding.checker import SentenceVerdict
from chatbot.pipeline import Pipeline
from chatbot.retrieval.retriever import Decision, Hit
from chatbot.safety.rules import RuleBook, load_rules

pytestmark = pytest.mark.unit
HITS = (
    Hit("fever/adults", 0.9, 1, entry="What is a fever <b>?", words=0.8, meaning=0.7, parts=(("bm25_asked", 0.8),)),
    Hit("fever/children", 0.3, 2),
)
FOUND = Decision(
    "answered", candidates=("fever/adults",), passages=ANSWERED.passages, hits=HITS, margin=1.5, certainty=0.9,
    threshold=0.8, suggest_threshold=0.1, searched=("fever",),
)  # fmt: skip


class NumberChecker:
    """Refuses every sentence that holds a digit."""

    def check(self, sentence, passages):
        bad = any(sign.isdigit() for sign in sentence)
        return SentenceVerdict(not bad, sentence, "fever/adults", ("number: 9 is not in the passage",) if bad else ())


@pytest.fixture(scope="module")
def rules() -> RuleBook:
    problems: list = []
    return load_rules(SHIPPED_KNOWLEDGE, CLINIC, problems)


def turn(knowledge, question="What is a fever?", decision=FOUND, pieces=("Rest and drink. ", "Wait 9 days. ")):
    bot = Pipeline(knowledge, WordGate(), FixedRetriever(decision), NumberChecker(), ScriptedWriter(pieces))
    return list(bot.ask(question))


def test_a_reply_is_explained_from_its_hits_to_each_sentence(small_knowledge):
    told = explain(turn(small_knowledge), knowledge=small_knowledge)
    assert told["safety"] is None
    assert told["decision"]["hits"][0]["parts"] == {"bm25_asked": 0.8}
    assert "certainty of 0.90; 0.80 is enough" in told["decision"]["why"]
    assert told["generated"]["shown"][0]["nearest_vetted"] == "Rest and drink water."
    assert told["generated"]["dropped"] == [{"text": "Wait 9 days.", "reasons": ["number: 9 is not in the passage"]}]


def test_a_rule_that_fired_is_named_with_its_words(small_knowledge):
    told = explain(turn(small_knowledge, "my chest"))
    assert told["safety"]["rule"] == "heart"
    assert told["safety"]["matched"] == ["chest"]
    assert told["decision"] is None


@pytest.mark.parametrize(
    ("kind", "certainty", "said"),
    [
        ("did_you_mean", 0.5, "is enough to offer"), ("did_you_mean", 0.9, "a guess from an earlier"),
        ("no_answer", 0.01, "less than"),
    ],
)  # fmt: skip
def test_why_no_single_answer_was_given_is_said(small_knowledge, kind, certainty, said):
    decision = Decision(
        kind, candidates=("fever/adults", "fever/children") if kind == "did_you_mean" else (), hits=HITS,
        certainty=certainty, threshold=0.8, suggest_threshold=0.1,
    )  # fmt: skip
    assert said in explain(turn(small_knowledge, decision=decision))["decision"]["why"]


def test_a_denied_red_flag_is_told_as_denied(rules):
    near = list(near_rules(rules, "I have no chest pain at all", fired=None))
    assert any(row["rule"] == "heart/chest-pain" and "negated" in row["why"] for row in near)


def test_everything_in_the_panel_is_escaped_and_complete(small_knowledge):
    html = explanation_html(explain(turn(small_knowledge), knowledge=small_knowledge))
    assert "<b>" not in html
    assert "What is a fever &lt;b&gt;" in html
    for part in (
        "No safety rule fired",
        "Wait 9 days.",
        "number: 9 is not in the passage",
        "fever/children",
        CHECKS[0],
    ):
        assert part in html
