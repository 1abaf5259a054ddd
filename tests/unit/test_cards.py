"""Replies as HTML: the right parts in the right card, and nothing that a browser would run."""

from dataclasses import replace

import pytest
from fakes import CHILD_FEVER, FEVER, answer

from chatbot.page.cards import Setting, markdown_html, split_care, turn_html
from chatbot.page.support import passage_html
from chatbot.page.words import shipped_words
from chatbot.pipeline import citation_of, vetted_sentences
from chatbot.reply import Outcome, Reply, Sentence

pytestmark = pytest.mark.unit

ANSWERED = Reply(
    question="fever?",
    outcome=Outcome.ANSWERED,
    text=FEVER.plain,
    sentences=vetted_sentences(FEVER),
    citations=(citation_of(FEVER),),
)
WORDS = shipped_words()["en"]
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<svg/onload=alert(1)>",
    "javascript:alert(1)",
]


def test_the_vetted_card_has_its_text_its_care_part_its_source_and_its_review_state(small_knowledge):
    html = turn_html(ANSWERED, Setting(small_knowledge, WORDS), number=0)
    assert "A fever is 100.4 °F (38 °C) or more." in html
    assert '<div class="care" role="group" aria-labelledby="care-0"><h3 id="care-0">When to get help</h3>' in html
    assert 'href="https://example.org/page"' in html
    assert "not reviewed by a clinician" in html
    assert "worded" not in html


def with_worded(text, answer_, support):
    sentence = Sentence(text, "generated", answer_.id, support)
    citations = (*ANSWERED.citations, citation_of(answer_))
    return replace(ANSWERED, sentences=(*ANSWERED.sentences, sentence), citations=citations)


def test_a_worded_sentence_has_a_mark_that_opens_the_vetted_sentence(small_knowledge):
    reply = with_worded("Never give aspirin.", CHILD_FEVER, ("Do not give aspirin.",))
    html = turn_html(reply, Setting(small_knowledge, WORDS), number=3)
    assert 'aria-controls="support-3-0"' in html
    assert '<div class="support" id="support-3-0" hidden>' in html
    assert "A fever in a child often ends in 2 days. <mark>Do not give aspirin.</mark>" in html


def test_a_worded_sentence_goes_with_the_answer_it_rests_on(small_knowledge):
    reply = with_worded("Never give aspirin.", CHILD_FEVER, ("Do not give aspirin.",))
    knowledge = replace(small_knowledge, answers={FEVER.id: FEVER})
    assert "Never give aspirin" not in turn_html(reply, Setting(knowledge, WORDS), number=0)


def test_the_item_and_the_line_that_leads_to_it_are_both_marked():
    text = "Rest.\n\nCall the clinic if:\n\n- It lasts 3 days. Or more.\n- You feel worse."
    html = passage_html(text, ("Call the clinic if it lasts 3 days.",))
    assert html == "<p><mark>Call the clinic if:</mark></p><p>• <mark>It lasts 3 days.</mark> Or more.</p>"


def test_an_alert_is_spoken_once_only(small_knowledge):
    reply = Reply(question="q", outcome=Outcome.EMERGENCY, text="", sentences=(Sentence("Call.", "fixed"),))
    setting = Setting(small_knowledge, WORDS)
    assert 'role="alert"' in turn_html(reply, setting, number=0)
    assert 'role="alert"' not in turn_html(reply, setting, number=0, newest=False)


def test_related_questions_and_feedback_come_with_the_finished_newest_turn_alone(small_knowledge):
    setting = Setting(small_knowledge, WORDS)
    html = turn_html(ANSWERED, setting, number=0)
    assert (
        'data-language="en" data-answer="fever/children">Fever in children</button>' in html
        and "Was this helpful?" in html
    )
    for other in (
        turn_html(ANSWERED, setting, number=0, finished=False),
        turn_html(ANSWERED, setting, number=0, newest=False),
    ):
        assert "data-answer" not in other and "Was this helpful?" not in other


def test_words_are_asked_for_only_where_somebody_reads_them(small_knowledge):
    assert "<input" not in turn_html(ANSWERED, Setting(small_knowledge, WORDS), number=0)
    assert "<input" in turn_html(ANSWERED, Setting(small_knowledge, WORDS, asks_for_a_word=True), number=0)


def test_an_emergency_is_an_alert_without_links(small_knowledge):
    reply = Reply(
        question="chest",
        outcome=Outcome.EMERGENCY,
        text="",
        sentences=(Sentence("Call 000 now.", "fixed"), Sentence("- Sit down.", "fixed")),
    )
    html = turn_html(reply, Setting(small_knowledge, WORDS), number=0)
    assert 'role="alert"' in html and "<li>Sit down.</li></ul>" in html
    assert "<a " not in html


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_words_stay_words_wherever_they_come_from(small_knowledge, hostile):
    poisoned = answer(
        "fever/adults",
        f"Rest. {hostile}\n\n[click](javascript:alert(1)) ![x](https://evil.example/x.png)",
        title=hostile,
    )
    knowledge = replace(small_knowledge, answers={"fever/adults": poisoned})
    sentence = Sentence(hostile, "generated", poisoned.id)
    reply = replace(
        ANSWERED,
        question=hostile,
        sentences=(*vetted_sentences(poisoned), sentence),
        citations=(citation_of(poisoned),),
    )
    html = turn_html(reply, Setting(knowledge, WORDS), number=0)
    for tag in ("<script", "<img", "<svg", 'href="javascript'):
        assert tag not in html


def test_a_withdrawn_answer_is_not_shown_again(small_knowledge):
    html = turn_html(ANSWERED, Setting(replace(small_knowledge, answers={}), WORDS), number=0)
    assert "withdrawn" in html and "100.4" not in html


def test_the_care_part_begins_at_its_heading_whatever_the_case():
    assert split_care("a\n\n## When To Get Help\n\n- b") == ("a\n", "## When To Get Help\n\n- b")
    assert split_care("a\n\n## Other\n\nb")[1] == ""


def test_headings_stand_below_the_cards_own():
    assert markdown_html("# Big\n\ntext") == "<h3>Big</h3>\n<p>text</p>\n"


def test_each_answer_to_choose_from_shows_its_first_vetted_sentence(small_knowledge):
    citations = (citation_of(FEVER), citation_of(CHILD_FEVER))
    reply = Reply("fever", Outcome.DID_YOU_MEAN, "", (Sentence("Which?", "fixed"),), citations)
    html = turn_html(reply, Setting(small_knowledge, WORDS), number=0)
    assert '>Fever in adults</button><p class="preview">A fever is 100.4 °F (38 °C) or more.</p>' in html
    assert html.count('class="choice"') == 2
    assert 'class="choice"' not in turn_html(reply, Setting(small_knowledge, WORDS), number=0, newest=False)


@pytest.mark.parametrize(("due", "said"), [("2031-01-02", "2020-01-02"), ("2021-01-02", "Being reviewed.")])
def test_a_review_that_has_run_out_says_that_the_answer_is_being_reviewed(small_knowledge, due: str, said: str):
    citation = replace(citation_of(FEVER), review_status="reviewed", reviewed="2020-01-02", due=due)
    html = turn_html(replace(ANSWERED, citations=(citation,)), Setting(small_knowledge, WORDS), number=1)
    assert said in html
    assert ("2020-01-02" in html) == (said == "2020-01-02")
