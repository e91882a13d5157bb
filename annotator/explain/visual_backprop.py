"""VisualBackProp (Bojarski et al. 2018, "VisualBackProp: efficient visualization of CNNs for autonomous driving").

Deep maps know what matters but not where exactly, shallow ones the reverse. So the mean over the channels of the
deepest map is spread back over what each of its cells saw, by a transposed convolution of ones, multiplied with the
mean of the map before, and so on down to the picture. It shows what the network's features answer to, whatever the
class: the mask is the same for "violin" and "lute".
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops

from annotator.explain.maps import RectifiedMap, Step

SMALLEST = 1e-30  # what a map that is zero everywhere is divided by


def spread(values: keras.KerasTensor, step: Step) -> keras.KerasTensor:
    """What each cell holds, added to all the cells that it saw: a transposed convolution of ones.

    Args:
        values: (n, h, w, 1).
        step: how they were made from the map before.

    Returns:
        (n, h * stride, w * stride, 1).
    """
    kernel, stride, before = step
    if kernel == stride == 1:
        return values
    # The layer, because ops.conv_transpose of Keras 3.15 cannot become part of a network: it loses its padding.
    ones = keras.layers.Conv2DTranspose(1, kernel, stride, use_bias=False, kernel_initializer="ones", trainable=False)
    full = ones(values)
    kept = slice(before, before - (kernel - stride) or None)
    return full[:, kept, kept]


def _relative(values: keras.KerasTensor) -> keras.KerasTensor:
    """Divided by each picture's largest value: products of many maps would leave what float32 can hold."""
    return values / ops.maximum(ops.max(values, axis=(1, 2, 3), keepdims=True), SMALLEST)


def back_to_picture(
    deepest: keras.KerasTensor, means: Sequence[keras.KerasTensor], steps: Sequence[Sequence[Step]]
) -> keras.KerasTensor:
    """From a map on the deepest layer down to the picture.

    Args:
        deepest: (n, h, w, 1), not negative.
        means: the means over the channels of the maps before it, each (n, h_i, w_i, 1), shallowest first.
        steps: how each of these and the deepest was made from the one before, the first from the picture.

    Returns:
        (n, height, width) of the picture, in [0, 1]: the least value of each picture is 0 and the largest 1; all 0
        where nothing stands out.
    """
    relevance = _relative(deepest)
    for number in range(len(means), -1, -1):
        for step in reversed(steps[number]):
            relevance = spread(relevance, step)
        if number:
            relevance = _relative(relevance * _relative(means[number - 1]))
    relevance = relevance[..., 0]
    least, largest = (extreme(relevance, axis=(1, 2), keepdims=True) for extreme in (ops.min, ops.max))
    return (relevance - least) / ops.maximum(largest - least, SMALLEST)


def channel_means(network: keras.Model, maps: Sequence[RectifiedMap]) -> list[keras.KerasTensor]:
    """The mean over the channels of each of these layers' outputs, (n, h, w, 1) float32."""
    outputs = (ops.cast(network.get_layer(item.layer).output, "float32") for item in maps)
    return [ops.mean(output, axis=-1, keepdims=True) for output in outputs]


def explainer(network: keras.Model, maps: Sequence[RectifiedMap]) -> keras.Model:
    """A network that tells where the given one looks: one forward pass, then VisualBackProp, compiled together.

    Args:
        network: takes pictures (n, height, width, 3), whose sides all strides divide.
        maps: its rectified layers, shallowest first, see `annotator.explain.maps.RECTIFIED_MAPS`.

    Returns:
        From the same input to masks (n, height, width) float32 in [0, 1].

    Example:
        >>> model = builtin.load()
        >>> explainer(model.network, RECTIFIED_MAPS["efficientnet-lite0"]).predict_on_batch(pixels)
    """
    *shallower, deepest = channel_means(network, maps)
    mask = back_to_picture(deepest, shallower, [item.steps for item in maps])
    return keras.Model(network.input, mask, name="visual_backprop")
