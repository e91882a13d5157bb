import keras
import numpy as np
import pytest
from keras import layers

from annotator.explain.maps import RECTIFIED_MAPS, RectifiedMap, Step
from annotator.explain.visual_backprop import explainer, spread
from annotator.models import efficientnet_lite0
from annotator.models.backbones import BACKBONES, build_network

PIXELS = np.random.default_rng(0).integers(0, 255, (2, 64, 96, 3), np.uint8)


def test_hand_computed():
    """Three convolutions, worked out on paper."""
    picture = np.zeros((1, 4, 4, 1), np.float32)
    picture[0, 0, 0], picture[0, 2, 3] = 4, 2
    inputs = keras.Input((4, 4, 1))
    first = layers.Conv2D(2, 2, 2, activation="relu", use_bias=False, name="first")
    second = layers.Conv2D(1, 1, activation="relu", use_bias=False, name="second")
    third = layers.Conv2D(1, 3, padding="same", activation="relu", use_bias=False, name="third")
    network = keras.Model(inputs, third(second(first(inputs))))
    first.set_weights([np.stack([np.ones((2, 2, 1)), 3 * np.ones((2, 2, 1))], axis=-1)])
    second.set_weights([np.array([1.0, 0.0]).reshape(1, 1, 2, 1)])
    third.set_weights([np.array([[0, 0, 0], [0, 1, 0], [0, 0, 1]], float).reshape(3, 3, 1, 1)])
    # The third map is [[4 + 2, 0], [0, 2]]; spread over 3 x 3 it is 8 everywhere, times the second [[4, 0], [0, 2]]
    # gives [[32, 0], [0, 16]], times the mean of the first [[8, 0], [0, 4]] gives [[256, 0], [0, 64]], and each cell of
    # that saw 2 x 2 pixels.
    maps = [
        RectifiedMap("first", (Step(2, 2, 0),)),
        RectifiedMap("second", (Step(1, 1, 0),)),
        RectifiedMap("third", (Step(3, 1, 1),)),
    ]
    expected = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0.25, 0.25], [0, 0, 0.25, 0.25]]
    np.testing.assert_allclose(explainer(network, maps).predict_on_batch(picture)[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [(3, 1, "same"), (3, 2, "same"), (5, 1, "same"), (5, 2, "same"), (2, 2, "valid"), (3, 2, 1), (7, 2, 3), (1, 1, 0)],
)
def test_spreading_is_the_transpose_of_the_convolution(random, kernel, stride, padding):
    """<convolved, y> = <x, spread(y)> for all x and y: so every cell goes back to exactly what it saw."""
    x = random.normal(size=(2, 8, 12, 1)).astype(np.float32)
    y = random.normal(size=(2, 8 // stride, 12 // stride, 1)).astype(np.float32)
    inputs = keras.Input((8, 12, 1))
    padded = layers.ZeroPadding2D(padding)(inputs) if isinstance(padding, int) else inputs
    convolution = layers.Conv2D(
        1, kernel, stride, padding=padding if isinstance(padding, str) else "valid",
        kernel_initializer="ones", use_bias=False,
    )  # fmt: skip
    convolved = keras.Model(inputs, convolution(padded)).predict_on_batch(x)[:, : y.shape[1], : y.shape[2]]
    before = padding if isinstance(padding, int) else (kernel - stride) // 2
    back = np.asarray(spread(keras.ops.convert_to_tensor(y), Step(kernel, stride, before)))
    assert back.shape == x.shape
    np.testing.assert_allclose((convolved * y).sum(), (x * back).sum(), rtol=1e-3)


def slow_spread(values, kernel, stride, before):
    """The transposed convolution of ones, cell by cell: (h, w) to (h * stride, w * stride)."""
    out = np.zeros((values.shape[0] * stride, values.shape[1] * stride))
    for row, column in np.ndindex(values.shape):
        top, left = row * stride - before, column * stride - before
        out[max(top, 0) : top + kernel, max(left, 0) : left + kernel] += values[row, column]
    return out


def same(layer):
    """Kernel, stride and padding of a Keras layer whose padding is "same" or that needs none, by TensorFlow's rule."""
    size = layer.pool_size if isinstance(layer, layers.MaxPooling2D) else layer.kernel_size
    return size[0], layer.strides[0], (size[0] - layer.strides[0]) // 2


def layers_of(network):
    """What the maps are and how they were made, read from the network itself: (layer, steps) from the shallowest."""
    found, steps = [], []
    if network.name == "resnet50":
        found.append((network.get_layer("conv1_relu"), [(7, 2, network.get_layer("conv1_pad").padding[0][0])]))
        pooling = network.get_layer("pool1_pool")
        steps.append((pooling.pool_size[0], pooling.strides[0], network.get_layer("pool1_pad").padding[0][0]))
        for layer in network.layers:
            if isinstance(layer, layers.Add):
                block = layer.name.removesuffix("_add")
                convolutions = [network.get_layer(f"{block}_{number}_conv") for number in (1, 2, 3)]
                stride = np.prod([convolution.strides[0] for convolution in convolutions])
                kernel = max(convolution.kernel_size[0] for convolution in convolutions)
                found.append((network.get_layer(f"{block}_out"), [*steps, (kernel, stride, 1)]))
                steps = []
        return found
    for layer in network.layers:
        if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D | layers.MaxPooling2D):
            if isinstance(layer, layers.MaxPooling2D) or layer.kernel_size[0] > 1:
                steps.append(same(layer))
            if getattr(layer, "activation", None) is keras.activations.relu:  # VGG
                found.append((layer, steps))
                steps = []
        elif isinstance(layer, layers.ReLU) and (steps or layer.name == "relu1"):  # EfficientNet-Lite0
            found.append((layer, steps))
            steps = []
    return found


def slow_mask(maps, means):
    """From what `layers_of` gives and the mean of each of these maps."""
    relevance = means[-1]
    for number in range(len(maps) - 1, -1, -1):
        for step in reversed(maps[number][1]):
            relevance = slow_spread(relevance, *step)
        if number:
            relevance = relevance * means[number - 1]
    return (relevance - relevance.min()) / (relevance.max() - relevance.min())


@pytest.fixture(scope="module", params=BACKBONES)
def network(request):
    keras.utils.set_random_seed(0)
    return build_network(request.param, classes=2)


@pytest.fixture(scope="module")
def explaining(network):
    return explainer(network, RECTIFIED_MAPS[network.name.replace("_", "-")])


@pytest.fixture(scope="module")
def masks(explaining):
    return explaining.predict_on_batch(PIXELS)


def test_equal_to_the_slow_version(network, masks):
    maps = layers_of(network)
    outputs = keras.Model(network.input, [layer.output for layer, _ in maps]).predict_on_batch(PIXELS)
    means = [output.astype(np.float64).mean(axis=-1) for output in outputs]
    for number, mask in enumerate(masks):
        np.testing.assert_allclose(mask, slow_mask(maps, [mean[number] for mean in means]), atol=2e-5)


def test_masks_are_shares_of_one_at_the_size_of_the_picture(masks):
    assert masks.shape == PIXELS.shape[:3]
    assert masks.dtype == np.float32
    np.testing.assert_array_equal(masks.min(axis=(1, 2)), 0)
    np.testing.assert_array_equal(masks.max(axis=(1, 2)), 1)


def test_a_picture_is_explained_the_same_alone_and_among_others(explaining, masks):
    alone = explaining.predict_on_batch(PIXELS[1:2])
    np.testing.assert_allclose(alone[0], masks[1], atol=1e-5)


def test_the_maps_used():
    names = {backbone: [item.layer for item in maps] for backbone, maps in RECTIFIED_MAPS.items()}
    assert names.keys() == BACKBONES.keys()
    assert names["vgg19"] == [
        f"block{block}_conv{number}" for block in range(1, 6) for number in range(1, 3 if block < 3 else 5)
    ]
    assert len(names["vgg19"]) == 16
    assert names["resnet50"] == [
        "conv1_relu",
        *(f"conv{stage}_block{block}_out" for stage, blocks in zip((2, 3, 4, 5), (3, 4, 6, 3), strict=True)
          for block in range(1, blocks + 1)),
    ]  # fmt: skip
    assert len(names["resnet50"]) == 1 + 16
    assert names["efficientnet-lite0"] == ["relu0", *(f"blocks_{block}_relu1" for block in range(16)), "relu1"]


def test_a_network_that_sees_one_corner_only_looks_there():
    corner = np.zeros((1, 96, 96, 1), np.float32)
    corner[:, :32, 64:] = 1
    inputs = keras.Input((96, 96, 3))
    network = keras.Model(inputs, efficientnet_lite0.build(inputs * corner))
    picture = np.random.default_rng(0).normal(size=(1, 96, 96, 3)).astype(np.float32)
    (mask,) = explainer(network, RECTIFIED_MAPS["efficientnet-lite0"]).predict_on_batch(picture)
    assert mask.max() == 1
    reached = np.zeros_like(mask, bool)
    reached[: 32 + 2, 64 - 2 :] = True  # the first convolution sees 3 x 3 pixels
    assert (mask[~reached] == 0).all()


def test_where_nothing_speaks_nothing_is_shown():
    inputs = keras.Input((32, 32, 3))
    network = keras.Model(inputs, layers.Conv2D(4, 3, padding="same", activation="relu", name="only")(inputs))
    (mask,) = explainer(network, [RectifiedMap("only", (Step(3, 1, 1),))]).predict_on_batch(np.zeros((1, 32, 32, 3)))
    np.testing.assert_array_equal(mask, 0)
