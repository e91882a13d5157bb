"""Which training job's model a project uses: the newest job that says so."""

from __future__ import annotations

from annotator.platform import properties
from annotator.platform.connection import Connection
from annotator.platform.jobs import JOB, SUCCESS

PROMOTED = "promoted_model"  # property of a job: the training job whose model is used from then on, or BUILT_IN
BUILT_IN = "built-in"
PROMOTING = ("train", "train_and_annotate", "promote")  # modes of jobs that may have promoted a model


def promoted_job(connection: Connection, project: int) -> int | None:
    """The training job whose model the project uses, None for the built-in model.

    Promotions are never changed, only followed by others: who wants an earlier model back promotes it again.
    """
    rows = connection.items("job.json", {"project": project}, what=f"the jobs of project {project}")
    for job in sorted(rows, key=lambda row: -row["id"]):
        values = [row.get("value") for row in job.get("jobParameters") or () if row.get("name") == "mode"]
        if values and values[0] in PROMOTING:
            said = properties.read(connection, JOB, job["id"], f"job {job['id']}").get(PROMOTED)
            # A training job promotes at its very end and may still fail then; its model is not there for others.
            if said and job["status"] == SUCCESS:
                return None if said == BUILT_IN else int(said)
    return None


def promote(connection: Connection, job: int, model_job: int | None) -> None:
    """From now on the project uses the model of a training job, or the built-in one.

    Args:
        connection: as the job that promotes.
        job: id of the job that promotes; it counts once it has ended successfully.
        model_job: the training job, None for the built-in model.
    """
    value = BUILT_IN if model_job is None else str(model_job)
    properties.record(connection, JOB, job, PROMOTED, value, f"job {job}")
