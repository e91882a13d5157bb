"""Stages that work at the same time, each in threads of its own, on different items: the slowest sets the pace."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

GRACE_SECONDS = 5.0  # whoever interrupts us kills us soon after: slurm after 30 s
AHEAD = 1  # items that a stage keeps ready for the next one, besides those that its threads work on

Stage = tuple[Callable[[Any], Any], int]


@contextmanager
def overlapped(items: Iterable[Any], *stages: Stage) -> Iterator[Iterator[Any]]:
    """Send items through functions, one after the other, while the caller uses what came out before.

    A stage takes up an item only when fewer than its threads and `AHEAD` together wait to be taken from it, so memory
    does not depend on the number of items, and nothing runs far ahead of a caller that pauses.

    Args:
        items: the first stage's arguments, made in a thread, too.
        *stages: at least one; each a function of one argument and the number of threads that it is called in. What it
            returns is the next one's argument.

    Yields:
        An iterator of what the last stage returned, in the order of ``items``. What a stage or ``items`` raised comes
        once, where that item would have come: those before it do come. The stage takes up no further items.

        When the block is left, all stages stop. No thread is left then, so it waits for the calls under way; only a
        KeyboardInterrupt, which tells that the process is to end, waits for no more than the last stage's, for
        `GRACE_SECONDS`: whoever gets it should end with `os._exit`, for the threads that are left.

    Example:
        >>> with overlapped("ab", (str.upper, 2), (ord, 1)) as results:
        ...     list(results)
        [65, 66]
    """
    stops = [threading.Event() for _ in stages]
    *earlier, (function, threads) = stages
    for (before, number), stop in zip(earlier, stops[:-1], strict=True):
        items = _stage(before, number, items, stop, ())
    # Only the caller sees the last stage end: when it does so early, nobody waits for what the others have in hand.
    results = _stage(function, threads, items, stops[-1], stops[:-1])
    try:
        yield results
    except BaseException as error:
        results.throw(error)  # so that it knows why it ends
    finally:
        results.close()


def _stage(
    function: Callable[[Any], Any],
    threads: int,
    items: Iterable[Any],
    stop: threading.Event,
    stop_too: Sequence[threading.Event],
) -> Generator[Any, None, None]:
    free = threading.Semaphore(threads + AHEAD)
    upcoming: SimpleQueue[Future[Any]] = SimpleQueue()  # in the order of the items
    under_way: set[Future[Any]] = set()
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
                future = pool.submit(work, position, item)
                under_way.add(future)
                upcoming.put(future)
                future.add_done_callback(under_way.discard)
        finally:
            if isinstance(items, Generator):
                items.close()

    pool, feeder = ThreadPoolExecutor(threads), ThreadPoolExecutor(1)
    patient = True
    try:
        feeding = feeder.submit(feed)
        feeding.add_done_callback(upcoming.put)  # the end of the queue
        while (future := upcoming.get()) is not feeding:
            result = future.result()
            free.release()
            yield result
        feeding.result()
    except BaseException as error:
        patient = not isinstance(error, KeyboardInterrupt)
        for event in (stop, *stop_too):
            event.set()
        free.release()  # the feeder may wait there
        raise
    finally:
        for executor in (feeder, pool):
            executor.shutdown(wait=patient, cancel_futures=not patient)
        if not patient:
            wait(set(under_way), GRACE_SECONDS)
