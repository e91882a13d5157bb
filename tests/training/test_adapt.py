"""Adversarial training with unlabelled pictures: whole runs, a killed one, and what it refuses."""

import csv
import json
import shutil

import keras
import numpy as np
import pytest
from PIL import Image, ImageDraw

from annotator.errors import AnnotatorError, ExitCode
from annotator.models import bundle
from tests.training.commands import kill_after, run_here
from training import adapt, loop, transfer
from training.datasets import Picture
from training.samples import Sample, load
from training.splits import fingerprint


def drawn(kind, random, ground):
    """A disc or a cross of random colour and place on a ground of two shades."""
    image = Image.fromarray(random.integers(*ground, (8, 8, 3), np.uint8)).resize((96, 96))
    draw = ImageDraw.Draw(image)
    x, y = (int(value) for value in random.integers(20, 40, 2))
    colour = tuple(int(value) for value in random.integers(0, 100, 3))
    if kind == "discus":
        draw.ellipse([x, y, x + 40, y + 40], fill=colour)
    else:
        draw.line([x, y, x + 40, y + 40], fill=colour, width=6)
        draw.line([x, y + 40, x + 40, y], fill=colour, width=6)
    return image


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Labelled pictures on light ground, `photographs`, and unlabelled ones on motley ground, `artworks`."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(1)
    for kind in ("discus", "Violin (3573)"):
        (folder / "photographs" / kind).mkdir(parents=True)
        for number in range(12):
            drawn(kind, random, (200, 255)).save(folder / "photographs" / kind / f"{number}.png")
    (folder / "artworks" / "deeper").mkdir(parents=True)
    for number in range(20):
        place = folder / "artworks" / ("deeper" if number % 2 else ".")
        drawn(("discus", "cross")[number % 2], random, (100, 255)).save(place / f"{number}.png")
    (folder / "artworks" / "broken.jpg").write_text("no picture")
    return folder


def settings(pictures, **values):
    usual = {
        "data": (str(pictures / "photographs"),),
        "format": None,
        "mode": "head",
        "backbone": "efficientnet-lite0",
        "weights": "imagenet",
        "model": None,
        "epochs": 2,
        "seed": 7,
        "target": str(pictures / "artworks"),
        "variant": "dann",
    }
    return adapt.AdversarialSettings(**(usual | values))


