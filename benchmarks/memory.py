"""Peak memory of whole jobs: on ever larger images, and on ever more of them."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from PIL import Image

from annotator.embedded import gallery, seed
from annotator.embedded.process import running
from annotator.embedded.store import Store
from annotator.parameters import descriptor

ROOT = Path(__file__).parents[1]
MEGAPIXELS = (50, 100, 400)
COUNTS = (1, 20, 200)  # pictures of 1 megapixel


def run() -> dict[str, object]:
    """The largest resident set of the job's process, sampled 20 times a second."""
    with tempfile.TemporaryDirectory() as name, running(Path(name)) as access:
        folder = Path(name)
        gallery.draw_gallery(folder / "gallery")
        picture = folder / "gallery/duo_in_oil.png"
        result: dict[str, object] = {}
        for megapixels in MEGAPIXELS:
            large = enlarged(picture, megapixels, folder)
            result[f"{megapixels}_megapixels"] = job(folder, access.host, [large])
            large.unlink()
        for count in COUNTS:
            result[f"{count}_pictures"] = job(folder, access.host, [picture] * count)
        return result


def enlarged(picture: Path, megapixels: int, folder: Path) -> Path:
    """A square JPEG of that size."""
    side = round((megapixels * 1e6) ** 0.5)
    with Image.open(picture) as opened:
        opened.convert("RGB").resize((side, side)).save(folder / f"{megapixels}.jpg", quality=90)
    return folder / f"{megapixels}.jpg"


def job(folder: Path, host: str, images: list[Path], **values: object) -> dict[str, object]:
    """Run a whole job on these images; ``values`` are its parameters, ``folder`` is the server's."""
    store = Store(folder)
    user = store.find("user", algo=False)[0]
    project = seed.create_project(store, f"{len(images)} of {images[0].name}", user, ["Violin"])
    for image in images:
        seed.add_image(store, project["id"], image)
    software = seed.register_software(store, descriptor(), project["id"])
    launched = seed.launch(store, host, project["id"], software["id"], user["id"], values)
    command = [sys.executable, "run.py", *launched.arguments[2:]]
    process = psutil.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    start, peak = time.monotonic(), 0
    while process.poll() is None:
        try:
            peak = max(peak, process.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.05)
    seconds = round(time.monotonic() - start, 1)
    return {"exit_code": process.wait(), "peak_gib": round(peak / 2**30, 2), "seconds": seconds}
