import numpy as np
import pytest

from annotator.detection import detector, windows
from annotator.detection.crops import crop_logits
from annotator.models.backbones import STRIDE

PICTURE = np.random.default_rng(0).integers(0, 255, (10 * STRIDE, 14 * STRIDE, 3), np.uint8)
CELLS = np.array([[0, 0, 5, 5], [9, 5, 14, 10], [4, 2, 9, 7], [5, 3, 10, 8], [3, 1, 10, 4], [0, 0, 14, 10]])


def test_with_the_whole_picture_as_context_a_crop_says_what_the_dense_scan_says(builtin_model):
    dense = builtin_model.network.predict_on_batch(PICTURE[None])[0]
    expected = [dense[y0:y1, x0:x1].mean(axis=(0, 1)) for x0, y0, x1, y1 in CELLS]
    found = crop_logits(builtin_model.network, PICTURE, CELLS, 14)
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("context", [0, 2])
def test_crops_are_cut_where_they_should_be(builtin_model, context):
    found = crop_logits(builtin_model.network, PICTURE, CELLS, context)
    for (x0, y0, x1, y1), logits in zip(CELLS, found, strict=True):
        left, top = max(x0 - context, 0), max(y0 - context, 0)
        right, bottom = min(x1 + context, 14), min(y1 + context, 10)
        crop = PICTURE[top * STRIDE : bottom * STRIDE, left * STRIDE : right * STRIDE]
        cells = builtin_model.network.predict_on_batch(crop[None])[0]
        expected = cells[y0 - top : y1 - top, x0 - left : x1 - left].mean(axis=(0, 1))
        np.testing.assert_allclose(logits, expected, atol=1e-3)


def test_exact_detection_scores_the_same_windows_nearly_alike(builtin_model, monkeypatch):
    monkeypatch.setattr(windows, "CANDIDATES", 40)
    levels = detector.scan(builtin_model, PICTURE)
    found = windows.score_windows(levels, np.array(builtin_model.configuration.class_labels))
    pictures = [picture for picture, _, _ in detector.level_pictures(builtin_model, PICTURE)]
    exact = detector.score_as_crops(builtin_model, pictures, found, detector.CROP_CONTEXT)
    assert not np.array_equal(exact.probabilities, found.probabilities)
    np.testing.assert_allclose(exact.probabilities, found.probabilities, atol=0.05)
    some = detector.detect(builtin_model, PICTURE, 0.0, 10, exact=True)
    assert len(some) > 0
