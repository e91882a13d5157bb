"""What a backbone wants to be fed: the one place where pixels become network input."""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import ops


@dataclass(frozen=True)
class Preprocessing:
    """(pixel - mean) / scale per channel, after an optional swap to BGR. Goes with a backbone.

    Attributes:
        mean: per channel of the network's own order, in 0..255.
        scale: per channel of the network's own order.
        channels: "RGB" or "BGR", the order that the network was trained with.
    """

    mean: tuple[float, float, float]
    scale: tuple[float, float, float]
    channels: str = "RGB"

    def __post_init__(self) -> None:
        if self.channels not in ("RGB", "BGR"):
            raise ValueError(f'channels must be "RGB" or "BGR", got {self.channels!r}')

    def __call__(self, pixels: keras.KerasTensor) -> keras.KerasTensor:
        """RGB pixels in 0..255, (n, height, width, 3), to network input of the same shape, float."""
        if self.channels == "BGR":
            pixels = ops.flip(pixels, axis=-1)
        return (pixels - ops.convert_to_tensor(self.mean)) / ops.convert_to_tensor(self.scale)

    @property
    def grey(self) -> tuple[int, int, int]:
        """The RGB pixel that becomes about zero: what a picture is padded with."""
        red, green, blue = self.mean if self.channels == "RGB" else self.mean[::-1]
        return round(red), round(green), round(blue)


EFFICIENTNET_LITE = Preprocessing(mean=(127.0, 127.0, 127.0), scale=(128.0, 128.0, 128.0))
# The statistics of ImageNet that keras.applications subtracts for the networks converted from Caffe.
CAFFE = Preprocessing(mean=(103.939, 116.779, 123.68), scale=(1.0, 1.0, 1.0), channels="BGR")
