"""A job, step by step: connect, check what was asked, carry it out, and tell the server how it ended."""

import errno
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from annotator.annotate import annotate
from annotator.errors import AnnotatorError, ExitCode
from annotator.learn import learn, promote
from annotator.outcome import Outcome
from annotator.parameters import JobParameters, parse, parse_access
from annotator.platform import jobs
from annotator.platform.connection import Connection
from annotator.text import shortened

log = logging.getLogger(__name__)


def run(argv: Sequence[str], scheduler: str | None = None) -> ExitCode:
    """Carry out one job, launched from Cytomine's page or from a shell.

    Whatever happens, the job's status on the server tells it, as soon as there is a job.

    Args:
        argv: the command line, as descriptor.json makes it.
        scheduler: address of a Dask cluster that looks at the images, or None.
    """
    connection: Connection | None = None
    job: jobs.RunningJob | None = None
    outcome = Outcome()
    try:
        with outcome.timed("connect"):
            access = parse_access(argv)
            connection = Connection(access.host, access.public_key, access.private_key)
            job = jobs.RunningJob.launched(connection)
            parameters = parse(argv)
            number = parameters.cytomine_id_project
            connection.get(f"project/{number}.json", what=f"project {number}")
            software = connection.get(
                f"software/{parameters.cytomine_id_software}.json", what=f"software {parameters.cytomine_id_software}"
            )
            if job is None:
                job = jobs.RunningJob.created(connection, number, parameters.cytomine_id_software)
                job.begin_as_person(parameters, software)
        # Errors: after an interrupt a thread may still write there.
        with tempfile.TemporaryDirectory(prefix="instruments-", ignore_cleanup_errors=True) as folder:
            comment = _carry_out(connection, job, parameters, outcome, Path(folder), scheduler)
        log.info("%s", comment)
        job.succeed(comment)
        return ExitCode.OK
    except AnnotatorError as error:
        return _fail(job, outcome, str(error), error.code)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG):
            log.exception("Unexpected failure")
            return _fail(job, outcome, f"Unexpected failure: {error}. The log has the details.", ExitCode.INTERNAL)
        place = error.filename or tempfile.gettempdir()
        message = f"Cannot write to {place}: {error.strerror}. Free some space there, then launch again."
        return _fail(job, outcome, message, ExitCode.DISK)
    except KeyboardInterrupt:
        if connection is not None:
            connection.hurry()
        return _fail(job, outcome, "Interrupted.", ExitCode.INTERRUPTED)
    except Exception as error:  # a defect of ours: the curator gets a sentence, the log the rest
        log.exception("Unexpected failure")
        message = f"Unexpected failure: {type(error).__name__}: {error}. The log has the details."
        return _fail(job, outcome, message, ExitCode.INTERNAL)


def _carry_out(
    connection: Connection,
    job: jobs.RunningJob,
    parameters: JobParameters,
    outcome: Outcome,
    folder: Path,
    scheduler: str | None,
) -> str:
    """What the mode asks for; returns how it went."""
    if parameters.mode == "promote":
        return promote(connection, job, parameters, folder)
    if parameters.mode == "annotate":
        return annotate(connection, job, parameters, outcome, folder, scheduler)
    learnt = learn(connection, job, parameters, outcome, folder)
    if parameters.mode == "train":
        return f"{learnt.verdict} {learnt.sources}".strip()
    log.info("%s %s", learnt.verdict, learnt.sources)
    annotated = annotate(connection, job, parameters, outcome, folder, scheduler, learnt.model)
    return f"{learnt.verdict} {annotated} {learnt.sources}".strip()


def _fail(job: jobs.RunningJob | None, outcome: Outcome, message: str, code: ExitCode) -> ExitCode:
    log.error("%s", message)
    if job is not None:
        if outcome.counts:
            done = f"{outcome.sentence()} To go on, launch again with mode annotate and resume {job.id}."
            message = f"{shortened(message, jobs.COMMENT_LENGTH - len(done) - 1)} {done}"
        try:
            job.fail(message)
        except AnnotatorError as error:
            log.error("The server could not be told: %s", error)
    return code
