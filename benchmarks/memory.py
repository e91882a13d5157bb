"""Peak memory of a whole job on an image of 100 megapixels."""

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


def run() -> dict[str, object]:
    """The largest resident set of the job's process, sampled 20 times a second."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as access:
        gallery.draw_gallery(Path(folder) / "gallery")
        large = Path(folder) / "large.jpg"
        with Image.open(Path(folder) / "gallery/duo_in_oil.png") as picture:
            picture.resize((10_000, 10_000)).save(large, quality=90)
        store = Store(Path(folder))
        user = store.find("user", algo=False)[0]
        project = seed.create_project(store, "Large", user, ["Violin"])
        seed.add_image(store, project["id"], large)
        software = seed.register_software(store, descriptor(), project["id"])
        launched = seed.launch(store, access.host, project["id"], software["id"], user["id"], {})
        command = [sys.executable, "run.py", *launched.arguments[2:]]
        process = psutil.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        peak = 0
        while process.poll() is None:
            try:
                peak = max(peak, process.memory_info().rss)
            except psutil.NoSuchProcess:
                break
            time.sleep(0.05)
        return {
            "exit_code": process.wait(),
            "peak_gib": round(peak / 2**30, 2),
            "annotations": len(store.find("annotation")),
        }
