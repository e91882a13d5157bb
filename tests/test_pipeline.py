import threading
import time
from contextlib import closing
from itertools import count, cycle, islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.pipeline import AHEAD, overlapped


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


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
    assert list(overlapped(range(length), *stages)) == expected


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

    assert list(overlapped(range(3), *map(stage, range(3)))) == [0, 1, 2]
    assert met.is_set()


def test_threads_of_one_stage_work_at_the_same_time():
    meeting = threading.Barrier(3, timeout=20)

    def work(item):
        meeting.wait()
        return item

    assert list(overlapped(range(6), (work, 3))) == list(range(6))


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
    with closing(overlapped(source(), *((lambda item: item, number) for number in threads))) as results:
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

    results = overlapped(source(), *map(stage, range(3)))
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

    results = overlapped(range(length), (at_random_speed(work), threads), (at_random_speed(lambda item: item), threads))
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

    with closing(overlapped(count(), (lambda item: item, 2), (work, 1))) as results:
        assert next(results) == 0
    stopped_at = len(worked)
    time.sleep(0.05)
    assert len(worked) == stopped_at <= 1 + 1 + AHEAD


def test_the_failure_of_a_caller_stops_all_stages():
    def use():
        with closing(overlapped(count(), (lambda item: item, 2), (lambda item: item, 1))) as results:
            for item in results:
                if item == 3:
                    raise LookupError(item)

    with pytest.raises(LookupError):
        use()
