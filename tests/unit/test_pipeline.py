"""A whole turn with fakes: what a patient may read, and in what order."""

import jsonschema
import pytest
from fakes import ANSWERED, FixedRetriever, ScriptedWriter, WordGate
from hypothesis import given
from hypothesis import strategies as st

from chatbot.grounding.checker import SentenceVerdict
from chatbot.pipeline import Dropped, Finished, Pipeline, Shown, Working
from chatbot.reply import Outcome, Waiting
from chatbot.retrieval.retriever import Decision

pytestmark = pytest.mark.unit


class CopyChecker:
    """Passes what stands in a passage word for word."""

    def check(self, sentence, passages):
        text = " ".join(sentence.replace("[1]", "").replace("[2]", "").split())
        for passage in passages:
            if text in passage.text:
                return SentenceVerdict(True, text, passage.answer_id)
        return SentenceVerdict(False, text, reasons=("not in a passage",))


def pipeline(knowledge, decision=ANSWERED, writer=None, gate=None):
    return Pipeline(knowledge, gate or WordGate(), FixedRetriever(decision), CopyChecker(), writer)


def generated(reply):
    return [sentence.text for sentence in reply.sentences if sentence.origin == "generated"]


def test_vetted_text_is_shown_before_the_model_is_asked(small_knowledge):
    writer = ScriptedWriter(["Rest and drink water. [1]\n"])
    events = pipeline(small_knowledge, writer=writer).ask("fever?")
    first = next(event for event in events if isinstance(event, Shown))
    assert first.reply.outcome is Outcome.ANSWERED
    assert "100.4 °F (38 °C)" in first.reply.text
    assert writer.seen == []


def test_an_emergency_never_reaches_retrieval_or_the_model(small_knowledge):
    writer = ScriptedWriter(["Rest. [1]\n"])
    bot = pipeline(small_knowledge, writer=writer)
    reply = bot.reply("pain in my chest")
    assert (reply.outcome, reply.red_flag) == (Outcome.EMERGENCY, "heart")
    assert reply.text == "Call 000 now.\n- Sit down."
    assert writer.seen == [] and bot.retriever.seen == []


def test_a_broken_gate_gives_the_clinics_emergency_text_and_nothing_else(small_knowledge):
    reply = pipeline(small_knowledge, gate=WordGate(broken=True)).reply("hello")
    assert reply.outcome is Outcome.EMERGENCY
    assert "Call 000 now" in reply.text


def test_only_checked_sentences_join_the_reply_and_the_rest_are_counted(small_knowledge):
    writer = ScriptedWriter(["Rest and drink water. [1]\n", "Take 9 aspirin. [1]\n", "Do not give aspirin. [2]\n"])
    events = list(pipeline(small_knowledge, writer=writer).ask("fever?"))
    reply = next(event.reply for event in events if isinstance(event, Finished))
    assert generated(reply) == ["Rest and drink water.", "Do not give aspirin."]
    assert reply.dropped == 1
    assert [event.sentence for event in events if isinstance(event, Dropped)] == ["Take 9 aspirin. [1]"]
    assert [citation.id for citation in reply.citations] == ["fever/adults", "fever/children"]
    assert not any("9 aspirin" in event.reply.text for event in events if isinstance(event, Shown))


def test_a_model_that_dies_leaves_the_vetted_reply_whole(small_knowledge):
    writer = ScriptedWriter(["Rest and drink water. [1]\n", "Do not"], dies_after=1)
    reply = pipeline(small_knowledge, writer=writer).reply("fever?")
    assert reply.outcome is Outcome.ANSWERED
    assert "Call if it lasts 3 days." in reply.text
    assert generated(reply) in ([], ["Rest and drink water."])


def test_stop_ends_the_turn_with_what_is_shown(small_knowledge):
    writer = ScriptedWriter(["Rest and drink water. [1]\n"] * 50)
    shown = []
    events = pipeline(small_knowledge, writer=writer).ask("fever?", stopped=lambda: bool(shown))
    for event in events:
        shown.append(event)
    assert isinstance(shown[-1], Finished)
    assert generated(shown[-1].reply) == []


def test_verbatim_never_asks_the_model(small_knowledge):
    writer = ScriptedWriter(["Rest and drink water. [1]\n"])
    reply = pipeline(small_knowledge, writer=writer).reply("fever?", mode="verbatim")
    assert writer.seen == [] and reply.model is None and generated(reply) == []


def test_a_picked_answer_is_shown_without_searching_but_never_past_the_gate(small_knowledge):
    bot = pipeline(small_knowledge, Decision("no_answer"))
    picked = next(e.reply for e in bot.ask("Fever in children", chosen="fever/children") if isinstance(e, Finished))
    stopped = next(e.reply for e in bot.ask("chest", chosen="fever/children") if isinstance(e, Finished))
    assert picked.citations[0].id == "fever/children"
    assert stopped.outcome is Outcome.EMERGENCY


@pytest.mark.parametrize(
    ("question", "decision", "outcome"),
    [
        ("fever?", ANSWERED, "answered"),
        ("fever?", Decision("did_you_mean", candidates=("fever/adults", "fever/children")), "did_you_mean"),
        ("football?", Decision("no_answer"), "no_answer"),
        ("chest", ANSWERED, "emergency"),
        ("Hello!", ANSWERED, "greeting"),
        ("   ", ANSWERED, "no_answer"),
    ],
)
def test_every_outcome_matches_the_contract(small_knowledge, reply_schema, question, decision, outcome):
    reply = pipeline(small_knowledge, decision, ScriptedWriter(["Rest and drink water. [1]\n"])).reply(
        question, id_="7"
    )
    content = reply.as_json()
    jsonschema.validate(content, reply_schema)
    assert content["outcome"] == outcome
    assert content["id"] == "7"
    assert all(sentence["text"] in content["text"] for sentence in content["sentences"])


@given(st.text(max_size=300))
def test_any_text_leads_to_exactly_one_reply_with_something_to_read(text):
    from pathlib import Path

    from fakes import CHILD_FEVER, CLINIC, FEVER, TEXTS

    from chatbot.knowledge import Knowledge

    knowledge = Knowledge(Path("k"), CLINIC, TEXTS, {a.id: a for a in (FEVER, CHILD_FEVER)})
    events = list(pipeline(knowledge, writer=ScriptedWriter(["x\n"])).ask(text))
    finished = [event for event in events if isinstance(event, Finished)]
    assert len(finished) == 1
    assert finished[0].reply.text
    assert events[-1] is finished[0]


def test_the_gate_sees_the_words_as_they_were_typed(small_knowledge):
    gate = WordGate()
    typed = "ch\u200best " + "x" * 5000
    pipeline(small_knowledge, gate=gate).reply(typed)
    assert gate.seen == [typed]


def test_a_waiting_patient_is_told_how_many_come_first(small_knowledge):
    writer = ScriptedWriter([Waiting(2), Waiting(1), Waiting(0), "Rest and drink water. [1]\n"])
    events = list(pipeline(small_knowledge, writer=writer).ask("fever?"))
    places = [(event.stage, event.before) for event in events if isinstance(event, Working)]
    assert places == [("searching", 0), ("writing", 0), ("waiting", 2), ("waiting", 1), ("writing", 0)]
    assert generated(events[-1].reply) == ["Rest and drink water."]
