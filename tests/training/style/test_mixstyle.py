import keras
import numpy as np
import pytest

from annotator.models.backbones import build_network
from training.style.mixstyle import TINY, MixStyle, mixed, mixing


def test_equals_a_plain_version(random):
    features = random.normal(size=(3, 4, 5, 2)).astype(np.float32) * random.uniform(0.5, 3, (3, 1, 1, 2)) + 1
    order, kept = np.array([2, 0, 1]), np.array([0.3, 1.0, 0.0], np.float32)
    own = np.asarray(mixed(features.astype(np.float32), order, kept))
    for number, (other, share) in enumerate(zip(order, kept, strict=True)):
        for channel in range(2):
            values, others = features[number, ..., channel], features[other, ..., channel]
            spreads = [np.sqrt(one.var() + TINY) for one in (values, others)]
            means = [values.mean(), others.mean()]
            mean = share * means[0] + (1 - share) * means[1]
            spread = share * spreads[0] + (1 - share) * spreads[1]
            plain = (values - means[0]) / spreads[0] * spread + mean
            np.testing.assert_allclose(own[number, ..., channel], plain, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(own[1], features[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(own[2].mean(axis=(0, 1)), features[1].mean(axis=(0, 1)), rtol=1e-4)


def test_layer_mixes_in_training_only_and_about_half_of_the_batches(random):
    layer = MixStyle(seed=3)
    features = (random.normal(size=(8, 3, 3, 4)) * np.arange(1, 9).reshape(8, 1, 1, 1)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(layer(features)), features)
    changed = [np.abs(np.asarray(layer(features, training=True)) - features).max() > 1e-3 for _ in range(40)]
    assert 8 < sum(changed) < 32
    again = MixStyle(seed=3)
    same = [np.asarray(one(features, training=True)) for one in (again, MixStyle(seed=3))]
    np.testing.assert_array_equal(*same)


def test_plain_maps_stay_finite():
    values = np.asarray(mixed(np.zeros((2, 3, 3, 1), np.float32), np.array([1, 0]), np.array([0.5, 0.5], np.float32)))
    assert np.isfinite(values).all()


def test_network_keeps_its_weights_and_its_answers(random):
    network = build_network("efficientnet-lite0", classes=3)
    names = [layer.name for layer in network.layers if "add" in layer.name or "project" in layer.name]
    after = tuple(names[:2])
    with_mixing = mixing(network, after, seed=1)
    assert sum(isinstance(layer, MixStyle) for layer in with_mixing.layers) == 2
    pictures = random.integers(0, 255, (4, 64, 64, 3), np.uint8)
    np.testing.assert_array_equal(with_mixing.predict_on_batch(pictures), network.predict_on_batch(pictures))
    answers = [np.asarray(with_mixing(pictures, training=True)) for _ in range(8)]
    assert np.ptp(answers, axis=0).max() > 0
    assert {id(weight) for weight in network.weights} <= {id(weight) for weight in with_mixing.weights}


@pytest.mark.parametrize("size", [1, 2])
def test_small_batches(size):
    layer = MixStyle(seed=0)
    assert keras.ops.shape(layer(np.ones((size, 2, 2, 3), np.float32), training=True)) == (size, 2, 2, 3)
