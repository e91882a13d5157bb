import json
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image, ImageDraw

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from annotator.embedded import seed
from annotator.embedded.process import Access, running
from annotator.embedded.store import Object, Store
from annotator.parameters import descriptor
from annotator.platform import connection

settings.register_profile("thorough", print_blob=True)  # of tests/test_faults.py

SHARED = Path(__file__).parents[1] / "../shared"


@dataclass(frozen=True)
class Server:
    """A running server in another process, and a hand on its data."""

    access: Access
    store: Store
    user: Object

    def fail(self, *rules: dict) -> None:
        """From now on these requests fail (see annotator.embedded.faults)."""
        request = urllib.request.Request(  # noqa: S310 (our own server)
            f"{self.access.host}/embedded/faults",
            json.dumps(rules).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request).read()  # noqa: S310


@pytest.fixture(scope="session")
def _server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with running(folder, allow_faults=True) as access:
        store = Store(folder)
        yield Server(access, store, store.find("user", algo=False)[0])


@pytest.fixture
def server(_server):
    yield _server
    _server.fail()


@dataclass(frozen=True)
class Project:
    server: Server
    id: int
    ontology: int
    software: int

    def add_image(self, path: Path, size: tuple[int, int] | None = None) -> int:
        return seed.add_image(self.server.store, self.id, path, size)["id"]

    def human_arguments(self, **values: object) -> list[str]:
        """The command line of someone who runs the job from a shell."""
        access = self.server.access
        given = {
            "cytomine_host": access.host,
            "cytomine_public_key": access.public_key,
            "cytomine_private_key": access.private_key,
            "cytomine_id_project": self.id,
            "cytomine_id_software": self.software,
        } | values
        return [part for name, value in given.items() for part in (f"--{name}", str(value))]

    def launch(self, **values: object) -> seed.Launch:
        """The job as Cytomine's page launches it."""
        server = self.server
        return seed.launch(server.store, server.access.host, self.id, self.software, server.user["id"], values)

    def jobs(self) -> list[Object]:
        return self.server.store.find("job", project=self.id)

    def annotations(self) -> list[Object]:
        return self.server.store.find("annotation", project=self.id)


@pytest.fixture
def project(server):
    made = seed.create_project(
        server.store, "Paintings", server.user, ["Violin (3573)", "snaartuig", "Harps", "Person"]
    )
    software = seed.register_software(server.store, descriptor(), made["id"])
    return Project(server, made["id"], made["ontology"], software["id"])


@pytest.fixture(scope="session")
def picture(tmp_path_factory):
    """A picture of 300 x 200 pixels whose corners have known colours."""
    image = Image.new("RGB", (300, 200), "grey")
    draw = ImageDraw.Draw(image)
    for corner, colour in (((0, 0), "red"), ((250, 0), "lime"), ((0, 150), "blue"), ((250, 150), "white")):
        draw.rectangle([*corner, corner[0] + 49, corner[1] + 49], fill=colour)
    path = tmp_path_factory.mktemp("pictures") / "corners.png"
    image.save(path)
    return path


@pytest.fixture(scope="session")
def gallery(tmp_path_factory):
    """The demo's drawn pictures, with truth.json."""
    from annotator.embedded.gallery import draw_gallery

    folder = tmp_path_factory.mktemp("gallery")
    draw_gallery(folder)
    return folder


@pytest.fixture(scope="session")
def wide(gallery, tmp_path_factory):
    """A picture of 7,168 x 480 pixels that shows a harp, 125 pixels high, in the box 4100, 200, 4198, 325."""
    with Image.open(gallery / "empty_room.png") as room, Image.open(gallery / "harp_in_oil.png") as oil:
        truth = json.loads((gallery / "truth.json").read_text())
        image = next(item["id"] for item in truth["images"] if item["file_name"] == "harp_in_oil.png")
        x, y, width, height = next(item["bbox"] for item in truth["annotations"] if item["image_id"] == image)
        around = 0.1 * max(width, height)
        harp = oil.crop((x - around, y - around, x + width + around, y + height + around)).resize((98, 125))
        canvas = room.convert("RGB").resize((7168, 480))
        canvas.paste(harp, (4100, 200))
    path = tmp_path_factory.mktemp("wide") / "wide.png"
    canvas.save(path)
    return path


@pytest.fixture(scope="session")
def small(gallery, tmp_path_factory):
    """The same, small enough that a job takes no time, and still recognised."""
    folder = tmp_path_factory.mktemp("small")
    for path in gallery.glob("*.png"):
        with Image.open(path) as picture:
            picture.resize((128, 128)).save(folder / path.name)
    return folder


@pytest.fixture(scope="session")
def builtin_model():
    from annotator.models import builtin

    return builtin.load()


@pytest.fixture
def no_pauses(monkeypatch):
    """Failures that take no time to be told."""
    monkeypatch.setattr(connection.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(connection, "WAIT_SECONDS", 0.2)


@pytest.fixture
def loaded_once(monkeypatch, builtin_model):
    """Many jobs in this process that share the built-in model: it is loaded and compiled for the first only."""
    from annotator.models import builtin

    monkeypatch.setattr(builtin, "load", lambda: builtin_model)


@pytest.fixture
def random():
    return np.random.default_rng(0)
