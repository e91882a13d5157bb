"""The model that a job works with: the one that was named, else the project's promoted one, else the built-in one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from annotator.errors import AnnotatorError, ExitCode
from annotator.parameters import JobParameters
from annotator.platform import promotion, records
from annotator.platform.connection import Connection

if TYPE_CHECKING:
    from annotator.models.bundle import Model


def load(
    connection: Connection, parameters: JobParameters, folder: Path, resumed: Sequence[records.Record] = ()
) -> Model:
    """The model that a job is asked to use; of one that completes a training that went on to annotate, that training's.

    Args:
        connection: to the server.
        parameters: of the job.
        folder: for the downloaded file.
        resumed: the jobs that it goes on with, newest first.

    Raises:
        AnnotatorError: the training job cannot be used, or its model not be had.
    """
    project, named = parameters.cytomine_id_project, parameters.cytomine_id_job
    for record in resumed:
        if promotion.promoted_itself(connection, record.job):  # a training that went on to annotate with its new model
            return load_job(connection, record.job, project, folder)
    if named is not None:
        return load_job(connection, named, project, folder)
    return load_promoted(connection, promotion.promoted_job(connection, project), project, folder)


def load_promoted(connection: Connection, number: int | None, project: int, folder: Path) -> Model:
    """The model of the training job that is promoted; where it cannot be had, the error says how to go back."""
    try:
        return load_job(connection, number, project, folder)
    except AnnotatorError as error:
        if number is None or error.code not in (ExitCode.BAD_MODEL, ExitCode.NOT_FOUND):
            raise
        way_back = (
            f"The project uses the model of job {number}, which was promoted: launch with mode promote and another "
            "training job, or with none to go back to the built-in model."
        )
        raise AnnotatorError(f"{error} {way_back}", error.code) from error


def load_job(connection: Connection, number: int | None, project: int, folder: Path) -> Model:
    """The model of a training job, None for the built-in one; see `load`."""
    # Imported late: it takes seconds, and wrong keys or parameters are told at once.
    from annotator.models import builtin, bundle

    return builtin.load() if number is None else bundle.load(promotion.fetch_model(connection, number, project, folder))
