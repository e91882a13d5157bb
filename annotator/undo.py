"""Take back what one job drew, but nothing that a person has accepted."""

from __future__ import annotations

from annotator.errors import AnnotatorError, ExitCode
from annotator.outcome import many
from annotator.platform import records
from annotator.platform.annotations import remove_unreviewed
from annotator.platform.connection import Connection


def undo(connection: Connection, number: int) -> str:
    """Delete a job's annotations, except those with a reviewed copy, and forget which images it has done.

    Args:
        connection: with the keys of the person who launched the job.
        number: of the job.

    Returns:
        What was deleted and what was kept, for a person.

    Raises:
        AnnotatorError: there is no such job, or its keys are not given to this person.
    """
    job = connection.get(f"job/{number}.json", what=f"job {number}")
    user = connection.get(f"user/{job['userJob']}.json", what=f"the user of job {number}")
    if not user.get("privateKey"):
        raise AnnotatorError(
            f"The server does not give the keys of job {number}. Use those of the person who launched it.",
            ExitCode.NOT_FOUND,
        )
    connection.switch_user(user)  # only a job itself may delete its annotations
    records.forget(connection, number)  # first: when we are cut off, whoever goes on compares with what is left
    removed, kept = remove_unreviewed(connection, job["project"], job["userJob"])
    text = f"Job {number}: {many(removed, 'annotation')} deleted."
    return text if not kept else f"{text} {many(kept, 'annotation')} kept, because people have reviewed them."
