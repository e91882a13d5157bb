"""The box head: from feature maps of three depths, for each cell, how surely an object is centred here and its box.

Sliding windows of one size over a pyramid propose; the regression of Fast R-CNN (Girshick 2015, equation 2: shift of
the centre in windows, logarithm of the size in windows) refines. The last map knows what things are, the shallower ones
where they end, so all are read, added up at the middle one's stride (Lin et al. 2017).
"""

from __future__ import annotations

import keras
from keras import layers, ops

BOX_STRIDE = 16  # pixels between neighbouring cells of the box head
WINDOW = 128  # pixels: side of the window that each cell stands for; other sizes are other levels' business
CHANNELS = 96
LARGEST = 2.5  # natural logarithm of how many windows a side may measure at the most, and its inverse at the least
RARE = -4.6  # objectness begins at one in a hundred, or the many cells without an object would drown the others


def build(fine: keras.KerasTensor, middle: keras.KerasTensor, last: keras.KerasTensor) -> keras.KerasTensor:
    """The box head on feature maps of strides 8, 16 and 32.

    Args:
        fine: (n, h/8, w/8, any).
        middle: (n, h/16, w/16, any).
        last: (n, h/32, w/32, any).

    Returns:
        (n, h/16, w/16, 5) float32: the objectness as a logit, then x0, y0, x1, y1 of the box in pixels from the middle
        of the cell.
    """

    def lateral(tensor: keras.KerasTensor, name: str, strides: int = 1) -> keras.KerasTensor:
        return layers.Conv2D(CHANNELS, 3 if strides > 1 else 1, strides, padding="same", name=name)(tensor)

    deep = layers.UpSampling2D(2, name="boxes_upsampling")(lateral(last, "boxes_last"))
    tensor = layers.Add(name="boxes_sum")([lateral(fine, "boxes_fine", 2), lateral(middle, "boxes_middle"), deep])
    for number in range(3):
        # Each cell is normalised by itself: a mean over the map would make a window's score depend on all others.
        inner = layers.ReLU(6.0)(layers.LayerNormalization(name=f"boxes_norm_{number}")(tensor))
        inner = layers.DepthwiseConv2D(5, padding="same", name=f"boxes_depthwise_{number}")(inner)
        inner = layers.Conv2D(CHANNELS, 1, name=f"boxes_pointwise_{number}")(inner)
        tensor = layers.Add(name=f"boxes_add_{number}")([tensor, inner])
    tensor = layers.ReLU(6.0)(layers.LayerNormalization(name="boxes_norm")(tensor))
    objectness = layers.Conv2D(1, 1, bias_initializer=keras.initializers.Constant(RARE), name="objectness")(tensor)
    regression = layers.Conv2D(4, 1, kernel_initializer="zeros", name="regression")(tensor)
    objectness, regression = (ops.cast(value, "float32") for value in (objectness, regression))
    middle_of_box = WINDOW * regression[..., :2]
    half = WINDOW / 2 * ops.exp(ops.clip(regression[..., 2:], -LARGEST, LARGEST))
    return ops.concatenate([objectness, middle_of_box - half, middle_of_box + half], axis=-1)
