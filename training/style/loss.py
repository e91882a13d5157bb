"""The perceptual loss of style transfer, slow (Gatys et al. 2015) and fast (Johnson et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from training.style.representation import STYLE_LAYERS, feature_network, gram, style_loss

# What the content is read from: conv4_2 (Gatys et al. 2015); of EfficientNet a rectified map of the same stride.
CONTENT_LAYERS = {"vgg19": "block4_conv2", "vgg16": "block4_conv2", "efficientnet-lite0": "blocks_4_depthwise_conv"}
TERMS = ("content", "style", "variation")


def loss_network(backbone: str, weights: str) -> keras.Model:
    """`feature_network` with the layers of the style and, last, that of the content."""
    return feature_network(backbone, weights, (*STYLE_LAYERS.get(backbone, ()), CONTENT_LAYERS.get(backbone, "")))


def total_variation(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """Mean squared difference of neighbouring pixels (Mahendran & Vedaldi 2015, equation 5, beta = 2), of 255 squared.

    Args:
        pixels: (n, h, w, 3) in 0..255.
    """
    down = ops.mean(ops.square(pixels[:, 1:] - pixels[:, :-1]))
    right = ops.mean(ops.square(pixels[:, :, 1:] - pixels[:, :, :-1]))
    return (down + right) / 255**2


def terms_of(network: keras.Model, style: np.ndarray, weights: tuple[float, float]) -> Callable[[Any, Any], Any]:
    """The loss as a function of pixels and of the content: content, style and total variation, each with its weight.

    Content is 1/2 sum (F - P)^2 (Gatys et al. 2015, equation 1), style is `style_loss` (equations 4 and 5). So that
    weights mean the same in every network and at every size, both are relative: content to sum P^2, each layer of the
    style to the sum of squares of its wanted Gram matrix, which is a choice of the layers' weights w_l.

    Args:
        network: of `loss_network`.
        style: (h, w, 3) float32 pixels of the style, of any size.
        weights: of style and of total variation; content has 1.

    Returns:
        From pixels (n, h, w, 3) and the network's map of the content's last layer, to (3,) terms in the order of
        `TERMS`, each the mean over the n pictures.
    """
    grams = [np.asarray(gram(own)) for own in network(style[None])[:-1]]
    scales = [max(float(np.linalg.norm(own)), 1e-12) for own in grams]
    wanted = [own / scale for own, scale in zip(grams, scales, strict=True)]

    def terms(pixels: Any, kept: Any) -> Any:
        *maps, deep = network(pixels)
        own = [gram(features) / scale for features, scale in zip(maps, scales, strict=True)]
        return ops.stack(
            [
                ops.mean(relative_difference(deep, kept)) / 2,
                weights[0] * ops.mean(style_loss(own, wanted)),
                weights[1] * total_variation(pixels),
            ]
        )

    return terms


def relative_difference(own: keras.KerasTensor, wanted: keras.KerasTensor) -> keras.KerasTensor:
    """(n,) sums of squared differences of maps (n, rows, columns, channels), of the sums of squares of the wanted."""
    axes = (1, 2, 3)
    size = ops.maximum(ops.sum(ops.square(wanted), axis=axes), 1e-12)
    return ops.sum(ops.square(own - wanted), axis=axes) / size
