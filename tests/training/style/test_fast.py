import csv

import keras
import numpy as np
import pytest
from PIL import Image

from annotator.errors import AnnotatorError
from tests.training.commands import run_here
from training.style import fast
from training.style.loss import loss_network


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Twelve coarse pictures of three sizes, a file that is no picture, and stripes apart."""
    folder = tmp_path_factory.mktemp("contents")
    random = np.random.default_rng(6)
    (folder / "images" / "inner").mkdir(parents=True)
    for number in range(12):
        coarse = Image.fromarray(random.integers(0, 255, (4, 4, 3), np.uint8))
        size = ((70, 66), (66, 70), (81, 67))[number // 4]
        coarse.resize(size).save(folder / "images" / ("inner" if number % 2 else ".") / f"{number:02d}.png")
    (folder / "images" / "broken.jpg").write_text("no picture")
    stripes = np.where((np.mgrid[:140, :140].sum(axis=0) // 8 % 2)[..., None], (20, 30, 140), (240, 200, 60))
    Image.fromarray(stripes.astype(np.uint8)).save(folder / "stripes.png")
    return folder


def settings(pictures, **values):
    given = {
        "images": str(pictures / "images"),
        "style": str(pictures / "stripes.png"),
        "network": "efficientnet-lite0",
        "weights": "imagenet",
        "size": 64,
        "batches": 4,
        "style_weight": 5.0,
        "variation_weight": 1.0,
        "seed": 7,
    }
    return fast.Settings(**{**given, **values})


def test_network_keeps_the_size_and_judges_each_picture_alone(random):
    keras.utils.set_random_seed(1)
    network = fast.transform_network()
    batch = random.uniform(0, 255, (3, 32, 44, 3)).astype(np.float32)
    answers = network.predict_on_batch(batch)
    assert answers.shape == batch.shape
    assert answers.min() >= 0
    assert answers.max() <= 255
    # Instance normalisation: what else is in the batch does not matter.
    np.testing.assert_allclose(network.predict_on_batch(batch[1:2])[0], answers[1], atol=0.05)


def test_pictures_of_any_sizes_come_back_in_order(random):
    keras.utils.set_random_seed(1)
    network = fast.transform_network()
    shapes = [(33, 47)] * 5 + [(32, 48), (33, 47), (8, 9), (4, 60), (60, 3), (1, 1)]
    pictures = [random.integers(0, 255, (*shape, 3), np.uint8) for shape in shapes]
    together = list(fast.restyled(network, pictures))
    assert [own.shape[:2] for own in together] == shapes
    for own, picture in zip(together, pictures, strict=True):
        alone = next(fast.restyled(network, [picture]))
        assert np.abs(own.astype(int) - alone).max() <= 1


def test_command_learns_and_applies(pictures, tmp_path):
    arguments = (
        "--images",
        pictures / "images",
        "--style",
        pictures / "stripes.png",
        "--network",
        "efficientnet-lite0",
    )
    result = run_here("style", "train-fast", *arguments, "--size", 64, "--batches", 12, "--out", tmp_path / "run")
    assert result.returncode == 0, result.stderr
    with (tmp_path / "run" / "log.csv").open() as file:
        assert all(np.isfinite(float(row["val_loss"])) for row in csv.DictReader(file))
    assert (tmp_path / "run" / "style.png").read_bytes() == (pictures / "stripes.png").read_bytes()
    assert all((tmp_path / "run" / name).stat().st_size > 1000 for name in ("sheet.jpg", "curves.png"))
    result = run_here(
        "style", "apply", "--network", tmp_path / "run", "--images", pictures / "images", "--out", tmp_path / "restyled"
    )
    assert result.returncode == 0, result.stderr
    assert "'broken.jpg' cannot be read" in result.stderr
    found = sorted(
        file.relative_to(tmp_path / "restyled").as_posix() for file in (tmp_path / "restyled").rglob("*.jpg")
    )
    assert len(found) == 12
    assert found[-1] == "inner/11.jpg"
    for file in found:
        own = Image.open(tmp_path / "restyled" / file)
        assert own.size == Image.open((pictures / "images" / file).with_suffix(".png")).size
    (tmp_path / "twins").mkdir()
    for name in ("a.png", "A.jpg", "a.png.png", "b.png"):
        Image.open(pictures / "stripes.png").save(tmp_path / "twins" / name)
    assert fast.apply(tmp_path / "run", tmp_path / "twins", tmp_path / "both", 80) == 4
    assert sorted(file.name for file in (tmp_path / "both").iterdir()) == [
        "A.jpg.jpg",
        "a.png.jpg",
        "a.png.png.jpg",
        "b.jpg",
    ]


def test_learning_lowers_the_loss_and_going_on_ends_alike(pictures, tmp_path, monkeypatch):
    for name, value in (("EPOCH", 5), ("WIDTHS", (8, 16, 32)), ("BLOCKS", 1)):
        monkeypatch.setattr(fast, name, value)
    frozen = loss_network("efficientnet-lite0", "imagenet")
    monkeypatch.setattr(fast, "loss_network", lambda *_: frozen)  # built once for all three
    whole = fast.run(settings(pictures, batches=10), tmp_path / "whole")
    with (tmp_path / "whole" / "log.csv").open() as file:
        losses = [float(row["val_loss"]) for row in csv.DictReader(file)]
    assert losses[1] < losses[0]

    squares = fast.Squares

    def stopping(files, size, seed):
        if seed == (7, 1):
            raise KeyboardInterrupt
        return squares(files, size, seed)

    with monkeypatch.context() as stopped:
        stopped.setattr(fast, "Squares", stopping)
        with pytest.raises(KeyboardInterrupt):
            fast.run(settings(pictures, batches=10), tmp_path / "parts")
    parts = fast.run(settings(pictures, batches=10), tmp_path / "parts")
    for own, other in zip(parts.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)
    for own, other in zip(fast.load(tmp_path / "parts").get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)


def test_bad_input(pictures, tmp_path):
    Image.new("RGB", (60, 400)).save(tmp_path / "strip.png")
    (tmp_path / "few").mkdir()
    Image.new("RGB", (60, 40)).save(tmp_path / "few" / "a.png")
    for values, message in (
        ({"style": str(tmp_path / "strip.png")}, "'strip.png' is 60 x 400 pixels"),
        ({"size": 32}, "A size of 32: 64 is the least"),
        ({"batches": 0}, "A batches of 0"),
        ({"images": str(tmp_path / "few")}, "1 pictures in .* are too few"),
        ({"images": str(tmp_path / "none")}, "no pictures in"),
    ):
        with pytest.raises(AnnotatorError, match=message):
            fast.run(settings(pictures, **values), tmp_path / "out")
    with pytest.raises(AnnotatorError, match="no style network in"):
        fast.load(tmp_path)
    (tmp_path / fast.NETWORK).write_bytes(b"half")
    with pytest.raises(AnnotatorError, match="no style network in"):
        fast.load(tmp_path)
