import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.errors import AnnotatorError
from annotator.models.backbones import BACKBONES
from training import devices
from training.style import representation
from training.style.representation import Gram, feature_network, gram, square, style_loss, style_network, vectors

VGG_FIRST = ("block1_conv1", "block2_conv1")


def plain_gram(features):
    """G_ij = sum over places of F_ik F_jk, over N M."""
    rows, columns, channels = features.shape
    result = np.zeros((channels, channels))
    for i in range(channels):
        for j in range(channels):
            result[i, j] = sum(features[y, x, i] * features[y, x, j] for y in range(rows) for x in range(columns))
    return result / (rows * columns * channels)


def plain_loss(one, other):
    """Equation 2.2 with the squared difference, on un-normalised Gram matrices, and 2.3 with equal weights."""
    losses = []
    for own, wanted in zip(one, other, strict=True):
        channels, places = own.shape[2], own.shape[0] * own.shape[1]
        difference = (plain_gram(own) - plain_gram(wanted)) * channels * places
        losses.append((difference**2).sum() / (4 * channels**2 * places**2))
    return np.mean(losses)


def maps(random):
    return [random.normal(size=(4, 3, 5)).astype(np.float32), random.normal(size=(2, 2, 7)).astype(np.float32)]


def test_equals_the_plain_version(random):
    one, other = maps(random), maps(random)
    grams = [[np.asarray(gram(own[None])) for own in picture] for picture in (one, other)]
    np.testing.assert_allclose(grams[0][0][0], plain_gram(one[0]), rtol=1e-5, atol=1e-6)
    loss = float(np.asarray(style_loss(*grams))[0])
    assert loss == pytest.approx(plain_loss(one, other), rel=1e-5)
    distance = np.linalg.norm(vectors(grams[0]) - vectors(grams[1]))
    assert distance**2 == pytest.approx(loss, rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_places_do_not_matter_and_channels_do(seed):
    random = np.random.default_rng(seed)
    features = random.normal(size=(1, 4, 4, 6)).astype(np.float32)
    own = np.asarray(gram(features))
    moved = features.reshape(16, 6)[random.permutation(16)].reshape(1, 4, 4, 6)
    assert float(np.asarray(style_loss([own], [np.asarray(gram(moved))]))[0]) < 1e-10
    assert float(np.asarray(style_loss([own], [own]))[0]) == 0
    permuted = np.asarray(gram(features[..., np.roll(np.arange(6), 1)]))
    # The square of the summed difference, in place of the sum of squares, takes these two for one style.
    assert np.sum(own - permuted) ** 2 < 1e-8
    assert float(np.asarray(style_loss([own], [permuted]))[0]) > 1e-4


def test_gradient_equals_finite_differences(random):
    network = feature_network("vgg16", "random", VGG_FIRST)
    wanted = [np.asarray(gram(own)) for own in network(random.uniform(0, 255, (1, 16, 16, 3)).astype(np.float32))]
    loss = devices.value_and_gradient(
        lambda pixels: keras.ops.sum(style_loss([gram(own) for own in network(pixels)], wanted))
    )
    start = random.uniform(0, 255, (1, 16, 16, 3)).astype(np.float32)
    value, gradient = loss(start)
    assert value > 0
    for _ in range(5):
        direction = random.normal(size=start.shape).astype(np.float32)
        direction /= np.linalg.norm(direction)
        up, down = (loss(start + step * direction)[0] for step in (2.0, -2.0))
        assert (up - down) / 4 == pytest.approx(
            float((gradient * direction).sum()), rel=0.02, abs=1e-3 * float(value) / 255
        )


@pytest.mark.parametrize("backbone", ["vgg16", "vgg19", "efficientnet-lite0"])
def test_networks_look_through_their_own_preprocessing_and_average(backbone, random):
    network = style_network(backbone, "random")
    assert len(network.outputs) == 5
    assert not network.trainable_weights
    strides = [round(64 / own.shape[1]) for own in network(np.zeros((1, 64, 64, 3), np.float32))]
    assert strides == ([2, 2, 4, 8, 16] if backbone == "efficientnet-lite0" else [1, 2, 4, 8, 16])
    trunk = network.layers[-1]
    pooling = [layer for layer in trunk.layers if isinstance(layer, keras.layers.MaxPooling2D)]
    assert not pooling
    # Grey as the network was taught it is where its input is zero.
    grey = np.full((1, 32, 32, 3), BACKBONES[backbone].preprocessing.grey, np.float32)
    zero = trunk(np.zeros((1, 32, 32, 3), np.float32))[0]
    np.testing.assert_allclose(np.asarray(network(grey)[0]), np.asarray(zero), atol=1.0)


def test_layers_are_those_of_the_literature():
    network = feature_network("vgg19", "random", representation.STYLE_LAYERS["vgg19"])
    assert [own.shape[-1] for own in network.outputs] == [64, 128, 256, 512, 512]


def test_any_size_and_any_batch_give_one_answer(random):
    network = style_network("efficientnet-lite0", "random")
    pictures = random.integers(0, 255, (11, representation.SIDE, representation.SIDE, 3), np.uint8)
    batches = list(representation.styles_of(network, iter(pictures)))
    assert [len(own) for own in batches] == [8, 3]
    alone = next(representation.styles_of(network, iter(pictures[9:10])))
    np.testing.assert_allclose(batches[1][1], alone[0], rtol=1e-3, atol=1e-6)
    summary = keras.Model(network.input, [Gram()(own) for own in network.outputs])
    assert all(np.isfinite(own).all() for own in summary.predict_on_batch(np.zeros((1, 40, 56, 3), np.float32)))


def test_square_is_the_middle(random):
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, 10:20] = 200
    assert (square(image, 10) == 200).all()
    assert square(random.integers(0, 255, (3, 2, 3), np.uint8)).shape == (224, 224, 3)


def test_unknown_network_and_missing_weights():
    with pytest.raises(AnnotatorError, match="'alexnet'"):
        style_network("alexnet", "random")
    with pytest.raises(AnnotatorError, match=r"'nowhere\.h5' of vgg16 cannot be had"):
        style_network("vgg16", "nowhere.h5")
