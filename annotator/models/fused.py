"""A network for looking, not for learning: the same answers with fewer passes over its maps."""

from __future__ import annotations

from collections import Counter

import keras
from keras import layers, ops

CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D)


class FusedConvolution(layers.Layer):
    """A convolution and the batch normalisation after it as one convolution (Jacob et al. 2018, section 3.2).

    It has the variables of both and none of its own, so it stays right when they change.
    """

    def __init__(self, convolution: layers.Layer, normalisation: layers.BatchNormalization) -> None:
        super().__init__(name=normalisation.name)
        self.convolution, self.normalisation = convolution, normalisation

    def call(self, maps: keras.KerasTensor, mask: None = None) -> keras.KerasTensor:
        """(n, h, w, any) to what the normalisation gives with its moving statistics; Keras says ``mask`` to these."""
        convolution, normalisation = self.convolution, self.normalisation
        scale = normalisation.gamma * ops.rsqrt(normalisation.moving_variance + normalisation.epsilon)
        shift = normalisation.beta - normalisation.moving_mean * scale
        if convolution.use_bias:
            shift += convolution.bias * scale
        if isinstance(convolution, layers.DepthwiseConv2D):
            convolve, kernel = ops.depthwise_conv, convolution.kernel * scale[:, None]
        else:
            convolve, kernel = ops.conv, convolution.kernel * scale
        return convolve(maps, kernel, convolution.strides, convolution.padding) + shift


def fused(network: keras.Model) -> keras.Model:
    """The network with each batch normalisation fused into the convolution before it; both share their variables.

    Args:
        network: functional; stays as it is. A normalisation that follows something else stays too.

    Returns:
        A network for inference only, whose answers differ by rounding. Ask the original for its layers.
    """
    read = [own.input for own in network.operations if not isinstance(own, layers.InputLayer)]
    uses = Counter(id(tensor) for tensor in keras.tree.flatten([read, network.outputs]))
    convolutions = {
        id(layer.output): layer
        for layer in network.layers
        if isinstance(layer, CONVOLUTIONS) and uses[id(layer.output)] == 1
    }
    pairs = {
        layer: convolutions.pop(id(layer.input))
        for layer in network.layers
        if isinstance(layer, layers.BatchNormalization) and id(layer.input) in convolutions
    }
    merged = set(pairs.values())

    def replaced(layer: layers.Layer) -> layers.Layer:
        if layer in pairs:
            return FusedConvolution(pairs[layer], layer)
        return layers.Identity(name=layer.name) if layer in merged else layer

    return keras.models.clone_model(network, clone_function=replaced)
