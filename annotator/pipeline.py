"""Stages that work at the same time, each in threads of its own, on different items: the slowest sets the pace."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

AHEAD = 1  # items that a stage keeps ready for the next one, besides those that its threads work on

Stage = tuple[Callable[[Any], Any], int]


def overlapped(items: Iterable[Any], *stages: Stage) -> Generator[Any, None, None]:
    """Send items through functions, one after the other, while the caller uses what came out before.

    A stage takes up an item only when fewer than its threads and `AHEAD` together wait to be taken from it, so memory
    does not depend on the number of items, and nothing runs far ahead of a caller that pauses.

    Args:
        items: the first stage's arguments, made in a thread, too.
        *stages: at least one; each a function of one argument and the number of threads that it is called in. What it
            returns is the next one's argument.

    Yields:
        What the last stage returned, in the order of ``items``.

    Raises:
        BaseException: what a stage or ``items`` raised, once, where that item would have come: those before it do come.
            The stage takes up no further items. Closing this iterator early does the same for all stages; either way
            no thread is left when it returns, so it waits for the calls under way. Wrap it in `contextlib.closing`:
            otherwise an exception in the caller's loop leaves it open.

    Example:
        >>> list(overlapped("ab", (str.upper, 2), (ord, 1)))
        [65, 66]
    """
    stops = [threading.Event() for _ in stages]
    *earlier, (function, threads) = stages
    for (before, number), stop in zip(earlier, stops[:-1], strict=True):
        items = _stage(before, number, items, stop, ())
    # Only the caller sees the last stage end: when it does so early, nobody waits for what the others have in hand.
    return _stage(function, threads, items, stops[-1], stops[:-1])


def _stage(
    function: Callable[[Any], Any],
    threads: int,
    items: Iterable[Any],
    stop: threading.Event,
    stop_too: Sequence[threading.Event],
) -> Generator[Any, None, None]:
    free = threading.Semaphore(threads + AHEAD)
    upcoming: SimpleQueue[Future[Any]] = SimpleQueue()  # in the order of the items

    failed_at = math.inf

    def work(position: int, item: Any) -> Any:
        nonlocal failed_at
        if stop.is_set() or position > failed_at:
            raise CancelledError
        try:
            return function(item)
        except BaseException:
            failed_at = min(failed_at, position)
            raise

    def feed() -> None:
        try:
            for position, item in enumerate(items):
                free.acquire()
                if stop.is_set() or position > failed_at:
                    return
                upcoming.put(pool.submit(work, position, item))
        finally:
            if isinstance(items, Generator):
                items.close()

    with ThreadPoolExecutor(threads) as pool, ThreadPoolExecutor(1) as feeder:
        feeding = feeder.submit(feed)
        feeding.add_done_callback(upcoming.put)  # the end of the queue
        try:
            while (future := upcoming.get()) is not feeding:
                result = future.result()
                free.release()
                yield result
            feeding.result()
        except BaseException:
            for event in (stop, *stop_too):
                event.set()
            free.release()  # the feeder may wait there
            raise
