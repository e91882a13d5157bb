import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image
from scipy.special import logsumexp

from annotator.explain.class_activation import class_activation, class_explainer, sharpened
from annotator.explain.maps import RECTIFIED_MAPS, RectifiedMap, Step
from annotator.explain.visual_backprop import explainer
from annotator.models.backbones import BACKBONES, build_network

PIXELS = np.random.default_rng(0).integers(0, 255, (2, 64, 96, 3), np.uint8)
OWN = np.array([[1, 1, 0, 0], [0, 0, 1, 0]], np.float32)


def test_activation_by_hand():
    logits = np.log([[[[1.0, 2.0, 4.0, 4.0]]]] * 2)
    found = np.asarray(class_activation(logits, OWN))
    mean = np.log(32) / 4
    np.testing.assert_allclose(found[:, 0, 0, 0], [np.log(3) - mean, np.log(4) - mean], rtol=1e-6)


def test_sharpening_by_hand():
    activation = np.array([[0, 0, 0], [0, 4, 8]], float).reshape(1, 2, 3, 1)  # above the mean: 2 and 6
    mask = np.array([[[1, 1, 1], [1, 1, 0.5]]])
    np.testing.assert_allclose(sharpened(activation, mask), [[[0, 0, 0], [0, 2 / 3**4, 1]]], rtol=1e-6)
    np.testing.assert_allclose(sharpened(7 * activation - 2, mask), sharpened(activation, mask), atol=1e-6)
    np.testing.assert_array_equal(sharpened(np.ones_like(activation), mask), 0)


def random_network(backbone):
    """Without training, deep networks say next to nothing; the head here speaks up."""
    keras.utils.set_random_seed(0)
    network = build_network(backbone, classes=4)
    head = network.get_layer("head")
    kernel, bias = head.get_weights()
    head.set_weights([kernel * 3 / network.predict_on_batch(PIXELS).std(), bias])
    return network


@pytest.mark.parametrize("backbone", BACKBONES)
def test_equal_to_the_slow_version(backbone):
    network = random_network(backbone)
    masks, found = class_explainer(network, RECTIFIED_MAPS[backbone]).predict_on_batch([PIXELS, OWN])
    np.testing.assert_allclose(masks, explainer(network, RECTIFIED_MAPS[backbone]).predict_on_batch(PIXELS), atol=1e-5)
    for logits, own, mask, one in zip(network.predict_on_batch(PIXELS), OWN, masks, found, strict=True):
        cells = logsumexp(logits[..., own > 0], axis=-1) - logits.mean(axis=-1)
        fine = np.asarray(Image.fromarray(cells).resize((96, 64), Image.Resampling.BILINEAR))
        expected = np.maximum((fine - fine.mean()) / (fine.max() - fine.mean()), 0) ** 4 * mask
        np.testing.assert_allclose(one, expected / expected.max(), atol=1e-4)
        assert (one.min(), one.max()) == (0, 1)


def test_each_class_has_its_own_mask_and_visual_backprop_has_one():
    """Two patches that the features answer to alike; one speaks for the first class, the other for the second."""
    inputs = keras.Input((64, 64, 2))
    features = layers.Conv2D(2, 32, 32, activation="relu", use_bias=False, name="only")
    head = layers.Dense(2, use_bias=False, name="head")
    network = keras.Model(inputs, head(features(inputs)))
    kernel = np.zeros((32, 32, 2, 2), np.float32)
    kernel[..., 0, 0] = kernel[..., 1, 1] = 1
    features.set_weights([kernel])
    head.set_weights([np.eye(2, dtype=np.float32)])
    picture = np.zeros((2, 64, 64, 2), np.float32)
    picture[:, :32, :32, 0] = picture[:, 32:, 32:, 1] = 1
    explaining = class_explainer(network, [RectifiedMap("only", (Step(32, 32, 0),))])
    masks, found = explaining.predict_on_batch([picture, np.eye(2, dtype=np.float32)])
    np.testing.assert_array_equal(masks[0], masks[1])
    corners = masks[0][[0, 0, 63, 63], [0, 63, 0, 63]]
    np.testing.assert_array_equal(corners, [1, 0, 0, 1])
    np.testing.assert_array_equal(found[:, 0, 0], [1, 0])
    np.testing.assert_array_equal(found[:, 63, 63], [0, 1])


def test_a_picture_is_explained_the_same_alone_and_among_others():
    explaining = class_explainer(random_network("efficientnet-lite0"), RECTIFIED_MAPS["efficientnet-lite0"])
    together = explaining.predict_on_batch([PIXELS, OWN])
    alone = explaining.predict_on_batch([PIXELS[1:], OWN[1:]])
    for one, both in zip(alone, together, strict=True):
        np.testing.assert_allclose(one[0], both[1], atol=1e-4)
