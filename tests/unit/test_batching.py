"""Work that arrives while other work is under way is done in one batch."""

import threading

import pytest

from chatbot.batching import Together

pytestmark = pytest.mark.unit


def at_once(together: Together[int, int], arguments: range) -> dict[int, object]:
    found: dict[int, object] = {}

    def ask(argument: int) -> None:
        try:
            found[argument] = together(argument)
        except ValueError as error:
            found[argument] = str(error)

    threads = [threading.Thread(target=ask, args=(argument,)) for argument in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return found


def test_what_arrives_meanwhile_is_done_together_and_everybody_gets_their_own():
    batches: list[list[int]] = []
    go_on = threading.Event()

    def double(arguments: list[int]) -> list[int]:
        batches.append(arguments)
        if len(batches) == 1:
            assert go_on.wait(20)
        return [2 * argument for argument in arguments]

    together = Together(double, threading.Lock(), most=8)
    first = threading.Thread(target=together, args=(100,))
    first.start()
    while not batches:
        pass
    threading.Timer(0.3, go_on.set).start()  # by then the others wait
    assert at_once(together, range(20)) == {n: 2 * n for n in range(20)}
    first.join(20)
    assert sum(map(len, batches)) == 21
    assert len(batches) < 10
    assert max(map(len, batches)) <= 8


def test_a_failure_is_told_to_everybody_in_its_batch_and_to_nobody_after():
    def work(arguments: list[int]) -> list[int]:
        if 3 in arguments:
            raise ValueError("broken")
        return arguments

    together = Together(work, threading.Lock())
    assert at_once(together, range(3, 4)) == {3: "broken"}
    assert at_once(together, range(5))[4] in (4, "broken")
    assert together(7) == 7
