"""How we talk to a Cytomine server. The client hides errors, never gives up waiting and never tries again; here, in
one place, each request has a time limit, reading requests are repeated, and every failure is one clear error.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from cytomine.cytomine import Cytomine, CytomineAuth
from requests.adapters import HTTPAdapter
from urllib3.exceptions import LocationParseError
from urllib3.util import Retry

from annotator.errors import AnnotatorError, ExitCode

T = TypeVar("T")

CONNECT_SECONDS = 10.0  # to reach the server
READ_SECONDS = 120.0  # large thumbnails of large images take the image server this long
WAIT_SECONDS = 20.0  # for a server that is just starting; longer, and a mistyped address would take long to be told
PATIENCE_SECONDS = 300.0  # for one that is gone after it was there: a restart of Cytomine takes minutes
HURRIED_SECONDS = 5.0  # for any answer, when there is no time left
PING_SECONDS = 5.0
RETRIES = 3  # of a request that only reads
RETRIES_AFTER_SILENCE = 1  # each may cost READ_SECONDS
LONGEST_PAUSE = 60.0  # a server may ask for hours
AWAY = (502, 503, 504)  # what stands before a server answers this while it restarts
TOO_MANY = 429
ATTEMPTS = 4  # at storing what is stored once
REFUSED = (400, 403, 404, 409, 413)  # trying the same again would change nothing
LARGEST_DOWNLOAD = 1 << 30

Json = dict[str, Any]

log = logging.getLogger(__name__)


class RequestFailed(AnnotatorError):
    """A request that did not get the answer it needs.

    Args:
        message: for a person.
        code: exit code.
        status: HTTP status of the answer, None where there was none.
    """

    def __init__(self, message: str, code: ExitCode, status: int | None = None) -> None:
        super().__init__(message, code)
        self.status = status


class ServerGone(RequestFailed):
    """Nobody answers at all any more, so it is of no use to go on with something else."""


def pause(attempt: int) -> None:
    """Wait before the next attempt, about 2 ** attempt seconds, and not all who wait for the same time."""
    time.sleep(2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 (no secret)


def store_once(send: Callable[[], object], find: Callable[[], T | None]) -> T | None:
    """Send what is to be stored once, again until the server takes it or has it.

    Args:
        send: the request.
        find: what the server has of it, None for nothing; asked after a failure, for it may have been carried out
            although the answer was lost, or refused because it is there.

    Returns:
        None if it was taken, else what the server has.

    Raises:
        RequestFailed: it could not be stored, as often as it was tried.
    """
    attempt = 0
    while True:
        try:
            send()
            return None
        except RequestFailed as error:
            found = find()
            if found is not None:
                return found
            if error.status in REFUSED or attempt == ATTEMPTS - 1:
                raise
        pause(attempt)
        attempt += 1


class _Retry(Retry):
    """Repeats reading requests, and those that the server has not looked at because there were too many."""

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        too_many = bool(self.total) and status_code == TOO_MANY
        return too_many or super().is_retry(method, status_code, has_retry_after)

    def get_retry_after(self, response: Any) -> float | None:
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, LONGEST_PAUSE)


class _Adapter(HTTPAdapter):
    """Gives every request a time limit and repeats reading ones; writing ones, which could take effect twice, only
    where no server has looked at them: no connection came about, or there were too many.
    """

    def __init__(self) -> None:
        self.hurried = False
        retries = _Retry(
            total=RETRIES,
            read=RETRIES_AFTER_SILENCE,
            backoff_factor=0.5,
            backoff_jitter=0.5,
            status_forcelist=(500, *AWAY),
            allowed_methods=("GET",),
            raise_on_status=False,
        )
        super().__init__(max_retries=retries)

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        limits = (HURRIED_SECONDS, HURRIED_SECONDS) if self.hurried else (CONNECT_SECONDS, READ_SECONDS)
        return super().send(request, **options | {"timeout": limits})


class _Session(requests.Session):
    """Follows no redirect: what is signed for one address must not go to another, and a POST must not become a GET."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class _Client(Cytomine):
    """The official client with our session instead of its own, and without its two-minute wait at the start."""

    def _start(self) -> None:
        self._session = _Session()
        self.adapter = _Adapter()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, self.adapter)
        self._current_user = None
        Cytomine._Cytomine__instance = self  # where the client's models look for it


