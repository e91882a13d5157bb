import threading

import pytest

from annotator.prefetch import prefetched


def test_gives_the_same_items_and_makes_the_next_one_meanwhile():
    made = [threading.Event() for _ in range(4)]

    def make():
        for number, event in enumerate(made):
            event.set()
            yield number

    for number in prefetched(make()):
        assert all(event.wait(10) for event in made[: number + 2])
        assert not any(event.is_set() for event in made[number + 2 :])


def test_a_failure_comes_where_the_item_would_have_come():
    items = prefetched(1 // number for number in (1, 0))
    assert next(items) == 1
    with pytest.raises(ZeroDivisionError):
        next(items)


def test_nothing_stays_nothing():
    assert list(prefetched(iter(()))) == []
