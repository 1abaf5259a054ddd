"""Conversations of open tabs: kept apart, stopped, forgotten."""

import time

import pytest

from chatbot.page.sessions import Sessions
from chatbot.reply import Outcome, Reply

pytestmark = pytest.mark.unit


def reply(text):
    return Reply(question=f"{text}?", outcome=Outcome.ANSWERED, text=text)


def test_two_tabs_never_see_each_others_words():
    sessions = Sessions()
    turn = sessions.get("a").begin_turn().stop
    sessions.get("a").show(turn, reply("mine"), finished=True)
    assert sessions.get("b").begin_turn().before == ()
    assert [r.text for r in sessions.get("a").begin_turn().before] == ["mine"]


def test_a_newer_turn_stops_the_older_and_keeps_what_it_had_shown():
    conversation = Sessions().get("a")
    old = conversation.begin_turn().stop
    assert conversation.show(old, reply("half"))
    before = conversation.begin_turn().before
    assert old.is_set()
    assert [r.text for r in before] == ["half"]
    assert not conversation.show(old, reply("half and more"))


def test_forgetting_drops_every_word_and_ends_the_turn():
    sessions = Sessions()
    conversation = sessions.get("a")
    turn = conversation.begin_turn().stop
    conversation.show(turn, reply("secret"))
    sessions.forget("a")
    assert turn.is_set()
    assert not conversation.show(turn, reply("secret"), finished=True)
    assert sessions.get("a").begin_turn().before == ()


def test_idle_tabs_are_forgotten():
    now = [0.0]
    sessions = Sessions(idle_s=10, now_s=lambda: now[0])
    sessions.get("a")
    now[0] = 11
    sessions.get("b")
    assert len(sessions) == 1


def test_a_tab_that_is_gone_is_stopped_at_once_and_forgotten_unless_it_comes_back():
    clock = iter(range(100))
    sessions = Sessions(now_s=lambda: float(next(clock)))
    gone, back = sessions.get("gone"), sessions.get("back")
    writing = gone.begin_turn().stop
    sessions.leave("gone", grace_s=0.05)
    sessions.leave("back", grace_s=0.05)
    assert writing.is_set()
    assert sessions.get("back") is back
    deadline = time.monotonic() + 5
    while len(sessions) > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sessions.get("back") is back
    assert sessions.get("gone") is not gone


def test_enter_pressed_twice_asks_once():
    now = [0.0]
    conversation = Sessions(now_s=lambda: now[0]).get("a")
    first = conversation.begin_turn("fever?")
    now[0] = 0.3
    assert conversation.begin_turn("fever?") is None and not first.stop.is_set()
    assert conversation.begin_turn("cough?").number == 1
    now[0] = 60
    assert conversation.begin_turn("cough?").number == 2


def test_numbers_go_on_when_the_oldest_turns_are_forgotten():
    conversation = Sessions().get("a")
    for n in range(60):
        begun = conversation.begin_turn()
        conversation.show(begun.stop, reply(str(n)), finished=True)
    assert len(conversation.replies) == 50 and conversation.number == 59


def test_what_was_stopped_may_be_asked_again_at_once():
    conversation = Sessions(now_s=lambda: 0.0).get("a")
    conversation.begin_turn("fever?")
    conversation.stop()
    assert conversation.begin_turn("fever?") is not None
