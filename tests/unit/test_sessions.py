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
    turn, _ = sessions.get("a").begin_turn()
    sessions.get("a").show(turn, reply("mine"), finished=True)
    assert sessions.get("b").begin_turn()[1] == ()
    assert [r.text for r in sessions.get("a").begin_turn()[1]] == ["mine"]


def test_a_newer_turn_stops_the_older_and_keeps_what_it_had_shown():
    conversation = Sessions().get("a")
    old, _ = conversation.begin_turn()
    assert conversation.show(old, reply("half"))
    _, before = conversation.begin_turn()
    assert old.is_set()
    assert [r.text for r in before] == ["half"]
    assert not conversation.show(old, reply("half and more"))


def test_forgetting_drops_every_word_and_ends_the_turn():
    sessions = Sessions()
    conversation = sessions.get("a")
    turn, _ = conversation.begin_turn()
    conversation.show(turn, reply("secret"))
    sessions.forget("a")
    assert turn.is_set()
    assert not conversation.show(turn, reply("secret"), finished=True)
    assert sessions.get("a").begin_turn()[1] == ()


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
    writing, _ = gone.begin_turn()
    sessions.leave("gone", grace_s=0.05)
    sessions.leave("back", grace_s=0.05)
    assert writing.is_set()
    assert sessions.get("back") is back
    deadline = time.monotonic() + 5
    while len(sessions) > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sessions.get("back") is back
    assert sessions.get("gone") is not gone
