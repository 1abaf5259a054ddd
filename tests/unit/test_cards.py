"""Replies as HTML: the right parts in the right card, and nothing that a browser would run."""

from dataclasses import replace

import pytest
from fakes import CHILD_FEVER, FEVER, answer

from chatbot.page.cards import markdown_html, split_care, turn_html
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
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<svg/onload=alert(1)>",
    "javascript:alert(1)",
]


def test_the_vetted_card_has_its_text_its_care_part_its_source_and_its_review_state(small_knowledge):
    html = turn_html(ANSWERED, small_knowledge, number=0)
    assert "A fever is 100.4 °F (38 °C) or more." in html
    assert '<section class="care"><h3>When to get help</h3>' in html
    assert 'href="https://example.org/page"' in html
    assert "not reviewed by a clinician" in html
    assert "worded" not in html


def test_a_worded_sentence_leads_to_its_source(small_knowledge):
    sentence = Sentence("Do not give aspirin.", "generated", CHILD_FEVER.id)
    reply = replace(
        ANSWERED,
        sentences=(*ANSWERED.sentences, sentence),
        citations=(*ANSWERED.citations, citation_of(CHILD_FEVER)),
    )
    html = turn_html(reply, small_knowledge, number=3)
    assert 'Do not give aspirin. <a class="mark" href="#vetted-3" aria-label="Source 2">[2]</a>' in html


def test_an_emergency_is_an_alert_without_links(small_knowledge):
    reply = Reply(
        question="chest",
        outcome=Outcome.EMERGENCY,
        text="",
        sentences=(Sentence("Call 000 now.", "fixed"), Sentence("- Sit down.", "fixed")),
    )
    html = turn_html(reply, small_knowledge, number=0)
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
    html = turn_html(reply, knowledge, number=0)
    for tag in ("<script", "<img", "<svg", 'href="javascript'):
        assert tag not in html


def test_a_withdrawn_answer_is_not_shown_again(small_knowledge):
    html = turn_html(ANSWERED, replace(small_knowledge, answers={}), number=0)
    assert "withdrawn" in html and "100.4" not in html


def test_the_care_part_begins_at_its_heading_whatever_the_case():
    assert split_care("a\n\n## When To Get Help\n\n- b") == ("a\n", "## When To Get Help\n\n- b")
    assert split_care("a\n\n## Other\n\nb")[1] == ""


def test_headings_stand_below_the_cards_own():
    assert markdown_html("# Big\n\ntext") == "<h3>Big</h3>\n<p>text</p>\n"
