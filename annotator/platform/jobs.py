"""A job's life on the server: started, in progress, ended."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial
from pathlib import Path

from annotator.errors import AnnotatorError
from annotator.parameters import JobParameters, asked_for
from annotator.platform import files
from annotator.platform.connection import Connection, Json, pause, store_once
from annotator.text import shortened

log = logging.getLogger(__name__)

RUNNING, SUCCESS, FAILED = 2, 3, 4  # values of a job's status in the core
COMMENT_LENGTH = 255  # characters of its status that the core stores
VALUE_LENGTH = 5000  # of a parameter
JOB = "be.cytomine.processing.Job"
SECONDS_BETWEEN_REPORTS = 1.0  # each is a request; the page looks every two seconds
LAST_REPORT = 5.0  # seconds that the end waits for a report that is on its way
ATTEMPTS = 4  # at telling the server how the job ended


class RunningJob:
    """The job that this process carries out. Its status on the server is right whatever happens here.

    Attributes:
        id: of the job.
        user: id of the job's own user, in whose layer annotations go.
    """

    def __init__(self, connection: Connection, job: Json) -> None:
        self._connection = connection
        self._job = job
        self._last_report = -SECONDS_BETWEEN_REPORTS
        self._progress = 0.0
        self._reporting = threading.Lock()
        self._ended = False
        self.id: int = job["id"]
        self.user: int = job["userJob"]

    @classmethod
    def launched(cls, connection: Connection) -> RunningJob | None:
        """The job that was launched from Cytomine's page, None when a person's keys were given."""
        if not connection.user.get("algo"):
            return None
        number = connection.user["job"]
        return cls(connection, connection.get(f"job/{number}.json", what=f"job {number}"))

    @classmethod
    def created(cls, connection: Connection, project: int, software: int) -> RunningJob:
        """A new job, for a run with a person's keys; `begin_as_person` comes next."""
        return cls(
            connection, connection.post("job.json", {"project": project, "software": software}, what="a new job")["job"]
        )

    def begin_as_person(self, parameters: JobParameters, software: Json) -> None:
        """Do what the page does at a launch: go on with the job's keys, and write its parameters down."""
        connection = self._connection
        connection.switch_user(connection.get(f"user/{self.user}.json", what="the new job's user"))
        values = asked_for(parameters)  # never the keys, whatever the server asks for
        for parameter in software["parameters"]:
            value = values.get(parameter["name"])
            if value not in (None, ()):
                text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
                row = {"job": self.id, "softwareParameter": parameter["id"], "value": shortened(text, VALUE_LENGTH)}
                what = f"parameter {parameter['name']}"
                store_once(
                    partial(connection.post, "jobparameter.json", row, what=what),
                    partial(self._parameter, parameter["id"]),
                )

    def _parameter(self, number: int) -> Json | None:
        rows = self._connection.items(f"job/{self.id}/parameter.json", what=f"the parameters of job {self.id}")
        return next((row for row in rows if row["softwareParameter"] == number), None)

    def report(self, progress: float, comment: str, *, at_once: bool = False) -> None:
        """Tell the server how far the job is: progress in 0..100. At most once a second unless ``at_once``.

        Any thread may call it; after the job's end it says nothing. A report that does not get through is not worth a
        failure.
        """
        log.info("%3d %% %s", progress, comment)
        with self._reporting:
            if self._ended:
                return
            self._progress = progress
            if not at_once and time.monotonic() - self._last_report < SECONDS_BETWEEN_REPORTS:
                return
            self._last_report = time.monotonic()
            try:
                self._put(RUNNING, comment)
            except AnnotatorError as error:
                log.warning("Progress not reported: %s", error)

    def succeed(self, comment: str) -> None:
        """Tell the server that the job is done; see `fail`."""
        self._progress = 100.0
        self._end(SUCCESS, comment)

    def fail(self, comment: str) -> None:
        """Tell the server that the job failed; tried several times, for nobody else will tell it.

        Raises:
            AnnotatorError: the server could not be told.
        """
        self._end(FAILED, comment)

    def _end(self, status: int, comment: str) -> None:
        # A report of another thread must not arrive after the end and undo it; one that hangs is not waited for long.
        self._ended = True
        if self._reporting.acquire(timeout=LAST_REPORT):
            self._reporting.release()
        for attempt in range(ATTEMPTS):
            try:
                self._put(status, comment)
                return
            except AnnotatorError:
                if attempt == ATTEMPTS - 1:
                    raise
                pause(attempt)

    def _put(self, status: int, comment: str) -> None:
        # A PUT replaces the whole object, so everything that the core reads goes along.
        kept = {key: self._job.get(key) for key in ("id", "project", "software", "rate", "processingServer")}
        state = {
            "status": status,
            "progress": round(self._progress),
            "statusComment": shortened(comment, COMMENT_LENGTH),
        }
        body = {key: value for key, value in (kept | state).items() if value is not None}
        self._connection.put(f"job/{self.id}.json", body, what=f"job {self.id}")

    def upload(self, key: str, path: Path) -> None:
        """Put a file on the job's page, for people."""
        files.show(self._connection, self.id, key, path)

    def attach(self, path: Path) -> None:
        """Attach a file to the job, for other jobs."""
        files.attach(self._connection, JOB, self.id, path)
