"""Whole runs of `python -m training photographs` and `evaluate`, some of them in a process of their own."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from annotator.errors import AnnotatorError
from annotator.models import bundle
from annotator.models.bundle import Label
from tests.training.commands import full_from_head, kill_after, run, run_here
from training import loop, transfer
from training import photographs as photographs_stage
from training.datasets import Picture, Region

# Room for less than the configuration of a run, its features, its model; in one process, which loads TensorFlow once.
LIMITED = """
import resource, signal, sys
from training.__main__ import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for room in (100, 20_000, 1_000_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, 1_000_000))
    print("returned", main(sys.argv[1:]), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Twelve discs and twelve crosses of random colour and place, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(1)
    for name in ("discus", "Violin (3573)"):
        (folder / name).mkdir()
        for number in range(12):
            image = Image.fromarray(random.integers(200, 255, (8, 8, 3), np.uint8)).resize((96, 96))
            draw = ImageDraw.Draw(image)
            x, y = random.integers(20, 40, 2)
            colour = tuple(int(value) for value in random.integers(0, 150, 3))
            if name == "discus":
                draw.ellipse([x, y, x + 40, y + 40], fill=colour)
            else:
                draw.line([x, y, x + 40, y + 40], fill=colour, width=6)
                draw.line([x, y + 40, x + 40, y], fill=colour, width=6)
            image.save(folder / name / f"{number}.png")
    (folder / "discus" / "broken.jpg").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def head_run(photographs, tmp_path_factory):
    out = tmp_path_factory.mktemp("head") / "run"
    return run("photographs", "--data", photographs, "--out", out), out


def test_head_learns_and_leaves_a_model(head_run, photographs):
    result, out = head_run
    assert result.returncode == 0, result.stderr
    assert "'broken.jpg' cannot be read" in result.stderr
    model = bundle.load(out / "model")
    assert {Label("discus"), Label("Violin", 3573), Label("Harp", 3285)} <= set(model.labels)
    figures = json.loads((out / "metrics.json").read_text())
    assert figures["accuracy"]["value"] >= 0.75
    assert len(model.configuration.test_pictures) >= 4
    assert not set(model.configuration.test_pictures) & set(model.configuration.training_pictures)
    assert all((out / name).stat().st_size > 1000 for name in ("confusion.png", "calibration.png"))


def test_evaluate_photographs(head_run, photographs, tmp_path):
    result = run_here("evaluate", "--model", head_run[1] / "model", "--data", photographs, "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "are among those that the model learnt from" in result.stderr
    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert set(figures) == {"accuracy", "macro_f1", "ece"}
    for figure in figures.values():
        assert figure["low"] <= figure["value"] <= figure["high"]


def test_a_stage_made_from_it_judges_by_nothing_that_it_learnt_from(head_run, photographs, tmp_path):
    more = ("--model", head_run[1] / "model", "--seed", "8")
    result = run_here("photographs", "--data", photographs, "--out", tmp_path / "run", *more)
    assert result.returncode == 0, result.stderr
    first, second = (bundle.load(out / "model").configuration for out in (head_run[1], tmp_path / "run"))
    assert not set(first.training_pictures) & set(second.test_pictures)
    assert set(first.development_pictures) == set(second.development_pictures)


def test_another_run_is_not_overwritten(head_run, photographs):
    result = run_here("photographs", "--data", photographs, "--out", head_run[1], "--seed", "8")
    assert result.returncode == 2
    assert "holds a run with other settings" in result.stderr


def test_one_label_is_not_enough(photographs, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "harp").symlink_to(photographs / "discus")
    result = run_here("photographs", "--data", tmp_path / "data", "--out", tmp_path / "run")
    assert (result.returncode, "at least two" in result.stderr) == (2, True)


def test_labels_with_too_few_objects_are_named_and_left_out(capsys):
    def of(name, objects):
        return [Picture(Path(f"{n}.png"), f"{name} {n}", (Region(Label(name)),)) for n in range(objects)]

    lutes, harps, viols = of("lute", 5), of("harp", 6), of("viol", 4)
    assert photographs_stage.enough(lutes + viols + harps) == lutes + harps
    assert "'viol' has 4 objects, 5 are the least: left out." in capsys.readouterr().err
    with pytest.raises(AnnotatorError, match="Photographs of 1 instrument with 5 or more"):
        photographs_stage.enough(lutes + viols)


def test_a_full_disk_is_told_in_one_line_and_loses_nothing(head_run, photographs, tmp_path):
    arguments = ("photographs", "--data", photographs, "--out", tmp_path / "run")
    result = run(*arguments, program=("-c", LIMITED))
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    lines = result.stderr.splitlines()
    ends = [number for number, line in enumerate(lines) if line.startswith("returned")]
    assert [lines[number] for number in ends] == ["returned 8"] * 3
    for number in ends:
        last = lines[number - 1]
        assert "File too large" in last
        assert str(tmp_path / "run") in last
        assert "make room" in last
    again = run_here(*arguments)
    assert again.returncode == 0, again.stderr
    for name in (bundle.WEIGHTS, bundle.CONFIGURATION):  # same seed, same weights: those of a run that nothing stopped
        assert (tmp_path / "run/model" / name).read_bytes() == (head_run[1] / "model" / name).read_bytes()


def full_run(head_run, photographs, out):
    """A run in mode full that goes on from the features which one in mode head has computed."""
    full_from_head(head_run[1], out, epochs=2)
    return ["photographs", "--data", photographs, "--out", out, "--mode", "full", "--epochs", "2"]


def test_a_killed_training_goes_on_to_the_same_weights(head_run, photographs, tmp_path):
    whole = run_here(*full_run(head_run, photographs, tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr
    command = full_run(head_run, photographs, tmp_path / "killed")
    kill_after(tmp_path / "killed" / loop.STATE, *command)
    assert not (tmp_path / "killed" / "model").exists()
    again = run_here(*command)
    assert again.returncode == 0, again.stderr
    assert "Epoch 2/" in again.stdout
    assert "Epoch 1/" not in again.stdout
    for kept in (f"model/{bundle.WEIGHTS}", loop.STATE):  # the best weights and the last
        assert (tmp_path / "whole" / kept).read_bytes() == (tmp_path / "killed" / kept).read_bytes()


def test_batches_hold_as_much_of_each_source():
    order = transfer.epoch_order(np.repeat([0, 1], [100, 7]), 8, np.random.default_rng(0))
    assert set(order) == set(range(107))
    assert all((batch >= 100).sum() == 4 for batch in order.reshape(-1, 8))