@pytest.fixture(scope="module")
def made(pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    given = ("--data", pictures / "photographs", "--target", pictures / "artworks", "--out", out, "--epochs", 2)
    return run_here("adversarial", *given), out


def test_a_run_leaves_a_model_and_what_a_person_looks_at(made, pictures):
    result, out = made
    assert result.returncode == 0, result.stderr
    assert "'broken.jpg' cannot be read" in result.stderr
    model = bundle.load(out / "model")
    assert json.loads((out / "metrics.json").read_text())["accuracy"]["value"] >= 0.75
    assert "cdan towards artworks" in model.configuration.lineage[-1]
    rows = list(csv.DictReader((out / "splits.csv").open(encoding="utf-8")))
    unlabelled = {row["sha256"] for row in rows if row["split"] == "target"}
    assert len(unlabelled) == 20
    assert unlabelled <= set(model.configuration.training_pictures)
    assert [row["epoch"] for row in csv.DictReader((out / "log.csv").open(encoding="utf-8"))] == ["1", "2"]
    for name in ("curves.png", "features.png"):
        with Image.open(out / name) as picture:
            assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 20


@pytest.mark.timeout(600)
def test_mode_full_goes_on_where_it_was_killed_and_trains_all_but_normalisation(pictures, tmp_path):
    out = tmp_path / "run"
    for path in (pictures / "photographs").rglob("[0-6].png"):  # few: a step of all layers takes seconds
        (tmp_path / "photographs" / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "photographs" / path.parent.name)
    given = ("--data", tmp_path / "photographs", "--target", pictures / "artworks", "--out", out)
    arguments = ("adversarial", *given, "--mode", "full", "--epochs", 2)
    kill_after(out / loop.STATE, *arguments)
    assert not (out / "model").exists()
    result = run_here(*arguments)
    assert result.returncode == 0, result.stderr
    rows = list(csv.DictReader((out / loop.LOG).open(encoding="utf-8")))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert "Epoch 1/" not in result.stdout

    network = bundle.load(out / "model").network
    begun = transfer.start("efficientnet-lite0", "imagenet", bundle.load(out / "model").labels).network
    for layer in network.layers:
        if layer.name == "head" or not layer.weights:
            continue
        pairs = zip(layer.get_weights(), begun.get_layer(layer.name).get_weights(), strict=True)
        same = [np.array_equal(*pair) for pair in pairs]
        assert all(same) == isinstance(layer, keras.layers.BatchNormalization), layer.name


def test_the_map_becomes_part_of_the_head(random):
    features = random.normal(size=(10, 6))
    turn, shift, kernel, bias = (random.normal(size=shape) for shape in ((6, 6), 6, (6, 4), 4))
    new_kernel, new_bias = adapt.head_after(turn, shift, kernel, bias)
    mapped = features + features @ turn + shift
    np.testing.assert_allclose(features @ new_kernel + new_bias, mapped @ kernel + bias)


def test_views_are_the_crops_then_varied_ones_the_same_each_time(pictures):
    samples = [Sample(pictures / "photographs" / "discus" / f"{number}.png", None, 0) for number in range(2)]
    views = adapt.Views(samples, 3, seed=1)
    assert len(views) == 6
    first = views[np.arange(6)]
    np.testing.assert_array_equal(first[:2], [load(sample) for sample in samples])
    np.testing.assert_array_equal(views[np.array([5, 2])], first[[5, 2]])
    assert len({crop.tobytes() for crop in first}) == 6


def test_a_target_without_pictures_is_refused(pictures, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "missing"):
        with pytest.raises(AnnotatorError, match=f"no pictures in .*{folder}") as error:
            adapt.run(settings(pictures, target=str(tmp_path / folder)), tmp_path / f"run_{folder}")
        assert error.value.code == ExitCode.USAGE


def test_a_small_target_is_refused(pictures, tmp_path):
    (tmp_path / "few").mkdir()
    shutil.copy(pictures / "artworks" / "0.png", tmp_path / "few")
    with pytest.raises(AnnotatorError, match="target pictures: adversarial training takes 16 in each batch"):
        adapt.run(settings(pictures, target=str(tmp_path / "few")), tmp_path / "run")


def test_one_class_is_refused(pictures, tmp_path):
    (tmp_path / "data").mkdir()
    shutil.copytree(pictures / "photographs" / "discus", tmp_path / "data" / "discus")
    with pytest.raises(AnnotatorError, match="at least two to tell apart"):
        adapt.run(settings(pictures, data=(str(tmp_path / "data"),)), tmp_path / "run")


def test_source_and_target_that_share_pictures_are_refused_by_name(pictures, tmp_path):
    (tmp_path / "target").mkdir()
    for number in range(3):
        shutil.copy(pictures / "artworks" / f"{2 * number}.png", tmp_path / "target" / f"own{number}.png")
    shutil.copy(pictures / "photographs" / "discus" / "5.png", tmp_path / "target" / "shared.png")
    with pytest.raises(AnnotatorError, match=r"discus/5.png' = '.*shared.png'\. Take them out") as error:
        adapt.run(settings(pictures, target=str(tmp_path / "target")), tmp_path / "run")
    assert "own" not in str(error.value)


def test_pictures_that_the_model_was_tested_on_are_no_target(made, pictures, tmp_path):
    model = bundle.load(made[1] / "model")
    files = sorted((pictures / "photographs").rglob("*.png"))
    tested = [f for f in files if fingerprint(Picture(f, "")).sha256 in model.configuration.test_pictures]
    (tmp_path / "target").mkdir()
    shutil.copy(tested[0], tmp_path / "target" / "judged.png")
    with pytest.raises(AnnotatorError, match=r"Leak: the model is tested on 1 of the unlabelled .*judged\.png"):
        adapt.target_pictures(tmp_path / "target", model)
