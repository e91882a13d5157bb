import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from training.evaluate import Truth, match, precision_recall

SQUARE = np.array([[0.0, 0, 10, 10]])
NEAR = np.array([[0.0, 0, 10, 9]])
FAR = np.array([[50.0, 50, 60, 60]])


@pytest.mark.parametrize(
    ("boxes", "scores", "difficult", "right", "counted"),
    [
        (SQUARE, [0.9], False, [True], [True]),
        (FAR, [0.9], False, [False], [True]),
        # the second on the same box is wrong, whichever order they come in
        (np.concatenate([SQUARE, NEAR]), [0.9, 0.8], False, [True, False], [True, True]),
        (np.concatenate([SQUARE, NEAR]), [0.8, 0.9], False, [False, True], [True, True]),
        # on a difficult box nothing counts
        (np.concatenate([SQUARE, FAR]), [0.9, 0.8], True, [False, False], [False, True]),
    ],
)
def test_rule_of_pascal_voc(boxes, scores, difficult, right, counted):
    found = match(boxes, np.array(scores), Truth(SQUARE, np.array([difficult])), 0.5)
    assert [array.tolist() for array in found] == [right, counted]


def test_hand_computed_average_precision():
    truths = {
        "a": Truth(SQUARE, np.array([False])),
        "b": Truth(SQUARE, np.array([False])),
        "c": Truth(np.zeros((0, 4)), np.zeros(0, bool)),
    }
    detections = {"a": (SQUARE, np.array([0.9])), "c": (SQUARE, np.array([0.8])), "b": (SQUARE, np.array([0.7]))}
    curve = precision_recall(detections, truths, 0.5)
    assert curve.average_precision == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert curve.recall == 1
    assert curve.true_positive.tolist() == [True, False, True]


def test_nothing_found_is_zero_and_nothing_to_find_is_undefined():
    assert precision_recall({}, {"a": Truth(SQUARE, np.array([False]))}, 0.5).average_precision == 0
    assert np.isnan(precision_recall({}, {"a": Truth(SQUARE, np.array([True]))}, 0.5).average_precision)


def test_unknown_image_is_refused():
    with pytest.raises(ValueError, match=r"\['b'\]"):
        precision_recall({"b": (SQUARE, np.array([0.9]))}, {"a": Truth(SQUARE, np.array([False]))}, 0.5)


def coco_average_precision(detections, truths):
    """AP at 0.5 by pycocotools, which interpolates at 101 recalls."""
    names = sorted(truths)
    as_xywh = lambda box: [box[0], box[1], box[2] - box[0], box[3] - box[1]]  # noqa: E731
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": [{"id": i} for i in range(len(names))], "categories": [{"id": 1}], "annotations": []}
        for i, name in enumerate(names):
            for box in truths[name].boxes:
                coco.dataset["annotations"].append(
                    {"id": len(coco.dataset["annotations"]) + 1, "image_id": i, "category_id": 1, "iscrowd": 0}
                    | {"bbox": as_xywh(box), "area": 100.0}
                )
        coco.createIndex()
        results = coco.loadRes(
            [
                {"image_id": i, "category_id": 1, "bbox": as_xywh(box), "score": score}
                for i, name in enumerate(names)
                for box, score in zip(*detections[name], strict=True)
            ]
        )
        evaluation = COCOeval(coco, results, "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][..., -1].mean()  # at most 100 detections an image


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_agrees_with_pycocotools_but_for_its_interpolation(seed):
    random = np.random.default_rng(seed)
    truths, detections = {}, {}
    for name in "abcd":
        corner = np.arange(3)[:, None] * 40.0 + random.integers(0, 9, (3, 2))  # far apart: one box is best for each
        truths[name] = Truth(np.concatenate([corner, corner + 20], axis=1), np.zeros(3, bool))
        moved = truths[name].boxes + random.integers(-9, 10, (3, 1))
        detections[name] = (moved, random.permutation(1000)[:3] / 1000 + 0.001)
    ours = precision_recall(detections, truths, 0.5).average_precision
    assert ours == pytest.approx(coco_average_precision(detections, truths), abs=0.011)