class Connection:
    """A server, and the one who talks to it.

    Attributes:
        host: address with scheme.
        user: JSON of the current user; ``user["algo"]`` says whether it is a job.
    """

    def __init__(self, host: str, public_key: str, private_key: str) -> None:
        # Never DEBUG: at that level the client writes every answer to the log, keys included. It tells us of failures
        # by its return values; what it would log about them we say ourselves.
        self._client = _Client(
            host.rstrip("/"),
            public_key,
            private_key,
            verbose=logging.CRITICAL,
            use_cache=False,
            configure_logging=False,
        )
        self.host = f"{self._client._protocol}://{self._client._host}"
        self._wait(WAIT_SECONDS)
        self.user = self.get("user/current.json", what="the current user")

    def _ping(self) -> str | None:
        """None if the server is there, else what is wrong with it."""
        try:
            # Without our session: its patience is for servers that are known to be there. And without the answer's
            # body, which may never end where the address is not Cytomine's.
            url = f"{self.host}/server/ping"
            with requests.get(url, timeout=PING_SECONDS, allow_redirects=False, stream=True) as answer:
                return None if answer.status_code < 500 else f"it answers {answer.status_code}"
        except (requests.exceptions.InvalidURL, LocationParseError):
            raise RequestFailed(
                f"{self.host} is no address. Give one like https://cytomine.example.org.", ExitCode.USAGE
            ) from None
        except requests.RequestException as error:
            return type(error).__name__

    def _wait(self, seconds: float) -> None:
        """Until the server is there, so long at the most."""
        give_up = time.monotonic() + seconds
        while (wrong := self._ping()) is not None:
            if time.monotonic() > give_up:
                raise ServerGone(
                    f"No Cytomine server answers at {self.host} ({wrong}). Check the address and that it is running.",
                    ExitCode.CONNECTION,
                )
            time.sleep(0.5)

    def answers(self) -> bool:
        """Whether the server still knows us: after a failure it tells trouble with one thing from trouble with all."""
        try:
            return bool(self.get("user/current.json", what="the current user"))
        except RequestFailed:
            return False

    def hurry(self) -> None:
        """From now on no request is waited for long: the process has seconds to live."""
        self._client.adapter.hurried = True

    def switch_user(self, user: Mapping[str, Any]) -> None:
        """Go on as another user, whose keys we were given (a job's)."""
        self._client._public_key, self._client._private_key = user["publicKey"], user["privateKey"]
        self.user = self.get("user/current.json", what="the job's user")

    # --- requests --------------------------------------------------------------------------------------------------

    def get(self, path: str, query: Mapping[str, Any] | None = None, *, what: str) -> Json:
        """The JSON object at a path under /api/.

        Args:
            path: without leading slash.
            query: parameters.
            what: the thing asked for, for the error message ("project 42").

        Raises:
            RequestFailed: anything but 200 with a JSON object.
        """
        return self._checked(self._repeatable(self._client._get, what, path, query), what)

    def post(self, path: str, body: object, *, what: str, accept: tuple[int, ...] = (200,)) -> Json:
        """Send a JSON body; see `get`. Repeated only where no server has looked at it.

        ``accept`` names the statuses that are no failure.
        """
        return self._checked(self._send(self._client._post, what, path, json.dumps(body)), what, accept)

    def put(self, path: str, body: object, *, what: str) -> Json:
        """Replace an object; see `get`. Twice is as good as once."""
        return self._checked(self._repeatable(self._client._put, what, path, json.dumps(body)), what)

    def delete(self, path: str, *, what: str) -> Json:
        """Delete an object; see `get`."""
        return self._checked(self._send(self._client._delete, what, path), what)

    def items(self, path: str, query: Mapping[str, Any] | None = None, *, what: str) -> list[Json]:
        """The items of a list, all of them."""
        items = self.get(path, query, what=what).get("collection")
        if not isinstance(items, list):
            raise RequestFailed(f"The server's list of {what} has no field collection.", ExitCode.CONNECTION)
        return items

    def download(
        self, path: str, query: Mapping[str, Any] | None, *, what: str, limit: int = LARGEST_DOWNLOAD
    ) -> bytes:
        """The bytes at a path under /api/, or at an address on this host, complete or not at all.

        Raises:
            RequestFailed: not 200, empty, larger than ``limit`` bytes, or cut off.
        """
        client = self._client
        url = path if path.startswith(self.host) else f"{client._base_url()}{path}"

        content = bytearray()

        def fetch() -> requests.Response:
            content.clear()
            response = client._session.get(
                url,
                auth=CytomineAuth(client._public_key, client._private_key, client._base_url(), client._base_path),
                headers=client._headers(content_type="application/json"),
                params=query,
                stream=True,
            )
            with response:
                if response.status_code == 200:
                    for chunk in response.iter_content(1 << 16):
                        content.extend(chunk)
                        if len(content) > limit:
                            raise RequestFailed(f"{what} is larger than {limit} bytes.", ExitCode.CONNECTION)
                return response

        response = self._repeatable(fetch, what)
        if response.status_code != 200:
            self._fail(response, what)
        # With Content-Length urllib3 notices an early end itself; a server that leaves it out cannot be checked here.
        if not content:
            raise RequestFailed(f"The server sent nothing for {what}.", ExitCode.CONNECTION, 200)
        return bytes(content)

    def upload(self, path: str, query: Mapping[str, Any], file: Path, *, what: str) -> Json:
        """Send a file, under the last part of its name; see `post`."""
        # Not the client's upload_file: it sends the path on this machine as the file's name, and leaves the file open.
        client = self._client

        def send() -> requests.Response:
            return client._session.post(
                f"{client._base_url()}{path}",
                auth=CytomineAuth(client._public_key, client._private_key, client._base_url(), client._base_path),
                headers=client._headers(),
                params=query,
                files={"files[]": (file.name, file.read_bytes())},
            )

        return self._checked(self._send(send, what), what)

    # --- what can go wrong -----------------------------------------------------------------------------------------

    def _send(self, request: Any, what: str, *arguments: Any) -> Any:
        try:
            return request(*arguments)
        except requests.RequestException as error:
            raise self._broken(error, what) from None

    def _broken(self, error: requests.RequestException, what: str) -> RequestFailed:
        if isinstance(error, requests.Timeout):
            message = f"{self.host} did not answer in time when asked for {what}. Try again later."
        else:
            name = type(error).__name__
            message = f"The connection to {self.host} broke ({name}) when asked for {what}. Try again later."
        return RequestFailed(message, ExitCode.CONNECTION)

    def _repeatable(self, request: Any, what: str, *arguments: Any) -> Any:
        """Send what may take effect twice. A server that is gone is waited for, a broken answer is asked for again."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        attempt = 0
        while True:
            response, error = None, None
            try:
                response = request(*arguments)
            except requests.RequestException as caught:
                error = caught
            failed = response is None or response.status_code in AWAY
            if failed and not self._client.adapter.hurried:
                if (wrong := self._ping()) is not None:
                    left = max(0.0, give_up - time.monotonic())
                    log.warning("%s is gone (%s); waiting for it, %.0f s at the most.", self.host, wrong, left)
                    self._wait(left)
                    continue
                # It is there, so the trouble is with this thing alone. What it answers has been asked for repeatedly
                # already, but an answer that broke off in the middle has not.
                if error is not None and not isinstance(error, requests.Timeout) and attempt < RETRIES:
                    pause(attempt - 1)
                    attempt += 1
                    continue
            if error is not None:
                raise self._broken(error, what)
            return response

    def _no_json(self, what: str) -> RequestFailed:
        return RequestFailed(
            f"{self.host} answered with a web page or nothing instead of {what}. "
            "Check that this is the address of Cytomine.",
            ExitCode.CONNECTION,
            200,
        )

    def _checked(self, response: requests.Response, what: str, accept: tuple[int, ...] = (200,)) -> Json:
        if response.status_code not in accept:
            self._fail(response, what)
        try:
            body = response.json()
        except (ValueError, RecursionError):  # also of numbers too long and lists too deep to be read
            raise self._no_json(what) from None
        if not isinstance(body, dict):
            raise self._no_json(what)
        return body

    def _fail(self, response: requests.Response, what: str) -> None:
        status = response.status_code
        try:
            said = response.json().get("errors") or response.json().get("message") or ""
            said = said.get("message", "") if isinstance(said, dict) else str(said)
        except (ValueError, AttributeError, RecursionError):
            said = ""
        said = f" ({said[:120]})" if said else ""
        if status in (301, 302, 303, 307, 308):
            try:
                target = urlsplit(response.headers.get("Location", ""))
            except ValueError:  # no address at all
                target = urlsplit("")
            ours = urlsplit(self.host)
            # The core sends whoever is not signed in to its front page, behind a proxy perhaps by http or another port.
            upgraded = (ours.scheme, target.scheme) == ("http", "https")
            moved = target.hostname and (target.hostname != ours.hostname or upgraded)
            if moved:
                message = f"{self.host} redirects to {target.scheme}://{target.netloc}/: give that address as host."
            else:
                message = (
                    f"{self.host} does not accept the signature: check that the private key belongs to the public key."
                )
            raise RequestFailed(message, ExitCode.CONNECTION, status)
        if status == 401:
            raise RequestFailed(
                f"{self.host} does not know the public key: check both keys.", ExitCode.CONNECTION, status
            )
        if status == 403:
            raise RequestFailed(
                f"No right to use {what}{said}. Ask the project's manager for access.", ExitCode.NOT_FOUND, status
            )
        if status == 404:
            raise RequestFailed(f"Not found: {what} on {self.host}. Check the id.", ExitCode.NOT_FOUND, status)
        raise RequestFailed(f"{self.host} answered {status} when asked for {what}{said}.", ExitCode.CONNECTION, status)
