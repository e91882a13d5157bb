import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from training import metrics
from training.metrics import Truth, match

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


def test_an_overlap_of_just_as_much_as_asked_is_right():
    half = np.array([[0.0, 0, 10, 5]])
    assert match(half, np.array([0.9]), Truth(SQUARE, np.array([False])), 0.5)[0].tolist() == [True]


NOTHING = (np.zeros((0, 4)), np.zeros(0))
ONE = Truth(SQUARE, np.array([False]))
NONE = Truth(np.zeros((0, 4)), np.zeros(0, bool))


def test_hand_computed_average_precision():
    found = [(SQUARE, np.array([0.9])), (SQUARE, np.array([0.7])), (SQUARE, np.array([0.8]))]
    judged = metrics.judge(found, [ONE, ONE, NONE], 0.5)
    assert judged.right.tolist() == [True, False, True]
    assert judged.average_precision(np.ones((1, 3), int))[0] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_the_curve_is_that_of_the_best_detection_the_best_two_and_so_on():
    found = [(np.concatenate([SQUARE, FAR]), np.array([0.9, 0.8])), (SQUARE, np.array([0.7]))]
    three = Truth(np.concatenate([SQUARE, FAR + 100, FAR + 200]), np.zeros(3, bool))
    recall, precision = metrics.judge(found, [three, ONE], 0.5).curve()
    np.testing.assert_allclose(recall, [1 / 4, 1 / 4, 2 / 4])
    np.testing.assert_allclose(precision, [1, 1 / 2, 2 / 3])


def test_nothing_found_is_zero_and_nothing_to_find_is_undefined():
    once = np.ones((1, 1), int)
    assert metrics.judge([NOTHING], [ONE], 0.5).average_precision(once)[0] == 0
    assert np.isnan(metrics.judge([NOTHING], [Truth(SQUARE, np.array([True]))], 0.5).average_precision(once)[0])


def collection(seed, difficult=0.2):
    random = np.random.default_rng(seed)
    truths, found = [], []
    for _ in range(4):
        corner = np.arange(3)[:, None] * 40.0 + random.integers(0, 9, (3, 2))  # far apart: one box is best for each
        truths.append(Truth(np.concatenate([corner, corner + 20], axis=1), random.random(3) < difficult))
        found.append((truths[-1].boxes + random.integers(-9, 10, (3, 1)), random.permutation(1000)[:3] / 1000 + 0.001))
    return found, truths


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_agrees_with_pycocotools(seed):
    found, truths = collection(seed)
    once = np.ones((1, 4), int)
    value, judged = metrics.coco_judged(found, truths)
    ours = [one.average_precision(once, 101)[0] for one in judged.values()]
    assert np.mean(ours) == pytest.approx(value, abs=1e-6, nan_ok=True)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_rules_of_voc_and_coco_agree_but_for_interpolation(seed):
    found, truths = collection(seed, difficult=0)  # COCO lets a crowd swallow more
    once = np.ones((1, 4), int)
    ours = [metrics.coco_judged(found, truths)[1][0.5].average_precision(once, 101)[0]]
    voc = metrics.judge(found, truths, 0.5).average_precision(once)[0]
    assert voc == pytest.approx(ours[0], abs=0.02, nan_ok=True)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_resample_is_the_collection_with_pictures_left_out(seed):
    found, truths = collection(seed)
    drawn = np.array([[1, 0, 1, 1]])
    whole = metrics.judge(found, truths, 0.5).average_precision(drawn)[0]
    kept = [0, 2, 3]
    part = metrics.judge([found[i] for i in kept], [truths[i] for i in kept], 0.5)
    assert whole == pytest.approx(part.average_precision(np.ones((1, 3), int))[0], nan_ok=True)


def test_classes_are_averaged_and_low_scores_are_not_minervas():
    found = {"lute": [(SQUARE, np.array([0.9])), NOTHING], "harp": [NOTHING, (SQUARE, np.array([0.04]))]}
    truths = {"lute": [ONE, NONE], "harp": [NONE, ONE], "oboe": [NONE, NONE]}
    figures = metrics.detection(found, truths)
    assert figures["ap50"]["value"] == 1
    assert figures["ap_coco"]["value"] == pytest.approx(1)
    assert figures["minerva_ap50"]["value"] == 0.5
    found["harp"] = [NOTHING, (SQUARE, np.array([0.05]))]  # just enough
    assert metrics.detection(found, truths)["minerva_ap50"]["value"] == 1


