"""The demo: an embedded Cytomine, pictures, the real job against it over HTTP, and a page with what came back."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from annotator.annotate import SUMMARY_KEY
from annotator.embedded import gallery, pixels, seed
from annotator.embedded.process import Access, running
from annotator.embedded.store import Object, Store
from annotator.errors import AnnotatorError, ExitCode
from annotator.parameters import argument_parser, descriptor, parse
from annotator.pictures import jpeg
from annotator.platform import evidence
from annotator.platform.annotations import ALGO_ANNOTATION, StoredAnnotation, fetch_annotations
from annotator.platform.connection import Connection
from annotator.platform.images import choose_images
from annotator.platform.jobs import SUCCESS
from annotator.platform.promotion import MODEL_FILE
from annotator.report.coco import Finding, Picture, as_coco
from annotator.report.page import QUALITY, thumbnail_side, write_page


def demo(images: Path | None, out: Path, model: Path | None, job_arguments: Sequence[str]) -> ExitCode:
    """Annotate pictures and write ``detections.json`` and ``report.html``.

    Args:
        images: folder of pictures; None draws a gallery.
        out: where the results go.
        model: a bundle to use instead of the built-in model.
        job_arguments: parameters handed to the job, as on its command line.

    Raises:
        AnnotatorError: no pictures or no model where they should be.
    """
    if model is not None and not model.exists():
        raise AnnotatorError(f"There is no model {model}. Name a bundle, folder or zip.", ExitCode.BAD_MODEL)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cytomine-") as folder, running(Path(folder)) as access:
        store = Store(Path(folder))
        user = store.find("user", algo=False)[0]
        project = seed.create_project(store, "Demo", user)
        software = seed.register_software(store, descriptor(), project["id"])
        given = ["--create_terms", "true", *job_arguments]
        if model is not None:
            given += ["--cytomine_id_job", str(_add_training_job(store, project, software, user, model))]
        launched = seed.launch(store, access.host, project["id"], software["id"], user["id"], {})
        arguments = [*launched.arguments[2:], *given]
        # What is wrong is told before pictures are drawn, and not in the job's log; also a name that no parameter has.
        argument_parser().parse_args(arguments)
        parse(arguments)
        if images is None:
            images = out / "gallery"
            print(f"Drawing a gallery in {images}")
            gallery.draw_gallery(images)
        path_of = seed.add_images(store, project["id"], images)
        code = _run_job(arguments)
        if code is not ExitCode.OK:
            return code
        _write_results(access, project["id"], launched.job, path_of, out)
    return code


def _add_training_job(store: Store, project: Object, software: Object, user: Object, model: Path) -> int:
    """A finished job that has the bundle attached, as a training job would have."""
    job = seed.create_job(store, project["id"], software["id"], user["id"])
    store.update("job", job["id"], status=SUCCESS, progress=100)
    if model.is_dir():
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for file in sorted(model.iterdir()):
                archive.write(file, file.name)
        content = buffer.getvalue()
    else:
        content = model.read_bytes()
    store.add(
        "attachedfile", ownerKind="job", domainIdent=job["id"], filename=MODEL_FILE, stored=store.add_file(content)
    )
    return int(job["id"])


def _run_job(arguments: Sequence[str]) -> ExitCode:
    run = Path(__file__).parents[1] / "run.py"
    process = subprocess.run([sys.executable, str(run), *arguments], check=False)
    return ExitCode(process.returncode)


def _write_results(access: Access, project: int, job: int, paths: dict[int, Path], out: Path) -> None:
    """Read everything back from the server and write it down."""
    connection = Connection(access.host, access.public_key, access.private_key)
    user = connection.get(f"job/{job}.json", what=f"job {job}")["userJob"]
    rows = connection.items(f"job/{job}/jobdata.json", what="the job's files")
    number = next(row["id"] for row in rows if row["key"] == SUMMARY_KEY)
    content = connection.download(f"jobdata/{number}/download", None, what="the job's summary")
    summary = json.loads(content)
    images = choose_images(connection, project, ())
    found: dict[int, list[StoredAnnotation]] = {}
    for annotation in fetch_annotations(connection, user, images):
        found.setdefault(annotation.image, []).append(annotation)
    errors = {item["id"]: item.get("error") for item in summary["images"]}
    pictures = []
    for image in images:
        findings = [_finding(connection, item) for item in found.get(image.id, [])]
        findings.sort(key=lambda finding: -finding.score)
        path = paths[image.id]  # its name is that of the file, the image's is made fit to be read
        thumbnail = _thumbnail(path, thumbnail_side(findings))
        pictures.append(Picture(path.name, image.width, image.height, findings, thumbnail, errors.get(image.id)))
    info = {
        "model": f"{summary['model']['name']} {summary['model']['version']}",
        "default_threshold": summary["default_threshold"],
        "threshold": summary["threshold"],
        "thresholds": summary["thresholds"],
        "seconds": summary["seconds"],
    }
    labels = [(item["name"], item["mimo_id"]) for item in summary["labels"]]
    (out / "detections.json").write_text(json.dumps(as_coco(pictures, labels, info), indent=1), encoding="utf-8")
    (out / "report.html").write_text(write_page(pictures, info), encoding="utf-8")
    total = sum(len(picture.findings) for picture in pictures)
    print(f"\n{total} instruments in {len(pictures)} pictures.")
    print(f"Look at   {out / 'report.html'}")
    print(f"Data in   {out / 'detections.json'}")


def _finding(connection: Connection, annotation: StoredAnnotation) -> Finding:
    mimo_id = annotation.properties.get("mimo_id")
    number = evidence.find(connection, ALGO_ANNOTATION, annotation.id)
    shown = b""
    if number is not None:
        shown = connection.download(f"attachedfile/{number}/download", None, what=f"the evidence of {annotation.id}")
    return Finding(
        annotation.properties["instrument"],
        int(mimo_id) if mimo_id else None,
        float(annotation.properties["score"]),
        annotation.polygon,
        annotation.properties.get("also", ""),
        shown,
    )


def _thumbnail(path: Path, side: int) -> bytes:
    try:
        picture = pixels.thumb(path, side)
    except (OSError, SyntaxError, ValueError):
        picture = Image.new("RGB", (8, 8), "grey")
    return jpeg(picture, QUALITY)
