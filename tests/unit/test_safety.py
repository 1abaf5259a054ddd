"""The safety gate's rules, without a model."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatbot.errors import KnowledgeError, Problem
from chatbot.knowledge import Clinic, read_model
from chatbot.reply import Outcome, Turn
from chatbot.safety.gate import SafetyGate, Verdict, check_rules, greeting_for
from chatbot.safety.rules import RuleBook, load_rules

pytestmark = pytest.mark.unit
KNOWLEDGE = Path(__file__).resolve().parents[2] / "knowledge"
PLAIN = ["crushing chest pain", "i cannot breathe", "vomiting blood", "having a stroke", "i want to kill myself"]


def clinic() -> Clinic:
    problems: list[Problem] = []
    found = read_model(KNOWLEDGE / "clinic.yaml", Clinic, KNOWLEDGE, problems)
    assert found is not None
    return found


def rules() -> RuleBook:
    problems: list[Problem] = []
    book = load_rules(KNOWLEDGE, clinic(), problems)
    assert problems == []
    return book


RULES = rules()
GATE = SafetyGate(RULES, None)


def outcome(message: str, *earlier: str) -> Outcome | None:
    verdict = GATE.check(message, [Turn("user", text) for text in earlier])
    return verdict.outcome if verdict else None


@pytest.mark.parametrize("flag", PLAIN)
def test_a_plain_red_flag_fires_in_any_case_and_buried_in_a_long_message(flag: str):
    chatter = "I work at the bakery and my sister visits on Sundays. " * 20
    for message in (flag, flag.upper(), flag.title(), f"{chatter} {flag}. {chatter}"):
        assert outcome(message) in (Outcome.EMERGENCY, Outcome.CRISIS), message


@settings(max_examples=150, deadline=None)
@given(before=st.text(max_size=80), after=st.text(max_size=80), flag=st.sampled_from(PLAIN))
@example(before="", after="?", flag="crushing chest pain")
def test_a_red_flag_is_found_whatever_line_stands_around_it(before: str, after: str, flag: str):
    assert outcome(f"{before}\n{flag}\n{after}") in (Outcome.EMERGENCY, Outcome.CRISIS)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_one_typing_error_in_a_long_word_does_not_hide_it(data: st.DataObject):
    flag = data.draw(st.sampled_from(PLAIN))
    word = data.draw(st.sampled_from([word for word in flag.split() if len(word) >= 5]))
    at = data.draw(st.integers(1, len(word) - 2))
    wrong = data.draw(
        st.sampled_from(
            [
                word[:at] + word[at + 1 :],
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
                word[:at] + word[at] + word[at:],
                word[:at] + "q" + word[at + 1 :],
            ]
        )
    )
    message = flag.replace(word, wrong)
    assert outcome(message) in (Outcome.EMERGENCY, Outcome.CRISIS), message


@pytest.mark.parametrize(
    "message",
    [
        "no chest pain",
        "I have no chest pain",
        "I don't have any chest pain",
        "chest pain ten years ago",
        "crushing chest pain years ago",
        "vomiting blood ten years ago",
        "no vomiting blood",
        "what causes chest pain?",
        "this itch is killing me",
        "what are the signs of a stroke?",
        "when should I see a doctor about a fever?",
    ],
)
def test_a_denied_past_or_asked_sign_does_not_fire(message: str):
    assert outcome(message) is None


def test_a_phrase_that_only_takes_rules_back_does_not_undo_a_denial():
    assert outcome("baby 6 weeks, no fever, just a stuffy nose") is None


def test_history_with_a_new_sign_fires():
    assert outcome("I had a heart attack ten years ago and now my chest hurts again") is Outcome.EMERGENCY


def test_a_denial_beside_hopelessness_fires():
    assert outcome("I'm not suicidal but everyone would be better off without me") is Outcome.CRISIS


@pytest.mark.parametrize("flag", PLAIN)
def test_no_or_ten_years_ago_stops_a_plain_red_flag(flag: str):
    sign = flag.removeprefix("i ")
    if sign in ("crushing chest pain", "vomiting blood", "having a stroke"):
        assert outcome(f"no {sign}") is None
        assert outcome(f"{sign} ten years ago") is None
    else:  # words that are said in danger: a "no" before them is another sentence, and the card is shown
        assert outcome(f"no, {flag}") in (Outcome.EMERGENCY, Outcome.CRISIS)


@settings(max_examples=100, deadline=None)
@given(
    past=st.lists(st.sampled_from(["what are the signs of a stroke?", "thanks", "no chest pain", *PLAIN]), max_size=6)
)
def test_no_past_turn_ever_hides_a_new_red_flag(past: list[str]):
    for flag in PLAIN:
        assert outcome(flag, *past) in (Outcome.EMERGENCY, Outcome.CRISIS), (flag, past)


def test_units_and_ages_are_understood():
    for said in ("6 week old baby 38.5 C", "my six weeks old baby has 101.3 F", "baby, 5 wks, temp 38,4"):
        assert outcome(said) is Outcome.EMERGENCY, said
    assert outcome("my 5 year old has 38.2 and plays") is None


def test_an_earlier_message_completes_a_combination():
    assert outcome("and now my arm is numb", "I have a bad headache") is Outcome.EMERGENCY


def test_a_fired_card_does_not_come_back_for_a_harmless_question():
    assert outcome("what are your opening hours", "I have crushing chest pain and my arm is numb") is None


def test_an_earlier_harmless_message_never_hides_a_red_flag():
    assert outcome("I have crushing chest pain", "what are the signs of a heart attack?", "thanks") is Outcome.EMERGENCY


def test_the_verdict_says_which_rule_fired_on_which_words():
    verdict = GATE.check("my chest feels tight")
    assert verdict is not None
    assert verdict.rule_id == "heart/chest-pain"
    assert set(verdict.matched) == {"chest", "tight"}


def test_every_number_on_a_card_is_the_clinics():
    allowed = {re.sub(r"\D", "", text) for text in clinic().placeholders().values()}
    for group in RULES.groups.values():
        for number in re.findall(r"\+?\d[\d\-() ]{2,}\d", group.card):
            assert any(re.sub(r"\D", "", number) in known for known in allowed), (group.id, number)
        assert "{" not in group.card


def test_the_rules_alone_find_most_examples_and_ring_at_few():
    """What they leave to the weights is held by the component tests of the whole gate."""
    wrong = check_rules(RULES, GATE)
    groups = RULES.groups.values()
    missed = [problem for problem in wrong if problem.field == "must_fire"]
    alarmed = [problem for problem in wrong if problem.field == "must_not_fire"]
    assert len(missed) <= 0.10 * sum(len(group.must_fire) for group in groups), missed[:20]
    assert len(alarmed) <= 0.02 * sum(len(group.must_not_fire) for group in groups), alarmed[:20]


@pytest.mark.parametrize(
    "hostile",
    [
        "a" * 100_000,
        "no " * 33_000,
        "chest pain " * 9_000,
        "no chest pain, " * 6_600,
        "chest pain years ago " * 4_700,
        "(" * 100_000,
        "38.5 " * 20_000,
        "\u0301" * 100_000,
        "took 5 pills " * 7_600,
        "is is is pain " * 7_000,
    ],
)
def test_a_hostile_message_costs_bounded_time(hostile: str):
    start = time.process_time()
    GATE.check(hostile)
    assert time.process_time() - start < 2


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=2000))
def test_any_text_gets_an_answer(text: str):
    GATE.check(text)


def test_an_emergency_in_a_message_of_twenty_thousand_characters_is_found_anywhere():
    line = "I read a book in the garden. "
    for before in (0, 300, 650):
        message = line * before + "My husband cannot breathe. " + line * (650 - before)
        assert len(message) < 20_000
        assert outcome(message) is Outcome.EMERGENCY


def test_a_broken_rule_file_makes_the_book_unusable_and_every_problem_is_told(tmp_path: Path):
    folder = tmp_path / "safety"
    folder.mkdir()
    for path in (KNOWLEDGE / "safety").glob("*.yaml"):
        (folder / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "heart.yaml").write_text("id: heart\nkind: emergency\ntitle: x\n", encoding="utf-8")
    stroke = (folder / "stroke.yaml").read_text(encoding="utf-8")
    (folder / "stroke.yaml").write_text(stroke.replace('"@half", "@weak"', '"@nowhere", "@weak"'), encoding="utf-8")
    problems: list[Problem] = []
    book = load_rules(tmp_path, clinic(), problems)
    assert not book.usable
    assert any(problem.path == "safety/heart.yaml" for problem in problems)
    with pytest.raises(KnowledgeError):
        SafetyGate(book, None)


def test_a_failed_gate_is_an_emergency_verdict_with_the_clinics_text():
    verdict = Verdict.of_failure("Call 911.", ValueError("x"))
    assert (verdict.outcome, verdict.text, verdict.error) == (Outcome.EMERGENCY, "Call 911.", "ValueError: x")


def test_a_message_that_is_more_than_a_greeting_is_no_greeting():
    assert greeting_for("hello I have chest pain", []) is None
