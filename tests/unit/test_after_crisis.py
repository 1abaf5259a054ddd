"""The turns after a crisis card: gentle, and as useful as any other."""

from dataclasses import replace

import pytest
from fakes import ANSWERED, FixedRetriever
from test_pipeline import CopyChecker

from chatbot.page.cards import Setting, turn_html
from chatbot.page.words import shipped_words
from chatbot.pipeline import Pipeline
from chatbot.reply import Outcome, Turn
from chatbot.retrieval.retriever import Decision
from chatbot.safety.gate import Verdict

pytestmark = pytest.mark.unit
LINE = "Good that you are here. Call 001 at any hour."
SAID = (Turn("user", "I want to die"), Turn("assistant", "Call 001."))


class CrisisGate:
    """A crisis for "die", an emergency for "chest"; an earlier message changes nothing."""

    def check(self, message, history):
        if "die" in message:
            return Verdict(Outcome.CRISIS, "crisis-suicide", "Call 001.")
        return Verdict(Outcome.EMERGENCY, "heart", "Call 000.") if "chest" in message else None


@pytest.fixture
def bot(small_knowledge):
    texts = small_knowledge.texts.model_copy(update={"after_crisis": LINE})
    knowledge = replace(small_knowledge, texts=texts)
    return lambda decision=ANSWERED: Pipeline(knowledge, CrisisGate(), FixedRetriever(decision), CopyChecker(), None)


def test_a_normal_question_after_a_crisis_is_answered_gently(bot):
    reply = bot().reply("fever?", SAID)
    assert reply.outcome is Outcome.ANSWERED
    assert reply.sentences[0].text == LINE and reply.sentences[0].origin == "fixed"
    assert "100.4 °F (38 °C)" in reply.text


@pytest.mark.parametrize(("message", "decision"), [("hello", ANSWERED), ("football?", Decision("no_answer"))])
def test_every_other_reply_begins_gently_too(bot, message, decision):
    assert bot(decision).reply(message, SAID).text.startswith(LINE)


def test_the_line_comes_only_after_a_crisis(bot):
    assert LINE not in bot().reply("fever?", (Turn("user", "hello"), Turn("assistant", "I want to die"))).text


def test_a_new_red_flag_after_a_crisis_shows_its_card_alone(bot):
    reply = bot().reply("now my chest hurts", SAID)
    assert (reply.outcome, reply.text) == (Outcome.EMERGENCY, "Call 000.")


def test_the_page_shows_the_line_above_the_answer_and_keeps_the_card(bot):
    pipeline = bot()
    setting = Setting(pipeline.knowledge, shipped_words()["en"])
    card = turn_html(pipeline.reply("I want to die"), setting, number=1, newest=False)
    later = turn_html(pipeline.reply("fever?", SAID), setting, number=2)
    assert "Call 001." in card
    assert later.index(LINE) < later.index("Fever in adults")