def test_a_class_of_which_nothing_is_found_counts_as_zero():
    figures = metrics.detection({"lute": [(SQUARE, np.array([0.9]))]}, {"lute": [ONE], "harp": [ONE]})
    assert {figures[name]["value"] for name in ("ap10", "ap50", "ap_coco", "minerva_ap10")} == {0.5}


@given(st.integers(1, 30), st.integers(0, 1000))
def test_macro_f1_is_that_of_scikit_learn(count, seed):
    targets, predicted = np.random.default_rng(seed).integers((-5, 0), 6, (count, 2)).T
    oracle = f1_score(targets, predicted, labels=np.unique(targets), average="macro", zero_division=0)
    assert metrics.macro_f1(targets, predicted) == pytest.approx(oracle)


def test_classification_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
    figures = metrics.classification(probabilities, np.array([0, 1, 1, 1]))
    assert figures["accuracy"]["value"] == 0.75
    assert figures["macro_f1"]["value"] == pytest.approx((2 / 3 + 0.8) / 2, abs=1e-4)
    assert figures["accuracy"]["low"] <= 0.75 <= figures["accuracy"]["high"]
    assert metrics.classification(probabilities, np.array([-1, -1, -1, -1]))["accuracy"]["value"] == 0


def test_the_f1_is_averaged_over_the_labels_that_occur():
    figures = metrics.classification(np.eye(3)[[0, 0, 1, 2]], np.array([0, 0, 1, 1]))
    assert figures["macro_f1"]["value"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-4)  # nothing is the third label


def test_an_interval_is_that_of_a_share_among_as_many():
    """Against the normal approximation: 1.96 standard errors to each side."""
    right = np.arange(400) % 4 > 0
    error = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    probabilities = np.where(right[:, None], [0.8, 0.2], [0.2, 0.8])
    accuracy = metrics.classification(probabilities, np.zeros(400, int))["accuracy"]
    found = [(SQUARE if one else FAR, np.array([0.9])) for one in right]
    figure = metrics.detection({"lute": [found[i] for i in range(400)]}, {"lute": [ONE] * 400})["ap50"]
    assert accuracy["value"] == 0.75
    assert [accuracy["low"], accuracy["high"]] == pytest.approx([0.75 - error, 0.75 + error], abs=0.01)
    # Detections of the same score come in the order of the pictures, so precision is about 0.75 at each recall.
    assert figure["high"] - figure["low"] == pytest.approx(2 * error * 2 * 0.75, rel=0.25)


def test_every_resample_has_as_many_pictures_as_there_are():
    drawn = metrics.draws(7)
    assert (drawn.sum(axis=1) == 7).all()
    assert drawn[0].tolist() == [1] * 7
    assert np.std(drawn[1:]) == pytest.approx(np.sqrt(6 / 7), rel=0.05)


def test_the_calibration_error_of_the_best_label_by_hand():
    # Both say 0.8, one is right: the gap is 0.3; in a resample of one of them 0.2 or 0.8.
    error = metrics.classification(np.array([[0.8, 0.2], [0.8, 0.2]]), np.array([0, 1]))["ece"]
    assert error == {"value": 0.3, "low": 0.2, "high": 0.8}


def test_memory_of_intervals_does_not_grow_with_the_detections(random):
    judged = metrics.Judged(random.random(30_000) < 0.3, random.integers(0, 50, 30_000), random.integers(1, 900, 50))
    drawn = metrics.draws(50)
    tracemalloc.start()
    values = judged.average_precision(drawn)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300e6  # all at once it is 1.7 GB
    few = drawn[[0, 1, 500, 1000]]
    together = metrics.average_precision(judged.right, few[:, judged.pictures], few @ judged.wanted)
    np.testing.assert_array_equal(values[[0, 1, 500, 1000]], together)
