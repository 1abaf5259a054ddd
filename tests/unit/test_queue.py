import threading
import time

import pytest

from chatbot.engine.queueing import FairQueue, QueueFullError

pytestmark = pytest.mark.unit


def test_first_come_first_served():
    queue = FairQueue(slots=1, length=10)
    places = [queue.enter() for _ in range(4)]
    served = []
    for place in places:
        assert [other.called.is_set() for other in places].count(True) == len(served) + 1
        assert place.called.is_set()
        served.append(place)
        queue.leave(place)
    assert served == places


def test_the_place_says_how_many_come_first():
    queue = FairQueue(slots=1, length=10)
    first, second, third = (queue.enter() for _ in range(3))
    assert [first.before, second.before, third.before] == [0, 1, 2]
    queue.leave(first)
    assert [second.before, third.before] == [0, 1]


def test_with_more_slots_fewer_come_first():
    queue = FairQueue(slots=3, length=10)
    places = [queue.enter() for _ in range(5)]
    assert [place.before for place in places] == [0, 0, 0, 1, 2]


def test_a_place_given_up_while_waiting_lets_the_others_move_up():
    queue = FairQueue(slots=1, length=10)
    first, second, third = (queue.enter() for _ in range(3))
    queue.leave(second)
    assert third.before == 1
    queue.leave(first)
    assert third.called.is_set()


def test_the_queue_is_bounded():
    queue = FairQueue(slots=1, length=2)
    for _ in range(3):
        queue.enter()
    with pytest.raises(QueueFullError, match="2 replies are waiting"):
        queue.enter()


def test_a_queue_without_length_still_serves_whoever_finds_it_free():
    queue = FairQueue(slots=1, length=0)
    with queue.enter(), pytest.raises(QueueFullError):
        queue.enter()
    with queue.enter() as place:
        assert place.called.is_set()


def test_one_patient_cannot_take_every_place():
    queue = FairQueue(slots=1, length=10, per_patient=1)
    with queue.enter(patient="a"):
        with pytest.raises(QueueFullError, match="earlier question"):
            queue.enter(patient="a")
        queue.enter(patient="b")
        queue.enter()
        queue.enter()
    with queue.enter(patient="a"):
        pass


def test_whoever_would_wait_too_long_is_told_at_once():
    queue = FairQueue(slots=1, length=10)
    with queue.enter():
        time.sleep(0.1)
    queue.enter()
    with pytest.raises(QueueFullError, match="would come in about"):
        queue.enter(patience_s=0.05)
    queue.enter(patience_s=5)


def test_leaving_twice_counts_once():
    queue = FairQueue(slots=1, length=10)
    first, second, third = (queue.enter() for _ in range(3))
    queue.leave(first)
    queue.leave(first)
    assert second.called.is_set()
    assert not third.called.is_set()


def test_a_place_is_given_back_when_its_holder_fails():
    queue = FairQueue(slots=1, length=10)
    with pytest.raises(ZeroDivisionError), queue.enter():
        1 / 0  # noqa: B018
    assert queue.running == 0


def test_resizing_calls_those_who_now_have_room():
    queue = FairQueue(slots=1, length=10)
    places = [queue.enter() for _ in range(3)]
    queue.resize(3)
    assert all(place.called.is_set() for place in places)
    queue.resize(1)
    queue.leave(places[0])
    assert queue.running == 2


def test_many_threads_never_exceed_the_slots_and_lose_nobody():
    queue = FairQueue(slots=3, length=100)
    lock = threading.Lock()
    running = most = served = 0

    def patient() -> None:
        nonlocal running, most, served
        with queue.enter() as place:
            assert place.called.wait(10)
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.002)
            with lock:
                running -= 1
                served += 1

    threads = [threading.Thread(target=patient) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (served, queue.waiting, queue.running) == (60, 0, 0)
    assert most <= 3
