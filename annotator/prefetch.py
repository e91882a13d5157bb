"""Make the next item while the caller works on this one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def prefetched(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, none of them None; each is made in another thread while the one before it is used.

    What making an item raises is raised where that item would have come.
    """
    with ThreadPoolExecutor(max_workers=1) as executor:
        upcoming = executor.submit(next, items, None)
        while (item := upcoming.result()) is not None:
            upcoming = executor.submit(next, items, None)
            yield item
