import signal
import threading
import time
from itertools import count, cycle, islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator import pipeline
from annotator.pipeline import AHEAD, overlapped


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def sent(items, *stages):
    with overlapped(items, *stages) as results:
        return list(results)


def at_random_speed(function):
    pauses = cycle(np.random.default_rng(0).random(99))

    def slowed(item):
        time.sleep(next(pauses) / 500)
        return function(item)

    return slowed


@given(st.integers(0, 30), st.lists(st.integers(1, 4), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_the_order_is_that_of_the_items(length, threads):
    stages = [(at_random_speed(lambda value, k=k: (value, k)), number) for k, number in enumerate(threads)]
    expected = list(range(length))
    for k in range(len(threads)):
        expected = [(value, k) for value in expected]
    assert sent(range(length), *stages) == expected


def test_stages_work_at_the_same_time():
    """Three items meet in three stages: none could pass if one had to wait for another."""
    meeting = threading.Barrier(3, timeout=20)
    met = threading.Event()

    def stage(position):
        def work(item):
            if item + position == 2 and not met.is_set():
                meeting.wait()
                met.set()
            return item

        return work, 1

    assert sent(range(3), *map(stage, range(3))) == [0, 1, 2]
    assert met.is_set()


def test_threads_of_one_stage_work_at_the_same_time():
    meeting = threading.Barrier(3, timeout=20)

    def work(item):
        meeting.wait()
        return item

    assert sent(range(6), (work, 3)) == list(range(6))


def test_no_more_is_in_hand_than_the_bound_whatever_the_caller_does():
    """Endless items, a caller that pauses: the first stage stops where the queues are full."""
    made = []
    lock = threading.Lock()

    def source():
        for number in count():
            with lock:
                made.append(number)
            yield number

    threads = (2, 1, 3)
    most = sum(number + AHEAD for number in threads) + len(threads)  # and one in the hand of each feeder
    with overlapped(source(), *((lambda item: item, number) for number in threads)) as results:
        for taken, _ in enumerate(islice(results, 20), start=1):
            time.sleep(0.01)
            with lock:
                assert len(made) - taken <= most
        time.sleep(0.2)
        assert len(made) - taken <= most


@pytest.mark.parametrize("failing", ["items", 0, 1, 2])
def test_a_failure_comes_once_where_its_item_would_have_come(failing):
    worked = [[], [], []]

    def source():
        for number in count():
            if failing == "items" and number == 5:
                raise LookupError(number)
            yield number

    def stage(position):
        def work(item):
            worked[position].append(item)
            if position == failing and item == 5:
                raise LookupError(item)
            return item

        return work, 1

    with overlapped(source(), *map(stage, range(3))) as results:
        assert list(islice(results, 5)) == [0, 1, 2, 3, 4]
        with pytest.raises(LookupError):
            next(results)
        assert list(results) == []
    if failing != "items":
        assert worked[failing] == [0, 1, 2, 3, 4, 5]  # and none after it
        assert all(5 not in later for later in worked[failing + 1 :])


@given(st.integers(0, 20), st.sets(st.integers(0, 20), min_size=1), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_of_several_failures_the_first_item_s_is_told(length, failing, threads):
    def work(item):
        if item in failing:
            raise LookupError(item)
        return item

    stages = [(at_random_speed(work), threads), (at_random_speed(lambda item: item), threads)]
    with overlapped(range(length), *stages) as results:
        first = min(failing)
        assert list(islice(results, first)) == list(range(min(first, length)))
        if first < length:
            with pytest.raises(LookupError, match=f"^{first}$"):
                next(results)


def test_a_caller_that_stops_early_stops_all_stages():
    worked = []

    def work(item):
        worked.append(item)
        return item

    with overlapped(count(), (lambda item: item, 2), (work, 1)) as results:
        assert next(results) == 0
    stopped_at = len(worked)
    time.sleep(0.05)
    assert len(worked) == stopped_at <= 1 + 1 + AHEAD


def test_the_failure_of_a_caller_stops_all_stages():
    def use():
        with overlapped(count(), (lambda item: item, 2), (lambda item: item, 1)) as results:
            for item in results:
                if item == 3:
                    raise LookupError(item)

    with pytest.raises(LookupError):
        use()


@pytest.mark.parametrize("where", ["while it waits for a result", "while it uses one"])
def test_an_interrupt_waits_for_the_last_stage_alone(where, monkeypatch):
    """A call that hangs in the first stage does not keep the process from ending; a short one in the last may end."""
    monkeypatch.setattr(pipeline, "GRACE_SECONDS", 20)
    before = set(threading.enumerate())
    hanging, storing, stored, let_go = (threading.Event() for _ in range(4))

    def fetch(item):
        if item == 2:
            hanging.set()
            let_go.wait(20)
        return item

    def store(item):
        if item == 1:
            storing.set()
            time.sleep(0.3)
            stored.set()
        return item

    def interrupt():
        hanging.wait(20)
        storing.wait(20)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    def use():
        with overlapped(range(9), (fetch, 1), (store, 1)) as results:
            assert next(results) == 0
            threading.Thread(target=interrupt).start()
            if where == "while it uses one":
                time.sleep(20)
            list(results)

    try:
        with pytest.raises(KeyboardInterrupt):
            use()
        assert stored.is_set()
        assert not let_go.is_set()
    finally:
        let_go.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(20)
