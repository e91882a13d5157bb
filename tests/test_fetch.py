"""A project's images as a folder of pictures, over real HTTP, and what training makes of it."""

import csv

import pytest
from PIL import Image

from annotator.__main__ import main
from annotator.errors import ExitCode
from annotator.fetch import file_name
from annotator.platform.images import ProjectImage
from training.style import clusters

pytestmark = pytest.mark.usefixtures("no_pauses")


def fetch(project, out, **values):
    access = project.server.access
    given = {
        "cytomine_host": access.host,
        "cytomine_public_key": access.public_key,
        "cytomine_private_key": access.private_key,
        "cytomine_id_project": project.id,
        "out": out,
    } | values
    return main(["fetch", *(part for name, value in given.items() for part in (f"--{name}", str(value)))])


def test_images_of_a_project_are_grouped_by_style(project, small, tmp_path, capsys):
    names = sorted(path.name for path in small.glob("*.png"))[:8]
    images = {project.add_image(small / name): name for name in names}
    (tmp_path / "broken.png").write_text("no picture")
    project.add_image(tmp_path / "broken.png", (50, 40))
    out = tmp_path / "pictures"
    assert fetch(project, out) == ExitCode.OK
    said = capsys.readouterr()
    assert said.out == f"8 images of project {project.id} fetched into {out}, 1 cannot be read.\n"
    assert said.err.startswith("broken.png: ")
    assert said.err.count("\n") == 1
    assert sorted(path.name for path in out.iterdir()) == sorted(
        f"{name.removesuffix('.png')}_{image}.jpg" for image, name in images.items()
    )
    for path in out.iterdir():
        with Image.open(path) as picture:
            assert (picture.format, picture.size) == ("JPEG", (128, 128))

    clusters.run(out, tmp_path / "styles", "efficientnet-lite0", "imagenet", 0.1)
    with (tmp_path / "styles" / "clusters.csv").open(encoding="utf-8", newline="") as file:
        assert {row["file"] for row in csv.DictReader(file)} == {path.name for path in out.iterdir()}


def test_what_is_there_is_not_fetched_again(project, small, tmp_path, capsys):
    names = ("harp_in_oil.png", "empty_room.png")
    for name in names:
        project.add_image(small / name)
    out = tmp_path / "pictures"
    assert fetch(project, out) == ExitCode.OK
    first = sorted(out.iterdir())[0]
    first.unlink()
    (out / first.with_suffix(".part").name).write_text("half a picture")
    kept = {path: path.stat().st_mtime_ns for path in out.glob("*.jpg")}
    capsys.readouterr()
    assert fetch(project, out) == ExitCode.OK
    assert capsys.readouterr().out == f"1 image of project {project.id} fetched into {out}, 1 were there.\n"
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(list(out.iterdir())) == 2


def test_nothing_to_fetch_is_told_in_a_line(project, tmp_path, capsys):
    assert fetch(project, tmp_path / "out") == ExitCode.NOT_FOUND
    assert f"Project {project.id} has no images." in capsys.readouterr().err
    (tmp_path / "broken.png").write_text("no picture")
    project.add_image(tmp_path / "broken.png", (50, 40))
    assert fetch(project, tmp_path / "out") == ExitCode.BAD_IMAGE
    assert "None of the 1 image of project" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("../../etc/passwd", "passwd_7.jpg"),
        ("a b/…/Lautenspieler (1).tif", "Lautenspieler_1_7.jpg"),
        ("..", "7.jpg"),
        ("x" * 300 + ".jpg", "x" * 80 + "_7.jpg"),
    ],
)
def test_no_name_leads_out_of_the_folder(name, file):
    assert file_name(ProjectImage(7, name, 1, 1, None)) == file
