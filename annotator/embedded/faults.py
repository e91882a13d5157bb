"""Failures on demand, so that tests can see what a job makes of them.

A rule says which requests fail, how often and how. Rules are tried in the order in which they were set.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from flask import Response

KINDS = (
    "status",  # answer with that status, do nothing
    "html",  # answer 200 with a page
    "redirect",  # answer 301 to https
    "hang",  # answer after that many seconds
    "close",  # drop the connection, do nothing
    "truncate",  # send half of the answer
    "partial",  # of a bulk upload store the first half only, without naming the others (206)
    "stumble",  # of a bulk upload store nothing, without naming any, as where the core's database fails (400)
    "no_properties",  # drop the properties that come with annotations, as core 3.0 does
    "no_terms",  # drop the terms that come with annotations, as a server that is stopped before it stores them
    "lost_answer",  # do the work, then answer 504
    "twice",  # do the work twice, as when something on the way repeats a request
    "too_many",  # answer 429, to be asked again after that many seconds; do nothing
)


@dataclass
class Rule:
    """A failure to come: ``kind`` (one of KINDS) with its ``value``.

    The next ``after`` requests that match are spared, the ``times`` after them fail.
    """

    path: str
    method: str
    kind: str
    value: int = 0
    times: int = 1
    after: int = 0


class Faults:
    """The rules of one server, and the place where they are applied."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def set(self, rules: Iterable[dict[str, Any]]) -> None:
        """Replace all rules."""
        new = [Rule(**rule) for rule in rules]
        for rule in new:
            if rule.kind not in KINDS:
                raise ValueError(f"unknown fault {rule.kind!r}, known are {', '.join(KINDS)}")
        with self._lock:
            self._rules = new

    def take(self, method: str, path: str) -> Rule | None:
        """The rule for a request, used up by one, or None."""
        with self._lock:
            for rule in self._rules:
                if rule.times > 0 and rule.method == method and re.search(rule.path, path):
                    if rule.after > 0:
                        rule.after -= 1
                        continue
                    rule.times -= 1
                    return rule
        return None


def broken(rule: Rule, answer: Callable[[], Response]) -> Response:
    """What the server says instead of ``answer()``."""
    if rule.kind == "status":
        return Response("It was not to be.", rule.value, content_type="text/plain")
    if rule.kind == "html":
        return Response("<html><body>Welcome!</body></html>", 200, content_type="text/html")
    if rule.kind == "redirect":
        return Response("", 301, headers={"Location": "https://elsewhere.invalid/"})
    if rule.kind == "close":
        return Response([b""], 200, headers={"Content-Length": "9"})
    if rule.kind == "hang":
        time.sleep(rule.value)
        return answer()
    if rule.kind == "too_many":
        return Response("Slower, please.", 429, headers={"Retry-After": str(rule.value)})
    if rule.kind == "twice":
        answer()
    response = answer()
    if rule.kind == "lost_answer":
        return Response("", 504)
    if rule.kind == "truncate":
        response.direct_passthrough = False  # files too are cut
        content = response.get_data()
        headers = dict(response.headers) | {"Content-Length": str(len(content))}
        return Response([content[: len(content) // 2]], response.status_code, headers=headers)
    return response
