"""What a picture's style is in numbers: how a network's filters answer together, wherever (Gatys et al. 2015)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import keras
import numpy as np
from keras import ops
from PIL import Image

from annotator.errors import AnnotatorError, ExitCode
from annotator.models.backbones import BACKBONES, build_network
from annotator.prefetch import prefetched
from training import transfer

SIDE = 224  # pixels of the square of a picture that is looked at
BATCH = 8  # pictures that the network looks at together
# What the style is read from: for VGG conv1_1 ... conv5_1 (Gatys et al. 2015); for EfficientNet the rectified maps that
# these convolutions read. Its linear maps and its deeper ones tell what is shown rather than how.
STYLE_LAYERS = {
    "vgg19": tuple(f"block{number}_conv1" for number in range(1, 6)),
    "vgg16": tuple(f"block{number}_conv1" for number in range(1, 6)),
    "efficientnet-lite0": tuple(f"blocks_{number}_depthwise_conv" for number in (0, 1, 3, 5, 8)),
}


def feature_network(backbone: str, weights: str, layers: Sequence[str]) -> keras.Model:
    """A frozen network that gives the feature maps of some layers, with average instead of maximum pooling.

    Averaging lets the gradient flow to every pixel, which gives smoother pictures (Gatys et al. 2015, section 2).

    Args:
        backbone: a key of `STYLE_LAYERS`.
        weights: "imagenet", "random", or the path of a weights file of keras.applications (without top).
        layers: names of layers of the backbone; that of a depthwise convolution stands for the map that it reads.

    Returns:
        From RGB pixels in 0..255, (n, h, w, 3) float, to a list of feature maps (n, rows, columns, channels). The
        network's own preprocessing is part of it.

    Raises:
        AnnotatorError: (USAGE, BAD_MODEL) there is no such backbone; the weights cannot be had or do not fit.
    """
    if backbone not in STYLE_LAYERS:
        raise AnnotatorError(f"No style network {backbone!r}; there are {', '.join(STYLE_LAYERS)}.", ExitCode.USAGE)
    whole = build_network(backbone, classes=1)
    transfer.load_weights(whole, backbone, weights)
    first = next(layer for layer in whole.layers if layer.weights)
    trunk = keras.Model(first.input, [_map(whole.get_layer(name)) for name in layers])

    def averaging(layer: keras.Layer) -> keras.Layer:
        if isinstance(layer, keras.layers.MaxPooling2D):
            return keras.layers.AveragePooling2D(layer.pool_size, layer.strides, layer.padding, name=layer.name)
        return layer

    trunk = keras.models.clone_model(trunk, clone_function=averaging)
    pixels = keras.Input((None, None, 3), name="pixels")
    network = keras.Model(pixels, trunk(BACKBONES[backbone].preprocessing(pixels)))
    network.trainable = False
    return network


def gram(features: keras.KerasTensor) -> keras.KerasTensor:
    """Gram matrices divided by their number of terms, G / (N M), so that pictures of any size compare.

    G_ij = sum over places k of F_ik F_jk (Gatys et al. 2015, equation 3), with N filters and M places.

    Args:
        features: (n, rows, columns, channels).

    Returns:
        (n, channels, channels).
    """
    count, rows, columns, channels = ops.shape(features)
    flat = ops.reshape(features, (count, rows * columns, channels))
    return ops.matmul(ops.transpose(flat, (0, 2, 1)), flat) / ops.cast(rows * columns * channels, flat.dtype)


def _map(layer: keras.Layer) -> keras.KerasTensor:
    return layer.input if isinstance(layer, keras.layers.DepthwiseConv2D) else layer.output


class Gram(keras.layers.Layer):
    """`gram` as a layer, for pictures of any size."""

    def call(self, features: keras.KerasTensor) -> keras.KerasTensor:
        """`gram`."""
        return gram(features)

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the Gram matrices of maps of a shape."""
        return shape[0], shape[3], shape[3]


def style_loss(grams: Sequence[keras.KerasTensor], wanted: Sequence[keras.KerasTensor]) -> keras.KerasTensor:
    """How far apart two styles are: the mean over layers of E = 1 / (4 N^2 M^2) sum_ij (G_ij - A_ij)^2.

    Gatys et al. 2015, equations 4 and 5, with equal weights of the layers. N and M are in `gram` already.

    Args:
        grams: of each layer, (n, channels, channels) of `gram`.
        wanted: the same of the other style.

    Returns:
        (n,) losses.
    """
    of_layers = [ops.sum(ops.square(own - other), axis=(1, 2)) / 4 for own, other in zip(grams, wanted, strict=True)]
    return sum(of_layers[1:], of_layers[0]) / len(of_layers)


def vectors(grams: Sequence[np.ndarray]) -> np.ndarray:
    """Styles as vectors whose Euclidean distance is the square root of `style_loss`.

    The square root makes it a metric. A Gram matrix is symmetric, so half of it is kept, the rest counted twice.

    Args:
        grams: of each layer, (n, channels, channels).

    Returns:
        (n, length) float32.
    """
    parts = []
    for own in grams:
        rows, columns = np.triu_indices(own.shape[1])
        scale = np.where(rows == columns, 1.0, np.sqrt(2.0)) / np.sqrt(4 * len(grams))
        parts.append((own[:, rows, columns] * scale).astype(np.float32))
    return np.concatenate(parts, axis=1)


def square(image: np.ndarray, side: int = SIDE) -> np.ndarray:
    """The middle of a picture (h, w, 3) uint8 as a square of ``side`` pixels, not stretched."""
    height, width = image.shape[:2]
    own = min(height, width)
    x, y = (width - own) / 2, (height - own) / 2
    box = (x, y, x + own, y + own)
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS, box, reducing_gap=3.0))


def styles_of(network: keras.Model, pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The styles of pictures, in batches of `vectors`.

    Args:
        network: of `feature_network`, with the layers of `STYLE_LAYERS`.
        pictures: each (SIDE, SIDE, 3) uint8; made in another thread while the network looks.
    """
    summary = keras.Model(network.input, [Gram()(output) for output in network.outputs])
    source = iter(pictures)
    batches = iter(lambda: list(islice(source, BATCH)), [])
    for batch in prefetched(batches):
        yield vectors([np.asarray(own) for own in summary.predict_on_batch(np.stack(batch).astype(np.float32))])


def style_network(backbone: str, weights: str | Path) -> keras.Model:
    """`feature_network` with the layers that a style is read from."""
    return feature_network(backbone, str(weights), STYLE_LAYERS.get(backbone, ()))
