import keras
import numpy as np
import pytest

from annotator.models.backbones import BACKBONES, build_network
from annotator.models.fused import FusedConvolution, fused

PIXELS = np.random.default_rng(0).integers(0, 255, (2, 64, 96, 3), np.uint8)


def unsettle(network):
    """Statistics and weights of batch normalisation as after a training, not as they begin."""
    random = np.random.default_rng(1)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])


def normalisations(network):
    return [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]


@pytest.mark.parametrize("boxes", [False, True])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_answers_are_the_same_with_no_normalisation_left(backbone, boxes):
    keras.utils.set_random_seed(0)
    network = build_network(backbone, classes=3, boxes=boxes)
    unsettle(network)
    quick = fused(network)
    expected, found = (keras.tree.flatten(own.predict_on_batch(PIXELS)) for own in (network, quick))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-4 * np.abs(one).max())
    assert not normalisations(quick)
    assert sum(isinstance(layer, FusedConvolution) for layer in quick.layers) == len(normalisations(network))


def test_what_changes_in_the_network_changes_in_the_fused_one():
    network = build_network("efficientnet-lite0", classes=3)
    quick = fused(network)
    before = quick.predict_on_batch(PIXELS)
    unsettle(network)
    np.testing.assert_allclose(quick.predict_on_batch(PIXELS), network.predict_on_batch(PIXELS), rtol=1e-3, atol=1e-4)
    assert np.abs(quick.predict_on_batch(PIXELS) - before).max() > 0.01


def test_a_normalisation_that_cannot_be_fused_stays():
    pixels = keras.Input((None, None, 3))
    convolved = keras.layers.Conv2D(4, 3, padding="same")(pixels)
    twice = keras.layers.BatchNormalization()(convolved) + convolved
    rectified = keras.layers.BatchNormalization()(keras.layers.ReLU()(pixels))
    network = keras.Model(pixels, [twice, rectified])
    unsettle(network)
    quick = fused(network)
    assert len(normalisations(quick)) == 2
    for one, other in zip(network.predict_on_batch(PIXELS), quick.predict_on_batch(PIXELS), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5)


def test_an_output_before_the_normalisation_is_kept():
    pixels = keras.Input((None, None, 3))
    convolved = keras.layers.Conv2D(4, 3, padding="same")(pixels)
    network = keras.Model(pixels, [convolved, keras.layers.BatchNormalization()(convolved)])
    unsettle(network)
    for one, other in zip(network.predict_on_batch(PIXELS), fused(network).predict_on_batch(PIXELS), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5)
