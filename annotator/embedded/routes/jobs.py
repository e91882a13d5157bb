"""Jobs and their parameters."""

from flask import Blueprint, Response, request

from annotator.embedded import annotations, seed
from annotator.embedded.access import body, found, job_of, person, store, writable_project
from annotator.embedded.annotations import Refused, numbers, truthy
from annotator.embedded.answers import add_all, as_added, as_json, as_list, shown, shown_job, shown_job_parameter
from annotator.embedded.store import Object

routes = Blueprint("jobs", __name__)


@routes.post("/api/job.json")
def add_job() -> Response:
    content = body()
    project = writable_project(int(content["project"]))
    job = seed.create_job(store(), project["id"], found("software", int(content["software"]))["id"], person())
    for item in content.get("params") or []:
        store().add("jobparameter", job=job["id"], softwareParameter=item["softwareParameter"], value=item["value"])
    return as_added("job", shown_job(job))


@routes.get("/api/job.json")
def jobs() -> Response:
    chosen, software = numbers(request.args.get("project")), numbers(request.args.get("software"))
    rows = [
        job
        for job in store().find("job")
        if person() in found("project", job["project"])["users"]
        and (chosen is None or job["project"] in chosen)
        and (software is None or job["software"] in software)
    ]
    return as_list([shown_job(job, truthy(request.args.get("light"))) for job in rows])


@routes.get("/api/job/<int:number>.json")
def job(number: int) -> Response:
    return as_json(shown_job(job_of(number)))


@routes.put("/api/job/<int:number>.json")
def change_job(number: int) -> Response:
    job_of(number)
    content = body()
    if not content.get("project") or not content.get("software"):
        raise Refused(400, "A job needs its project and its software")
    # A PUT replaces: what is left out falls back to its default.
    comment = content.get("statusComment")
    if comment is not None and len(comment) > 255:
        raise Refused(400, "statusComment has more than 255 characters")
    changed = store().update(
        "job", number, status=int(content.get("status", 0)), progress=int(content.get("progress", 0)),
        statusComment=comment, rate=content.get("rate", -1.0),
    )  # fmt: skip
    return as_added("job", shown_job(changed))


@routes.delete("/api/job/<int:number>.json")
def delete_job(number: int) -> Response:
    item = job_of(number)
    store().remove("job", number)
    return as_added("job", shown("job", item))


@routes.get("/api/job/<int:number>/parameter.json")
def job_parameters(number: int) -> Response:
    return as_list([shown_job_parameter(row) for row in store().find("jobparameter", job=job_of(number)["id"])])


@routes.post("/api/jobparameter.json")
def add_job_parameter() -> Response:
    def add(item: Object) -> Object:
        job, parameter = job_of(int(item["job"])), int(item["softwareParameter"])
        if store().find("jobparameter", job=job["id"], softwareParameter=parameter):
            raise Refused(409, f"Parameter {parameter} of job {job['id']} already exists")
        value = item.get("value")
        text = None if value is None else str(value)
        if text is not None and len(text) > 5000:
            raise Refused(400, "value has more than 5000 characters")
        return store().add("jobparameter", job=job["id"], softwareParameter=parameter, value=text)

    return add_all("jobparameter", add, shown_job_parameter, "jobparameters")


@routes.get("/api/job/<int:number>/alldata.json")
def job_all_data(number: int) -> Response:
    marks = store().find("annotation", user=job_of(number)["userJob"], layer="algo")
    reviewed = sum(annotations.review_count(store(), mark) for mark in marks)
    files = len(store().find("jobdata", job=number))
    return as_json({"annotations": len(marks), "annotationsTerm": 0, "jobDatas": files, "reviewed": reviewed})


@routes.delete("/api/job/<int:number>/alldata.json")
def delete_job_data(number: int) -> Response:
    marks = store().find("annotation", user=job_of(number)["userJob"], layer="algo")
    if any(annotations.review_count(store(), mark) for mark in marks):
        raise Refused(400, "Some annotations of this job are reviewed: they cannot be deleted")
    for mark in marks:
        annotations.remove(store(), mark)
    for row in store().find("jobdata", job=number):
        store().remove("jobdata", row["id"])
    store().update("job", number, dataDeleted=True)
    return as_json({"message": f"Data of job {number} deleted"} | {"job": shown_job(job_of(number))})
