import dataclasses

import keras
import numpy as np
import pytest
from PIL import Image

from annotator.explain.crops import crop_explainer_of, explain_crops
from annotator.explain.picture import explain, explainer_of
from annotator.models import bundle
from annotator.models.backbones import build_network


@pytest.fixture(scope="module")
def explaining(builtin_model):
    return explainer_of(builtin_model)


def share_inside(mask, box):
    x0, y0, x1, y1 = np.round(box).astype(int)
    return mask[y0:y1, x0:x1].sum() / mask.sum()


def test_the_class_is_that_of_the_best_detection_and_shows_where_it_is(builtin_model, explaining, gallery):
    with Image.open(gallery / "harp_in_oil.png") as picture:
        image = np.asarray(picture.convert("RGB").resize((500, 500)))
    found = explain(builtin_model, explaining, image)
    assert builtin_model.labels[found.label].name == "Harp"
    assert found.label == found.detections.labels[0]
    assert found.score == found.detections.scores[0]
    for mask in (found.visual_backprop, found.class_mask):
        assert mask.shape == (500, 500)
        assert mask.dtype == np.float32
        assert (mask.min(), mask.max()) == (0, 1)
    assert share_inside(found.class_mask, found.detections.boxes[0]) > 0.8
    assert not np.array_equal(found.visual_backprop, found.class_mask)


@pytest.mark.parametrize("size", [(1, 1), (40, 300), (300, 20)])
def test_a_picture_of_nothing_has_a_likeliest_instrument(builtin_model, explaining, size):
    image = np.full((*size, 3), 127, np.uint8)
    found = explain(builtin_model, explaining, image)
    assert not len(found.detections)
    assert 0 <= found.score < builtin_model.threshold
    assert found.visual_backprop.shape == found.class_mask.shape == size
    assert np.isfinite(found.class_mask).all()


def test_a_model_with_a_box_head_is_explained_too(builtin_model):
    keras.utils.set_random_seed(0)
    network = build_network("efficientnet-lite0", len(builtin_model.configuration.class_labels), boxes=True)
    configuration = dataclasses.replace(builtin_model.configuration, box_score=(1.0, 1.0, 0.0))
    model = bundle.Model(configuration, network, "")
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    found = explain(model, explainer_of(model), image)
    assert found.visual_backprop.shape == found.class_mask.shape == (64, 64)
    crops = explain_crops(model, crop_explainer_of(model), image, np.array([[0, 0, 32, 32.0]]), np.array([0]))
    assert crops.class_masks.max() == 1
