"""A collection in one job: its pace against that of its slowest stage alone, its memory, and what it draws."""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image, ImageEnhance

from annotator import job as job_module
from annotator.annotate import as_annotations
from annotator.detection import SCAN_SIDE, detect
from annotator.embedded import gallery, seed
from annotator.embedded.process import Access, running
from annotator.embedded.store import Store
from annotator.models import builtin
from annotator.parameters import descriptor
from annotator.platform.annotations import upload
from annotator.platform.connection import Connection
from annotator.platform.images import FETCHERS, choose_images, fetch_pixels
from annotator.platform.records import finish

ROOT = Path(__file__).parents[1]
IMAGES = 2000
PICTURES = 40  # different ones among them
SIDE = 256
ALONE = 200  # images that each stage alone is measured on
ENDS = 200  # images at the beginning and at the end whose memory is compared


@dataclass(frozen=True)
class Collection:
    """A project with many small images on a server in another process."""

    store: Store
    access: Access
    project: int
    software: int

    def launch(self, **values: object) -> tuple[int, list[str]]:
        """The id of a new job, and its command line."""
        user = self.store.find("user", algo=False)[0]["id"]
        made = seed.launch(self.store, self.access.host, self.project, self.software, user, values)
        return made.job, made.arguments[2:]


@contextmanager
def collection(images: int = IMAGES) -> Iterator[Collection]:
    """So many images of `SIDE` pixels, `PICTURES` different ones."""
    with tempfile.TemporaryDirectory() as name, running(Path(name)) as access:
        pictures = _pictures(Path(name) / "pictures")
        store = Store(Path(name))
        user = store.find("user", algo=False)[0]
        project = seed.create_project(store, "Collection", user, ["Violin", "Harp", "Guitar", "Piano", "Drum"])
        software = seed.register_software(store, descriptor(), project["id"])
        for number in range(images):
            seed.add_image(store, project["id"], pictures[number % PICTURES])
        yield Collection(store, access, project["id"], software["id"])


def run() -> dict[str, object]:
    """Images a second of the whole job and of each stage alone, all in this run."""
    with collection() as given:
        job, arguments = given.launch()
        pace, mib = whole_job(arguments)
        alone = _alone(given)
        return {
            "images_a_second": pace,
            "alone": alone,
            "pace_over_slowest_stage": round(pace / min(alone.values()), 2),
            "mib_first_and_last_images": mib,
            "annotations": sum(map(len, outlines(given.store, job).values())),
            "pictures_that_differ_from_a_job_of_their_own": _differing(given, job),
        }


def _pictures(folder: Path) -> list[Path]:
    """Small variants of the demo's gallery."""
    gallery.draw_gallery(folder)
    scenes = sorted(folder.glob("*.png"))
    paths = []
    for scene, step in islice(product(scenes, range(PICTURES // len(scenes))), PICTURES):
        with Image.open(scene) as opened:
            side = min(opened.size) - 40 * step
            part = opened.convert("RGB").crop((20 * step, 20 * step, 20 * step + side, 20 * step + side))
        paths.append(folder / f"{scene.stem}-{step}.jpg")
        ImageEnhance.Color(part.resize((SIDE, SIDE))).enhance(1 - step / 10).save(paths[-1])
    return paths


def _user_of(store: Store, job: int) -> dict[str, Any]:
    row = store.get("job", job)
    user = store.get("user", row["userJob"]) if row else None
    if user is None:
        raise RuntimeError(f"there is no job {job}")
    return user


def started(arguments: list[str]) -> psutil.Popen:
    """A job in a process of its own."""
    command = [sys.executable, "run.py", *arguments]
    return psutil.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def images_done(process: psutil.Popen) -> Iterator[None]:
    """One item each time the job says that it has done an image."""
    for line in process.stdout:
        if re.search(r" % \d+ of \d+ images", line):
            yield


def whole_job(arguments: list[str]) -> tuple[float, list[int]]:
    """Images a second, and MiB while the first and the last are worked on."""
    process = started(arguments)
    times, memory = [], []
    for _ in images_done(process):
        times.append(time.monotonic())
        memory.append(process.memory_info().rss)
    if process.wait() != 0 or len(times) != IMAGES:
        raise RuntimeError(f"the job ended with {process.returncode} after {len(times)} images")
    mib = [round(float(np.mean(part)) / 2**20) for part in (memory[:ENDS], memory[-ENDS:])]
    return round((IMAGES - 1) / (times[-1] - times[0]), 2), mib


def _alone(given: Collection) -> dict[str, float]:
    job, _ = given.launch()
    user = _user_of(given.store, job)
    connection = Connection(given.access.host, user["publicKey"], user["privateKey"])
    model = builtin.load()
    images = choose_images(connection, given.project, ())[:ALONE]
    start = time.monotonic()
    with ThreadPoolExecutor(FETCHERS) as pool:
        fetched = list(pool.map(lambda image: fetch_pixels(connection, image, SCAN_SIDE), images))
    fetching = time.monotonic() - start
    detect(model, fetched[0], model.thresholds, 100)  # compiles
    start = time.monotonic()
    found = [detect(model, pixels, model.thresholds, 100) for pixels in fetched]
    detecting = time.monotonic() - start
    start = time.monotonic()
    for image, detections in zip(images, found, strict=True):
        count = upload(connection, image, user["id"], as_annotations(model, detections, image, {}))
        finish(connection, job, image.id, count)
    storing = time.monotonic() - start
    return {
        stage: round(ALONE / seconds, 2)
        for stage, seconds in (("fetch", fetching), ("detect", detecting), ("upload", storing))
    }


def _differing(given: Collection, job: int) -> int:
    """Of the different pictures, those of which some copy got other outlines than a job for that image alone gives."""
    images = [image["id"] for image in given.store.find("imageinstance", project=given.project)]
    batch = outlines(given.store, job)
    differing = 0
    for position in range(PICTURES):
        own, arguments = given.launch(cytomine_id_images=images[position])
        job_module.run(arguments)
        expected = outlines(given.store, own).get(images[position], [])
        differing += any(batch.get(image, []) != expected for image in images[position::PICTURES])
    return differing


def outlines(store: Store, job: int) -> dict[int, list[str]]:
    """What a job drew, sorted, by image."""
    found: dict[int, list[str]] = {}
    for item in store.find("annotation", user=_user_of(store, job)["id"]):
        found.setdefault(item["image"], []).append(item["location"])
    return {image: sorted(locations) for image, locations in found.items()}
