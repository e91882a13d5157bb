"""A collection with one broken image in a hundred, stopped again and again with SIGTERM, each time resumed."""

import random
import signal
import tempfile
import time
from pathlib import Path

from annotator.embedded import seed
from annotator.errors import ExitCode
from benchmarks.batch import SIDE, Collection, collection, images_done, outlines, started

IMAGES = 200
BROKEN = 2  # among them
STOPS = 5
SEED = 0


def run() -> dict[str, object]:
    """Seconds from SIGTERM to the end of the job, and whether all jobs together drew what one clean run draws."""
    lot = random.Random(SEED)  # noqa: S311
    with collection(IMAGES - BROKEN) as given, tempfile.TemporaryDirectory() as name:
        for number in range(BROKEN):
            broken = Path(name) / f"broken-{number}.png"
            broken.write_bytes(b"\x89PNG no more")
            seed.add_image(given.store, given.project, broken, (SIDE, SIDE))
        clean, arguments = given.launch()
        _until(arguments, None)
        jobs: list[int] = []
        seconds: list[float] = []
        for _ in range(STOPS):
            job, arguments = given.launch(**({"resume": jobs[-1]} if jobs else {}))
            jobs.append(job)
            seconds.append(_until(arguments, lot.randint(1, 2 * IMAGES // STOPS // 3)))
        job, arguments = given.launch(resume=jobs[-1])
        jobs.append(job)
        _until(arguments, None)
        together: dict[int, list[str]] = {}
        for job in jobs:
            for image, locations in outlines(given.store, job).items():
                together[image] = sorted(together.get(image, []) + locations)
        return {
            "images": IMAGES,
            "seconds_to_stop": [round(value, 2) for value in seconds],
            "comments": [_comment(given, job) for job in (clean, *jobs)],
            "together_as_one_clean_run": together == outlines(given.store, clean),
        }


def _until(arguments: list[str], images: int | None) -> float:
    """Run a job, stopped after so many images if a number is given: the seconds that stopping took."""
    process = started(arguments)
    seen, sent = 0, time.monotonic()
    for seen, _ in enumerate(images_done(process), start=1):
        if seen == images:
            sent = time.monotonic()
            process.send_signal(signal.SIGTERM)
    expected = ExitCode.OK if images is None else ExitCode.INTERRUPTED
    if process.wait() != expected:
        raise RuntimeError(f"the job ended with {process.returncode}, not {expected}, after {seen} images")
    return time.monotonic() - sent


def _comment(given: Collection, job: int) -> str:
    return str((given.store.get("job", job) or {})["statusComment"])
