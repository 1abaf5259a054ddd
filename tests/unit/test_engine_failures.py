import threading
import time
from collections.abc import Callable

import pytest
from engine_stand_in import (
    Connection,
    StandIn,
    engine_for,
    event,
    read,
    read_at_once,
    refusing_url,
    says,
)

from chatbot.prompting import MAX_REPLY_TOKENS

pytestmark = pytest.mark.unit


def broken_json(connection: Connection) -> None:
    connection.status(200)
    connection.say("Rest. ")
    connection.raw(b"data: {not json\n\n")


def other_json(connection: Connection) -> None:
    connection.status(200)
    connection.raw(event(["a", "list"]))


def numbers_for_text(connection: Connection) -> None:
    connection.status(200)
    connection.raw(event({"choices": [{"delta": {"content": 5}}]}))


def endless_line(connection: Connection) -> None:
    connection.status(200)
    for _ in range(100):
        connection.raw(b"x" * 10_000)


def web_page(connection: Connection) -> None:
    connection.status(200, "text/html")
    connection.raw(b"<html>It works!</html>")


def broken_off(connection: Connection) -> None:
    connection.status(200)
    connection.say("Rest. ")


def noise(connection: Connection) -> None:
    connection.status(200)
    connection.raw(bytes(range(256)) * 40)


@pytest.mark.parametrize(
    "script", [broken_json, other_json, numbers_for_text, endless_line, web_page, broken_off, noise]
)
def test_garbage_ends_the_draft_with_an_error_and_the_next_one_is_fine(script: Callable[[Connection], None]):
    with StandIn(script) as server, engine_for(server) as engine:
        text, error = read(engine)
        assert text in ("", "Rest. ")
        assert error
        server.script = says("Drink.")
        assert read(engine) == ("Drink.", "")


@pytest.mark.parametrize("status", [400, 401, 404, 413, 429, 500, 503])
def test_a_refusal_is_an_error_that_does_not_repeat_the_question(status: int):
    def refuse(connection: Connection) -> None:
        connection.status(status)
        connection.raw(b'{"error": "Fever?"}')

    with StandIn(refuse) as server, engine_for(server) as engine:
        text, error = read(engine)
    assert text == ""
    assert error
    assert "Fever" not in error


def test_a_reply_cut_at_its_longest_is_not_taken_for_finished():
    with StandIn(says("Take it if you are not", reason="length")) as server, engine_for(server) as engine:
        _, error = read(engine)
    assert "cut" in error


def test_a_server_that_ignores_the_limit_is_cut_off():
    with StandIn(says(*["word "] * 2000)) as server, engine_for(server) as engine:
        text, error = read(engine)
    assert len(text.split()) <= 4 * MAX_REPLY_TOKENS + 1
    assert error


def test_nobody_listening_is_an_error_and_quick():
    with engine_for(refusing_url()) as engine:
        start = time.monotonic()
        assert read(engine)[0] == ""
        assert time.monotonic() - start < 2


def test_drafts_are_spread_over_the_servers():
    gate = threading.Barrier(3, timeout=5)

    def both(connection: Connection) -> None:
        gate.wait()
        says("Rest.")(connection)

    with StandIn(both) as one, StandIn(both) as other, engine_for(one, other) as engine:
        results = read_at_once(engine, 2, lambda: gate.wait() and None)
    assert results == [("Rest.", "")] * 2
    assert (len(one.requests), len(other.requests)) == (1, 1)


def test_a_dead_server_is_passed_over_for_a_living_one():
    with StandIn(says("Rest.")) as server, engine_for(refusing_url(), server) as engine:
        assert [read(engine) for _ in range(4)] == [("Rest.", "")] * 4


def test_a_reply_broken_off_is_finished_by_another_server_without_repeating_a_word():
    def dies(connection: Connection) -> None:
        connection.status(200)
        connection.say("Rest and ")
        connection.say("drink ")

    with StandIn(dies) as one, StandIn(says("Rest", " and drink water.")) as other, engine_for(one, other) as engine:
        assert read(engine) == ("Rest and drink water.", "")


def test_another_server_that_says_something_else_does_not_mix_in():
    def dies(connection: Connection) -> None:
        connection.status(200)
        connection.say("Rest and ")

    with StandIn(dies) as one, StandIn(says("Take care.")) as other, engine_for(one, other) as engine:
        text, error = read(engine)
    assert text == "Rest and "
    assert "differently" in error


def test_a_server_that_falls_silent_is_left_for_another():
    def silent(connection: Connection) -> None:
        connection.status(200)
        time.sleep(1.5)

    with StandIn(silent) as one, StandIn(says("Rest.")) as other, engine_for(one, other, silence_s=0.3) as engine:
        assert read(engine) == ("Rest.", "")


def test_no_failed_reply_when_one_of_two_servers_dies_under_load():
    script = says("Rest ", "and ", "drink.", pause_s=0.01)
    with (
        StandIn(script) as one,
        StandIn(script) as other,
        engine_for(one, other, slots=2, length=50, deadline_s=10) as engine,
    ):

        def dies() -> None:
            time.sleep(0.1)
            one.script = lambda connection: None  # hangs up on everybody without a word

        results = read_at_once(engine, 24, dies)
    assert results == [("Rest and drink.", "")] * 24


def test_servers_that_all_failed_a_moment_ago_are_no_model():
    with engine_for(refusing_url(), refusing_url()) as engine:
        assert engine.name == "a model"
        read(engine)
        assert engine.name is None
        assert "engine.urls" in engine.unavailable
