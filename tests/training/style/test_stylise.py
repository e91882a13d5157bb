import json

import numpy as np
import pytest
from PIL import Image

from annotator.errors import AnnotatorError
from tests.training.test_photographs import photographs, run
from training import datasets, splits
from training.datasets.tables import read_table
from training.style import stylise

__all__ = ["photographs"]


@pytest.fixture(scope="module")
def styles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("styles")
    random = np.random.default_rng(4)
    for number in range(3):
        coarse = Image.fromarray(random.integers(0, 255, (5, 5, 3), np.uint8))
        coarse.resize((70, 60)).save(folder / f"{number}.png")
    (folder / "broken.jpg").write_text("no picture")
    return folder


@pytest.fixture
def with_boxes(tmp_path):
    """Twelve pictures with a box each, one of them difficult, and twelve without."""
    folder = tmp_path / "boxes"
    (folder / "images").mkdir(parents=True)
    random = np.random.default_rng(5)
    images, annotations = [], []
    for number in range(24):
        name = f"{number}.png"
        Image.fromarray(random.integers(0, 255, (40, 60, 3), np.uint8)).save(folder / "images" / name)
        images.append({"id": number, "file_name": name, "width": 60, "height": 40, "group": f"artwork {number}"})
        if number < 12:
            annotations.append(
                {"id": number, "image_id": number, "category_id": 1, "bbox": [5, 6, 20, 30], "ignore": number == 3}
            )
    content = {"images": images, "categories": [{"id": 1, "name": "violin"}], "annotations": annotations}
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


def settings(photographs, own_styles, **values):
    given = {"format": None, "kind": "reinhard", "proportion": 1.0, "seed": 7}
    return stylise.Settings(**{"images": str(photographs), "styles": str(own_styles), **given, **values})


def split(pictures, seed=7):
    prints = splits.readable(pictures)
    parts = splits.split(list(prints), list(prints.values()), seed)
    return parts, prints


def test_copies_are_learnt_from_beside_their_sources(photographs, styles, tmp_path):
    out = tmp_path / "copies"
    result = run("style", "stylise", "--images", photographs, "--styles", styles, "--out", out, "--with", "fourier")
    assert result.returncode == 0, result.stderr
    assert "'broken.jpg' cannot be read" in result.stderr
    originals, copies = datasets.read(photographs), datasets.read(out)
    alone, prints = split(originals)
    # One copy of each, but for those that look like a picture that is held back.
    assert len(alone.training) - 2 <= len(copies) <= len(alone.training)
    parts, both = split([*originals, *copies])
    splits.check_leaks(parts, both)
    assert (parts.development, parts.test) == (alone.development, alone.test)
    assert set(parts.training) == {*alone.training, *copies}
    sources = {prints[picture].sha256: picture for picture in alone.training}
    style_prints = {one.sha256 for one in split_prints(styles).values()}
    for copy in copies:
        content, style = copy.sources
        assert copy.group == sources[content].group
        assert copy.regions == sources[content].regions
        assert style in style_prints
    assert (out / "sheet.jpg").stat().st_size > 1000


def split_prints(folder):
    return splits.readable([datasets.Picture(file, file.name) for file in sorted(folder.glob("*.png"))])


def test_training_takes_both(photographs, styles, tmp_path):
    stylise.run(settings(photographs, styles), tmp_path / "copies")
    data = ("--data", photographs, "--data", tmp_path / "copies")
    result = run("photographs", *data, "--out", tmp_path / "run")
    assert result.returncode == 0, result.stderr
    rows = read_table(tmp_path / "run" / "splits.csv", ("split", "file"))
    assert {row["split"] for row in rows if "copies" in row["file"]} == {"training"}
    # Under another seed some copies would be learnt from while their sources judge.
    result = run("photographs", *data, "--out", tmp_path / "other", "--seed", 8)
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1].startswith("Leak:")


def test_boxes_stay_where_they_are(with_boxes, styles, tmp_path):
    stylise.run(settings(with_boxes, styles, proportion=2.0), tmp_path / "copies")
    originals, copies = datasets.read(with_boxes), datasets.read(tmp_path / "copies")
    of_group = {picture.group: picture for picture in originals}
    training = split(originals)[0].training
    assert {copy.group for copy in copies} == {picture.group for picture in training}
    assert len(copies) == 2 * len(training)
    for copy in copies:
        assert copy.part == "training"
        assert copy.regions == of_group[copy.group].regions


def test_same_seed_same_copies_and_going_on(photographs, styles, tmp_path):
    chosen = settings(photographs, styles, proportion=0.5)
    copies = stylise.run(chosen, tmp_path / "one")
    stylise.run(chosen, tmp_path / "other")
    contents = [(tmp_path / "one" / copy.file).read_bytes() for copy in copies]
    assert contents == [(tmp_path / "other" / copy.file).read_bytes() for copy in copies]
    (tmp_path / "other" / copies[0].file).unlink()
    untouched = (tmp_path / "other" / copies[1].file).stat().st_mtime_ns
    stylise.run(chosen, tmp_path / "other")
    assert (tmp_path / "other" / copies[0].file).read_bytes() == contents[0]
    assert (tmp_path / "other" / copies[1].file).stat().st_mtime_ns == untouched
    with pytest.raises(AnnotatorError, match="other settings"):
        stylise.run(settings(photographs, styles, proportion=0.7), tmp_path / "other")


def test_copies_that_look_like_what_judges_are_left_out():
    held = [splits.Fingerprint("", 0b1111), splits.Fingerprint("", (1 << 64) - 1)]
    near = stylise._near([0, 0b11111 << 20, ((1 << 64) - 1) ^ 0b11], held)
    assert near.tolist() == [True, False, True]


def test_bad_input(photographs, styles, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.jpg").write_text("no picture")
    for values, message in (
        ({"proportion": 0.0}, r"proportion of 0\.0"),
        ({"proportion": 0.01}, r"proportion of 0\.01 of 1\d pictures leaves no copy"),
        ({"styles": str(tmp_path / "empty")}, "no pictures in"),
        ({"styles": str(tmp_path / "text")}, "None of the 1 pictures"),
        ({"images": str(tmp_path / "missing")}, "There is no folder"),
    ):
        with pytest.raises(AnnotatorError, match=message):
            stylise.run(settings(photographs, styles, **values), tmp_path / "out")
