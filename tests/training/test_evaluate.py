"""What `training.evaluate` says of a model, in this process."""

import json
from dataclasses import replace

import pytest
from PIL import Image

from annotator.detection import detector
from annotator.errors import AnnotatorError
from annotator.models import bundle
from annotator.models.bundle import Label, Model
from annotator.pictures import open_rgb
from annotator.vocabulary import by_mimo_id
from training import evaluate
from training.datasets import Picture


def test_each_label_that_the_model_lacks_counts_in_macro_f1(tmp_path, small):
    for name, picture in {"harp": "harp_in_oil.png", "serpent": "empty_room.png", "rebec": "empty_room.png"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes((small / picture).read_bytes())
    found = evaluate.run(None, tmp_path, "folder", tmp_path / "out")
    assert found["accuracy"]["value"] == pytest.approx(1 / 3, abs=1e-4)
    # The harp is right, the two that have no name never are: taken for one label they would make it at least 1/2.
    assert found["macro_f1"]["value"] == pytest.approx(1 / 3, abs=1e-4)


def test_copies_of_what_the_model_learnt_from_are_told(tmp_path, small, builtin_model, capsys):
    learnt = replace(builtin_model.configuration, training_pictures=("0123456789ab",))
    bundle.save(Model(learnt, builtin_model.network, ""), tmp_path / "model")
    (tmp_path / "a.png").write_bytes((small / "harp_in_oil.png").read_bytes())
    (tmp_path / "labels.csv").write_text("file,label,sources\na.png,harp,0123456789ab ba9876543210\n")
    evaluate.run(tmp_path / "model", tmp_path, None, tmp_path / "out")
    assert "1 of the 1 pictures are among those that the model learnt from, or were made" in capsys.readouterr().err


def test_pictures_without_any_instrument_give_false_boxes_and_no_precision(tmp_path, small):
    Image.open(small / "empty_room.png").save(tmp_path / "a.jpg")
    content = {"images": [{"id": 1, "file_name": "a.jpg"}], "categories": [], "annotations": []}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    assert set(evaluate.run(None, tmp_path, None, tmp_path / "out")) == {"false_boxes_per_empty_picture"}
    json.loads((tmp_path / "out/metrics.json").read_text(), parse_constant=pytest.fail)  # NaN is no JSON


def test_boxes_that_are_all_difficult_judge_nothing(tmp_path, small):
    Image.open(small / "harp_in_oil.png").save(tmp_path / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "harp"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 50, 50], "ignore": 1}],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(AnnotatorError, match="there is nothing to judge by"):
        evaluate.run(None, tmp_path, None, tmp_path / "out")


def test_false_boxes_are_those_that_a_job_would_draw(tmp_path, gallery, builtin_model):
    path = gallery / "piano_fresco.png"
    _, second = detector.detect(builtin_model, open_rgb(path), 0.02, 100).labels
    # What is below the threshold of its label hides nothing that a job draws: the second has another name there.
    thresholds = tuple(1.0 if number == second else 0.02 for number in range(len(builtin_model.labels)))
    model = Model(replace(builtin_model.configuration, thresholds=thresholds), builtin_model.network, "")
    assert len(detector.detect(model, open_rgb(path), model.thresholds, 100)) == 2
    figures = evaluate.detection_figures(model, [Picture(path, "a")], tmp_path)
    assert figures["false_boxes_per_empty_picture"]["value"] == 2


def test_instruments_of_no_family_are_no_family():
    triangle, claves, aerophone, violin = (
        evaluate._family(Label(by_mimo_id()[number].name, number)) for number in (3005, 2989, 4310, 3573)
    )
    assert len({triangle, claves, aerophone}) == 3
    assert violin == evaluate._family(Label("Violins", 3564))
