"""The whole chain: photographs, compose, artworks, evaluate."""

import json
import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from annotator.detection import detector
from annotator.errors import AnnotatorError, ExitCode
from annotator.models import builtin, bundle
from annotator.models.bundle import Label
from annotator.pictures import open_rgb
from tests.training.commands import full_from_head, kill_after, run, run_here
from tests.training.test_compose import photograph
from training import artworks, loop, transfer
from training.datasets import Picture, Region


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    """Composites of red and blue objects on soft grounds, a third as large as they are made: quick to look at."""
    folder = tmp_path_factory.mktemp("composed")
    random = np.random.default_rng(1)
    for name, colour in (("lute", (200, 30, 20)), ("harp", (20, 40, 210))):
        (folder / "photographs" / name).mkdir(parents=True)
        for number in range(12):
            image = np.roll(photograph(colour), tuple(random.integers(-8, 8, 2)), (0, 1))
            Image.fromarray(image).save(folder / "photographs" / name / f"{number}.png")
    (folder / "grounds").mkdir()
    for number in range(12):
        small = random.integers(60, 160, (5, 5, 3), np.uint8)
        Image.fromarray(small).resize((300, 240)).save(folder / "grounds" / f"{number}.png")
    result = run_here(
        *("compose", "--photographs", folder / "photographs", "--grounds", folder / "grounds"),
        *("--out", folder / "out", "--count", 20),
    )
    assert result.returncode == 0, result.stderr
    assert "pictures with" in result.stdout
    content = json.loads((folder / "out" / "annotations.json").read_text())
    for image in content["images"]:
        path = folder / "out" / "images" / image["file_name"]
        with Image.open(path) as picture:
            image["width"], image["height"] = picture.width // 3, picture.height // 3
            smaller = picture.resize((image["width"], image["height"]))
        smaller.save(path)
    for annotation in content["annotations"]:
        annotation["bbox"] = [side / 3 for side in annotation["bbox"]]
    (folder / "out" / "annotations.json").write_text(json.dumps(content))
    return folder / "out"


def arguments(composed, out, *more):
    return ["artworks", "--data", composed, "--out", out, "--epochs", 2, *more]


@pytest.fixture(scope="module")
def head_run(composed, tmp_path_factory):
    out = tmp_path_factory.mktemp("artworks") / "run"
    return run(*arguments(composed, out)), out


def test_a_box_head_is_trained_calibrated_and_judged(head_run, composed):
    result, out = head_run
    assert result.returncode == 0, result.stderr
    model = bundle.load(out / "model")
    assert model.has_boxes
    assert {Label("Lute", 3394), Label("Harp", 3285)} <= set(model.labels)
    figures = json.loads((out / "metrics.json").read_text())
    assert {"any_instrument_ap50", "ap50", "ece", "ece_before_calibration"} <= set(figures)
    assert (out / "box_head" / "curves.png").stat().st_size > 1000
    assert not list((out / "box_head").glob("seen-*"))  # the maps are gone

    sources = {
        source
        for image in json.loads((composed / "annotations.json").read_text())["images"]
        if image["split"] == "training"
        for source in image["sources"]
    }
    assert sources <= set(model.configuration.training_pictures)
    begun, labels = builtin.load(), bundle.load(out / "label_head.zip")
    kernel = labels.network.get_layer("head").get_weights()[0]
    assert not np.array_equal(kernel[:, :1000], begun.network.get_layer("head").get_weights()[0])
    np.testing.assert_array_equal(model.network.get_layer("head").get_weights()[0], kernel)
    losses = [float(line.split(",")[1]) for line in (out / "box_head" / "log.csv").read_text().splitlines()[1:]]
    assert losses[-1] < losses[0]


