"""The backbones a model can stand on: pixels in, feature map of stride 32 out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
from keras import ops

from annotator.errors import AnnotatorError, ExitCode
from annotator.models import box_head, efficientnet_lite0
from annotator.models.preprocessing import CAFFE, EFFICIENTNET_LITE, Preprocessing

STRIDE = 32  # pixels of the scanned picture between neighbouring cells of every backbone's last feature map


@dataclass(frozen=True)
class Backbone:
    """A fully convolutional network.

    Attributes:
        preprocessing: what its input must be.
        build: (n, h, w, 3) preprocessed input to the last feature map, (n, h/32, w/32, channels).
        shallower: names of the layers that give the feature maps of strides 8 and 16.
        load_imagenet: fill a network of `build_network` with ImageNet weights, but for its head; from a file of
            keras.applications (without top) where one is given.
    """

    preprocessing: Preprocessing
    build: Callable[[keras.KerasTensor], keras.KerasTensor]
    shallower: tuple[str, str]
    load_imagenet: Callable[[keras.Model, Path | None], None]


def _application(builder: Callable[..., keras.Model], shallower: tuple[str, str]) -> Backbone:
    def build(tensor: keras.KerasTensor) -> keras.KerasTensor:
        return builder(include_top=False, weights=None, input_tensor=tensor).output

    def load_imagenet(network: keras.Model, file: Path | None) -> None:
        source = builder(include_top=False, weights="imagenet" if file is None else None)
        if file is not None:
            source.load_weights(file)
        for layer in source.layers:
            if layer.weights:
                network.get_layer(layer.name).set_weights(layer.get_weights())

    return Backbone(CAFFE, build, shallower, load_imagenet)


def _load_lite0(network: keras.Model, file: Path | None) -> None:
    if file is not None:
        raise AnnotatorError(
            f"efficientnet-lite0 comes with its weights and takes no file such as {str(file)!r}. Leave out --weights, "
            "or name the network that the file is of.",
            ExitCode.USAGE,
        )
    efficientnet_lite0.load_imagenet_weights(network)


BACKBONES: dict[str, Backbone] = {
    "efficientnet-lite0": Backbone(
        EFFICIENTNET_LITE, efficientnet_lite0.build, efficientnet_lite0.SHALLOWER, _load_lite0
    ),
    "resnet50": _application(keras.applications.ResNet50, ("conv3_block4_out", "conv4_block6_out")),
    "vgg16": _application(keras.applications.VGG16, ("block3_pool", "block4_pool")),
    "vgg19": _application(keras.applications.VGG19, ("block3_pool", "block4_pool")),
}


def build_network(backbone: str, classes: int, *, boxes: bool = False) -> keras.Model:
    """A dense classifier with random weights: each cell of the feature map gets the logits of its surroundings.

    Averaging the logits over a window's cells gives the logits of the averaged features, because the head is linear:
    so one pass over a picture scores every window (fully convolutional network, Long et al. 2015).

    Args:
        backbone: a key of `BACKBONES`.
        classes: outputs of the linear head.
        boxes: with a box head besides.

    Returns:
        A network from RGB pixels, (n, h, w, 3) uint8 with h and w multiples of 32, to logits (n, h/32, w/32, classes);
        with a box head, to a list of these and of `box_head.build`'s output.

    Example:
        >>> build_network("efficientnet-lite0", classes=3).output_shape
        (None, None, None, 3)
    """
    if backbone not in BACKBONES:
        raise ValueError(f"unknown backbone {backbone!r}, known are {', '.join(BACKBONES)}")
    pixels = keras.Input((None, None, 3), dtype="uint8", name="pixels")
    features = BACKBONES[backbone].build(BACKBONES[backbone].preprocessing(ops.cast(pixels, keras.config.floatx())))
    logits = keras.layers.Dense(classes, name="head")(features)
    name = backbone.replace("-", "_")
    if not boxes:
        return keras.Model(pixels, logits, name=name)
    trunk = keras.Model(pixels, features)
    fine, middle = (trunk.get_layer(layer).output for layer in BACKBONES[backbone].shallower)
    return keras.Model(pixels, [logits, box_head.build(fine, middle, features)], name=name)
