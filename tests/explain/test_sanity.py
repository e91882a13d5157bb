import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from keras import layers
from PIL import Image
from scipy.stats import spearmanr

from annotator.explain import sanity
from annotator.explain.check import check, mean_of
from annotator.explain.maps import RECTIFIED_MAPS
from annotator.models.backbones import BACKBONES, build_network

whole = arrays(np.int64, 12, elements=st.integers(0, 5))


@given(whole, whole)
def test_rank_correlation_is_spearmans(one, other):
    found = sanity.rank_correlation(one.reshape(3, 4), other.reshape(3, 4))
    if np.ptp(one) and np.ptp(other):
        np.testing.assert_allclose(found, spearmanr(one, other).statistic, atol=1e-9)
    else:
        assert found == 0


def test_shuffling_keeps_what_weights_there_are_and_nothing_else(random):
    inputs = keras.Input((4, 4, 3))
    first, second = layers.Conv2D(5, 3, name="first"), layers.BatchNormalization(name="second")
    network = keras.Model(inputs, second(first(inputs)))
    before = [weight.copy() for weight in network.get_weights()]
    sanity.shuffle_weights(network, ["first"], random)
    after = network.get_weights()
    assert not np.array_equal(before[0], after[0])
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(np.sort(one, axis=None), np.sort(other, axis=None))
    for one, other in zip(before[2:], after[2:], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_cascade_takes_every_layer_once_from_the_top(backbone):
    network = build_network(backbone, classes=2)
    maps = RECTIFIED_MAPS[backbone]
    stages = sanity.cascade(network, maps)
    assert stages[0] == ("the last layer", ["head"])
    taken = [name for _, names in stages for name in names]
    assert sorted(taken) == sorted(layer.name for layer in network.layers)
    left = [item.layer for item in maps]
    for stage, names in stages[1:]:
        left = [name for name in left if name not in names]
        if "above" in stage:
            assert stage.endswith(left[-1])
    assert left == []


def test_what_is_marked_is_exchanged_first(random):
    """On a score that is linear in the pixels, no order lowers it faster than that of its own weights."""
    weights = random.random((10, 20))
    before, after = np.ones((10, 20, 3)), np.zeros((10, 20, 3))

    def score(picture):
        return float((picture[..., 0] * weights).sum() / weights.sum())

    best = sanity.exchange_curve(score, before, after, weights, random)
    falling = np.sort(weights, axis=None)[::-1]
    taken = [round(share * weights.size) for share in sanity.SHARES]
    np.testing.assert_allclose(best, [1 - falling[:count].sum() / falling.sum() for count in taken])
    others = [sanity.exchange_curve(score, before, after, random.random((10, 20)), random) for _ in range(20)]
    assert all((best <= other + 1e-9).all() for other in others)
    assert sanity.area_under(best) < min(map(sanity.area_under, others))


def test_a_mask_that_says_nothing_takes_pixels_at_random(random):
    before, after = np.zeros((40, 40, 3)), np.ones((40, 40, 3))
    left_half = sanity.exchange_curve(lambda picture: picture[:, :20].mean(), before, after, np.zeros((40, 40)), random)
    np.testing.assert_allclose(left_half, sanity.SHARES, atol=0.04)


def test_areas_by_hand():
    assert sanity.area_under(np.full(len(sanity.SHARES), 0.3)) == pytest.approx(0.3)
    assert sanity.area_under(np.array(sanity.SHARES)) == pytest.approx(0.5)


def test_share_inside_by_hand():
    mask = np.zeros((4, 6))
    mask[0, 0], mask[1, 1], mask[3, 5], mask[2, 4] = 1, 2, 3, 10
    boxes, ignored = np.array([[0, 0, 2, 2], [1, 1, 3, 3]]), np.array([[4, 2, 5, 3], [1, 1, 2, 2]])
    share, area = sanity.share_inside(mask, boxes, ignored)
    assert share == pytest.approx(3 / 6)  # the 10 is ignored; what lies in a box that counts, counts
    assert area == pytest.approx(7 / 23)


def test_noise_knows_nothing(random):
    noise = sanity.smooth_noise(100, 70, random)
    assert noise.shape == (100, 70)
    assert 0 <= noise.min() < 0.2 < 0.8 < noise.max() <= 1
    assert np.abs(np.diff(noise, axis=0)).max() < 0.1
    assert abs(sanity.rank_correlation(noise, sanity.smooth_noise(100, 70, random))) < 0.6


def test_intervals():
    assert mean_of([0.25]) == (0.25, 0.25, 0.25)
    mean, low, high = mean_of([0.0, 1.0] * 50)
    assert mean == 0.5
    assert 0.38 < low < 0.42 < 0.58 < high < 0.62


def test_maps_tell_about_the_network_and_its_score(builtin_model, gallery):
    """Adebayo's check and RISE's curves on a drawn harp, and on a picture of nothing, which does not count."""
    with Image.open(gallery / "harp_in_oil.png") as picture:
        image = np.asarray(picture.convert("RGB").resize((224, 224)))
    before = [weight.copy() for weight in builtin_model.network.get_weights()]
    done = []
    trust = check(builtin_model, [image, np.full((60, 60, 3), 99, np.uint8)], done.append)
    assert done == [1, 2]
    assert trust.pictures == 1
    for one, other in zip(before, builtin_model.network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    # The last layer has no part in VisualBackProp: its mask cannot change.
    assert trust.kept["the last layer"]["visual_backprop"][0] == pytest.approx(1)
    assert abs(trust.kept["the last layer"]["class"][0]) < 0.5
    assert trust.kept["all layers"]["visual_backprop"][0] < 0.9
    assert abs(trust.kept["all layers"]["class"][0]) < 0.5
    assert trust.deletion["class"][0] < trust.deletion["random"][0]
    assert trust.insertion["class"][0] > trust.insertion["random"][0]


def test_where_nothing_is_found_nothing_is_measured(builtin_model):
    assert check(builtin_model, [np.full((60, 60, 3), 99, np.uint8)]) is None
