import dataclasses
import json

import keras
import numpy as np
import pytest
import shapely
from PIL import Image
from scipy.special import expit

from annotator.detection import SCAN_SIDE, Detections, blocks, detect, pyramid
from annotator.detection.boxes import intersection_over_union
from annotator.detection.detector import SAME_INSTRUMENT, box_scores, candidates, named_inside, refined
from training.transfer import extended


def read(path):
    return np.asarray(Image.open(path).convert("RGB"))


def test_finds_drawn_instruments_where_they_are_and_none_in_an_empty_room(builtin_model, gallery):
    truth = json.loads((gallery / "truth.json").read_text())
    boxes = {image["file_name"]: [] for image in truth["images"]}
    for annotation in truth["annotations"]:
        x, y, width, height = annotation["bbox"]
        boxes[truth["images"][annotation["image_id"] - 1]["file_name"]].append([x, y, x + width, y + height])
    assert len(detect(builtin_model, read(gallery / "empty_room.png"), builtin_model.threshold, 10)) == 0
    for name, label in (("guitar_fresco.png", "Guitar"), ("harp_in_oil.png", "Harp")):
        found = detect(builtin_model, read(gallery / name), builtin_model.threshold, 10)
        assert builtin_model.labels[found.labels[0]].name == label
        assert intersection_over_union(found.boxes[:1], np.array(boxes[name])).max() > 0.5


def test_scores_fall_boxes_bound_outlines_and_the_limit_holds(builtin_model, gallery):
    image = read(gallery / "harp_in_oil.png")
    found = detect(builtin_model, image, 0.02, 100)
    assert len(found) > 3
    assert (np.diff(found.scores) <= 0).all()
    assert (found.scores >= 0.02).all()
    np.testing.assert_allclose(found.boxes, [outline.bounds for outline in found.outlines])
    assert found.boxes.min() >= 0
    assert (found.boxes[:, 2:] <= image.shape[1::-1]).all()
    fewer = detect(builtin_model, image, 0.02, 3)
    np.testing.assert_array_equal(fewer.boxes, found.boxes[:3])


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (2000, 3), (31, 33), (SCAN_SIDE, 40)])
def test_any_size_is_looked_at(builtin_model, size):
    image = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), np.uint8)
    found = detect(builtin_model, image, 0.0, 10)
    assert 1 <= len(found) <= 10  # at threshold 0 every picture has windows
    assert (found.boxes[:, 2:] <= np.array(size) + 1e-9).all()


def test_the_full_resolution_shows_what_the_thumb_does_not(builtin_model, wide):
    image = read(wide)
    thumb = pyramid.resize(image, SCAN_SIDE, 120)
    assert len(detect(builtin_model, thumb, 0.5, 10)) == 0
    found = detect(builtin_model, thumb, 0.5, 10, finer=blocks.in_memory(image, 100_000)).scaled(4, 4)
    assert builtin_model.labels[found.labels[0]].name == "Harp"
    assert intersection_over_union(found.boxes[:1], np.array([[4100, 200, 4198, 325]])).max() > 0.5
    np.testing.assert_allclose(found.boxes, [outline.bounds for outline in found.outlines])


@pytest.fixture(scope="module")
def model_with_boxes(builtin_model):
    """The built-in model with a box head that knows nothing yet."""
    keras.utils.set_random_seed(1)
    return extended(builtin_model, [], boxes=True)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (2000, 3), (300, 200)])
def test_a_box_head_looks_at_any_size(model_with_boxes, size):
    image = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), np.uint8)
    found = detect(model_with_boxes, image, 0.0, 10)
    assert 1 <= len(found) <= 10
    assert (np.diff(found.scores) <= 0).all()
    assert (found.boxes[:, 2:] <= np.array(size) + 1e-9).all()
    np.testing.assert_allclose(found.boxes, [outline.bounds for outline in found.outlines], atol=1e-6)


