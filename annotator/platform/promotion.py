"""Which training job's model a project uses, as jobs wrote it down; and the model itself."""

from __future__ import annotations

from pathlib import Path

from annotator.errors import AnnotatorError, ExitCode
from annotator.platform import files, properties
from annotator.platform.connection import Connection
from annotator.platform.jobs import JOB, SUCCESS

PROMOTED = "promoted_model"  # property of a job: the training job whose model is used from then on, or BUILT_IN
BUILT_IN = "built-in"
PROMOTING = ("train", "train_and_annotate", "promote")  # modes of jobs that may have promoted a model
MODEL_FILE = "model.zip"
LARGEST_MODEL = 1 << 30  # bytes that are downloaded at the most


def promoted_job(connection: Connection, project: int) -> int | None:
    """The training job whose model the project uses, None for the built-in model.

    Promotions are never changed, only followed by others: who wants an earlier model back promotes it again. The last
    one counts, which need not be that of the newest job: of two trainings the one that began first may end last.

    Raises:
        AnnotatorError: (USAGE) somebody wrote something else there.
    """
    said: list[tuple[int, str, str]] = []
    for job in connection.items("job.json", {"project": project}, what=f"the jobs of project {project}"):
        values = [row.get("value") for row in job.get("jobParameters") or () if row.get("name") == "mode"]
        if values and str(values[0]).strip() in PROMOTING:  # as it was typed, perhaps with a blank
            what = f"job {job['id']}"
            own = properties.numbered(connection, JOB, job["id"], what)
            said += [(*own[PROMOTED], what)] if PROMOTED in own else []
    _, value, what = max(said, default=(0, BUILT_IN, ""))
    return None if value == BUILT_IN else properties.whole_number(value, PROMOTED, value, what)


def promote(connection: Connection, job: int, model_job: int | None) -> None:
    """From now on the project uses the model of a training job, or the built-in one.

    Args:
        connection: as the job that promotes.
        job: id of the job that promotes; if it promotes its own model, this is attached already.
        model_job: the training job, None for the built-in model.
    """
    value = BUILT_IN if model_job is None else str(model_job)
    properties.record(connection, JOB, job, PROMOTED, value, f"job {job}")


def promoted_itself(connection: Connection, job: int) -> bool:
    """Whether a training job has promoted its own model; what becomes of the job afterwards does not touch that."""
    return properties.read(connection, JOB, job, f"job {job}").get(PROMOTED) == str(job)


def fetch_model(connection: Connection, number: int, project: int, folder: Path) -> Path:
    """Download the model that a training job made.

    Args:
        connection: to the server.
        number: id of the training job.
        project: id of the project that the job must belong to.
        folder: where the file goes.

    Raises:
        AnnotatorError: no such job, of another project, without a model, or neither ended successfully nor promoted by
            itself: what a job does after that, such as annotate, leaves its model as it is.
    """
    job = connection.get(f"job/{number}.json", what=f"training job {number}")
    if job["project"] != project:
        raise AnnotatorError(
            f"Training job {number} belongs to project {job['project']}, not to {project}. "
            "Choose a job of this project.",
            ExitCode.BAD_MODEL,
        )
    if job["status"] != SUCCESS and not promoted_itself(connection, number):
        raise AnnotatorError(
            f"Training job {number} has not ended successfully (status {job['status']}). Choose one that has.",
            ExitCode.BAD_MODEL,
        )
    models = files.attached(connection, JOB, number, MODEL_FILE)
    if not models:
        raise AnnotatorError(
            f"Job {number} has no file {MODEL_FILE}: it trained no model. Choose a training job.", ExitCode.BAD_MODEL
        )
    path = folder / MODEL_FILE
    what = f"the model of job {number}"
    newest = max(models)
    path.write_bytes(connection.download(f"attachedfile/{newest}/download", None, what=what, limit=LARGEST_MODEL))
    return path
