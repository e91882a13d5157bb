"""What a job has done so far, and how it tells a curator."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """What the job has done so far; several threads may write to it.

    Attributes:
        counts: annotations stored, by image id.
        earlier: annotations that earlier jobs stored, by id of the images that are skipped for it.
        failures: one line for each image that failed, by image id.
        seconds: time spent, by stage, summed over the threads of a stage.
    """

    counts: dict[int, int] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    earlier: dict[int, int] = field(default_factory=dict)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds the time that the block takes to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[stage] += time.perf_counter() - start

    def sentence(self) -> str:
        """What is done, for a curator."""
        found, images = sum(self.counts.values()), sum(count > 0 for count in self.counts.values())
        text = f"{many(found, 'instrument')} in {images} of {many(len(self.counts) + len(self.failures), 'image')}."
        if self.earlier:
            text += f" {many(len(self.earlier), 'image')} done before."
        return text

    def failed(self) -> str:
        """How many images failed, and why; empty if none did."""
        if not self.failures:
            return ""
        reasons = "; ".join(reason.removesuffix(".") for reason in self.failures.values())
        return f"{many(len(self.failures), 'image')} failed: {reasons}."


def many(count: int, noun: str) -> str:
    """A number of things: 1 image, 2 images."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