def test_boxes_that_overlap_a_detection_vote_on_its_box():
    square = shapely.box(0, 0, 100, 100)
    found = Detections(np.array([[0.0, 0, 100, 100], [500, 500, 600, 600]]), np.array([0, 1]), np.array([0.5, 0.9]))
    found = dataclasses.replace(found, outlines=(square, shapely.box(500, 500, 600, 600)))
    boxes = np.array([[0.0, 0, 100, 120], [0, 0, 100, 140], [50, 50, 250, 250], [0, 0, 100, 100]])
    objectness = np.array([2.0, 1.0, 5.0, -9.0])
    better, surest = refined(found, boxes, objectness)
    votes = expit(objectness[:2]) * (np.array([100 / 120, 100 / 140]) ** 3)
    assert votes[1] > votes[0] / 2  # else it would not vote
    np.testing.assert_allclose(better.boxes[0], votes @ boxes[:2] / votes.sum())
    np.testing.assert_allclose(better.outlines[0].bounds, better.boxes[0])
    np.testing.assert_array_equal(better.boxes[1], found.boxes[1])  # no box overlaps it
    np.testing.assert_array_equal(better.labels, found.labels)
    np.testing.assert_array_equal(surest, [2.0, -9.0])


def test_a_score_weighs_objectness_and_evidence():
    found = box_scores(np.array([2.0, -1.0]), np.array([0.5, 0.9]), (1.0, 0.5, -1.0))
    np.testing.assert_allclose(found, expit([2.0 - 1, -1 + 0.5 * np.log(9) - 1]))


def test_each_label_has_its_own_threshold(builtin_model, gallery):
    image = read(gallery / "harp_in_oil.png")
    thresholds = np.full(len(builtin_model.labels), 0.02)
    all_of_them = detect(builtin_model, image, thresholds, 100)
    thresholds[all_of_them.labels[0]] = 1.0
    others = detect(builtin_model, image, thresholds, 100)
    assert all_of_them.labels[0] not in others.labels
    assert not any(all_of_them.labels[0] in also for also in others.alternatives)
    assert len(others)


@pytest.mark.parametrize("name", ["violin_in_oil", "trumpet_in_oil", "harp_in_oil"])
def test_no_name_is_lost_that_an_outline_or_a_window_gives(name, builtin_model, gallery):
    image = read(gallery / f"{name}.png")
    shown = detect(builtin_model, image, 0.02, 1000)
    found, _, activations = candidates(builtin_model, image, 0.02)
    labels = named_inside(found, activations, image.shape[1], image.shape[0]).labels
    assert (labels != found.labels).any()
    same = intersection_over_union(shown.boxes[:, None], found.boxes) > SAME_INSTRUMENT
    for label, also, here in zip(shown.labels, shown.alternatives, same, strict=True):
        assert {*labels[here], *found.labels[here]} == {label, *also}


def test_scaled_detections_keep_everything_but_the_frame():
    square = np.array([[1.0, 2, 3, 4]])
    from shapely.geometry import box

    found = Detections(square, np.array([0]), np.array([0.5]), (box(1, 2, 3, 4),)).scaled(10, 100)
    np.testing.assert_array_equal(found.boxes, [[10, 200, 30, 400]])
    assert found.outlines[0].bounds == (10, 200, 30, 400)


def test_other_labels_of_the_same_instrument_are_kept_with_their_best_score():
    boxes = np.array([[0.0, 0, 10, 10], [1, 0, 10, 10], [0, 0, 10, 9], [0, 0, 9, 9], [0, 0, 10, 10], [8, 8, 20, 20]])
    everything = Detections(boxes, np.array([0, 1, 2, 1, 0, 3]), np.array([0.9, 0.4, 0.5, 0.7, 0.6, 0.8]))
    found = everything[[0, 5]].with_alternatives(everything, 0.3)
    assert [list(found.alternatives[i].items()) for i in (0, 1)] == [[(1, 0.7), (2, 0.5)], []]
    assert found[1:].scaled(2, 2).alternatives == ({},)


@pytest.mark.parametrize(
    ("boxes", "labels", "outlines"),
    [
        (np.zeros((2, 3)), np.zeros(2, int), ()),
        (np.zeros((2, 4)), np.zeros(1, int), ()),
        (np.zeros((1, 4)), np.zeros(1, int), (1, 2)),
    ],
)
def test_arrays_that_do_not_fit_are_refused(boxes, labels, outlines):
    with pytest.raises(ValueError, match="boxes"):
        Detections(boxes, labels, np.zeros(len(boxes)), outlines)
