"""The loop on real artworks: a job annotates, a curator looks through half of them, a job learns, the others judge."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from shapely.geometry import box

from annotator.embedded import seed
from annotator.embedded.process import running
from annotator.embedded.store import Store
from annotator.models import builtin, bundle
from annotator.parameters import descriptor
from annotator.platform.promotion import MODEL_FILE
from benchmarks.accuracy import ARTWORKS
from benchmarks.cross_validation import first_label
from benchmarks.curator import Instrument, look_through
from training import champion, datasets

ROUNDS = 2  # of looking through, the first half of the images in as many parts
SEED = 0


def run() -> dict[str, object]:
    """Average precision on the half that nobody looked through, before and after each round, and a poisoned round.

    In the poisoned round the curator, whom nobody should trust, has given every instrument of one more project the
    term of another.
    """
    if not ARTWORKS.exists():
        return {"skipped": "the artworks do not lie beside the project"}
    pictures = {picture.path.name: picture for picture in datasets.read(ARTWORKS, "coco")}
    order = sorted(pictures, key=lambda name: (first_label(pictures[name]), name))
    looked, judged = order[0::2], order[1::2]
    random.Random(SEED).shuffle(looked)  # noqa: S311
    result: dict[str, object] = {"looked_through": len(looked), "judged": len(judged)}
    others = [pictures[name] for name in judged]
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as access:
        for name, poisoned in (("honest", False), ("poisoned", True)):
            result[name] = _rounds(access, Store(Path(folder)), pictures, looked, others, poisoned, Path(folder))
    return result


def _rounds(
    access: Any,
    store: Store,
    pictures: dict[str, datasets.Picture],
    looked: list[str],
    others: list[datasets.Picture],
    poisoned: bool,
    folder: Path,
) -> list[dict[str, object]]:
    user = store.find("user", algo=False)[0]
    labels = sorted({region.label.name for picture in pictures.values() for region in picture.regions})
    project = seed.create_project(store, "Artworks", user, labels)["id"]
    software = seed.register_software(store, descriptor(), project)["id"]
    ontology = (store.get("project", project) or {})["ontology"]
    terms = {term["name"]: term["id"] for term in store.find("term", ontology=ontology)}
    meant = dict(zip(labels, labels[1:] + labels[:1], strict=True)) if poisoned else {name: name for name in labels}
    images = {name: seed.add_image(store, project, pictures[name].path) for name in looked}

    def job(**values: object) -> dict[str, Any]:
        launched = seed.launch(store, access.host, project, software, user["id"], values)
        subprocess.run([sys.executable, "run.py", *launched.arguments[2:]], check=True, capture_output=True)
        return store.get("job", launched.job) or {}

    found = job()
    truth = {
        images[name]["id"]: (
            images[name]["height"],
            [
                Instrument(terms[meant[region.label.name]], box(*region.box))
                for region in pictures[name].regions
                if region.box and not region.difficult
            ],
        )
        for name in looked
    }
    rounds: list[dict[str, object]] = []
    parts = [looked[number::ROUNDS] for number in range(ROUNDS)] if not poisoned else [looked]
    for part in parts:
        own = {images[name]["id"]: truth[images[name]["id"]] for name in part}
        said = look_through(access, project, found["userJob"], own)
        start = time.perf_counter()
        trained = job(mode="train")
        seconds = time.perf_counter() - start
        (row,) = store.find("attachedfile", domainIdent=trained["id"], filename=MODEL_FILE)
        path = folder / f"{trained['id']}.zip"
        path.write_bytes(store.file(row["stored"]).read_bytes())
        comparison = champion.compare(builtin.load(), bundle.load(path), others)
        rounds.append(
            {
                "curator": said,
                "training_seconds": round(seconds),
                "job_says": trained["statusComment"],
                "before": comparison.champion,
                "after": comparison.challenger,
                "difference": comparison.difference,
            }
        )
    return rounds