def test_the_model_is_one_that_evaluate_takes(head_run, composed, tmp_path):
    result = run_here("evaluate", "--model", head_run[1] / "model", "--data", composed, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    assert "are among those that the model learnt from" in result.stderr
    assert json.loads((tmp_path / "metrics.json").read_text())["any_instrument_ap10"]["value"] >= 0


def test_a_killed_training_goes_on_to_the_same_weights(head_run, composed, tmp_path):
    kill_after(tmp_path / "killed" / "box_head" / loop.STATE, *arguments(composed, tmp_path / "killed"))
    assert not (tmp_path / "killed" / "model").exists()
    again = run_here(*arguments(composed, tmp_path / "killed"))
    assert again.returncode == 0, again.stderr
    assert not list((tmp_path / "killed" / "box_head").glob("seen-*"))  # nor the gigabytes that the kill left
    weights = [out / "model" / bundle.WEIGHTS for out in (head_run[1], tmp_path / "killed")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_full_disk_is_told_in_one_line_and_loses_nothing(head_run, composed, tmp_path):
    """There is room for the label head, which is kept, but not for what the backbone sees."""
    shutil.copytree(head_run[1], tmp_path / "run", ignore=shutil.ignore_patterns("model", "box_head", "metrics.json"))
    limit = (
        "import resource, runpy, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)); "
        "runpy.run_module('training', run_name='__main__')"
    )
    result = run(*arguments(composed, tmp_path / "run"), program=("-c", limit))
    assert result.returncode == ExitCode.DISK, result.stderr
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith(f"File too large: '{tmp_path / 'run'}'")
    assert not list((tmp_path / "run" / "box_head").iterdir())
    assert (tmp_path / "run" / "label_head.zip").read_bytes() == (head_run[1] / "label_head.zip").read_bytes()


def test_all_layers_learn_in_mode_full(composed, head_run, tmp_path):
    """From the heads on, which mode head has learnt in the same way."""
    full_from_head(head_run[1], tmp_path / "run")
    result = run_here(*arguments(composed, tmp_path / "run", "--mode", "full"))
    assert result.returncode == 0, result.stderr
    last = safetensors.numpy.load_file(tmp_path / "run" / loop.STATE)
    network = bundle.load(head_run[1] / "model").network
    normalising = {
        weight.path
        for layer in network.layers
        if isinstance(layer, keras.layers.BatchNormalization)
        for weight in layer.weights
    }
    for number, weight in enumerate(network.weights):
        assert np.array_equal(last[f"weight/{number}"], weight) == (weight.path in normalising), weight.path


def test_pictures_without_boxes_teach_nothing(composed, tmp_path):
    content = json.loads((composed / "annotations.json").read_text())
    content["annotations"] = []
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "images").symlink_to(composed / "images")
    (tmp_path / "data" / "annotations.json").write_text(json.dumps(content))
    result = run_here(*arguments(tmp_path / "data", tmp_path / "run"))
    assert (result.returncode, "No picture has a box" in result.stderr) == (2, True)


def test_instruments_without_boxes_are_left_out(tmp_path, capsys):
    harp = Label("Harp", 3285)
    boxed = Picture(tmp_path / "a.png", "a", (Region(harp, (1.0, 1.0, 9.0, 9.0)),))
    empty = Picture(tmp_path / "b.png", "b")
    photograph = Picture(tmp_path / "c.png", "c", (Region(harp),))
    assert artworks.with_boxes([boxed, empty, photograph]) == [boxed, empty]
    assert "1 pictures name an instrument without a box" in capsys.readouterr().err
    for pictures in ([empty, photograph], [Picture(tmp_path / "d.png", "d", (Region(harp, (1, 1, 9, 9), True),))]):
        with pytest.raises(AnnotatorError, match="No picture has a box"):
            artworks.with_boxes(pictures)


def test_what_an_earlier_stage_was_tested_on_is_not_learnt_from(head_run, composed, tmp_path):
    """The same pictures in other parts: what was test would be learnt from."""
    content = json.loads((composed / "annotations.json").read_text())
    other = {"training": "test", "test": "training", "development": "development"}
    for image in content["images"]:
        image["split"] = other[image["split"]]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "images").symlink_to(composed / "images")
    (tmp_path / "data" / "annotations.json").write_text(json.dumps(content))
    result = run_here(*arguments(tmp_path / "data", tmp_path / "run", "--model", head_run[1] / "model"))
    assert (result.returncode, "an earlier stage is tested on it" in result.stderr) == (2, True)


def test_scores_and_thresholds_that_nothing_is_known_of_are_told(small, builtin_model, capsys):
    model = transfer.extended(builtin_model, [], boxes=True)
    pictures = [Picture(path, path.name) for path in sorted(small.glob("*.png"))]
    scores = [artworks.found_in(model, [picture], [artworks.box_score(model)])[0].scores for picture in pictures]
    assert sum(map(len, scores)) > 2
    assert artworks.calibrated(model, pictures) is model
    assert f"0 of {sum(map(len, scores))} detections on the development split are right" in capsys.readouterr().err
    # Of all detections only the least is right.
    number = int(np.argmin([min(own, default=2) for own in scores]))
    least = detector.detect(model, open_rgb(pictures[number].path), 0.0, 100)[-1:]
    pictures[number] = replace(pictures[number], regions=(Region(model.labels[0], tuple(least.boxes[0].tolist())),))
    assert artworks.calibrated(model, pictures).threshold == 1
    assert "At no score are detections" in capsys.readouterr().err
