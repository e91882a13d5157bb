"""MixStyle (Zhou et al. 2021): inside the network, each picture takes a part of the style of another of its batch."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

STRENGTH = 0.1  # both parameters of the beta distribution: mostly nearly all or nearly nothing of the other's style
PROBABILITY = 0.5  # of a batch to be mixed
TINY = 1e-6


def mixed(features: keras.KerasTensor, order: keras.KerasTensor, kept: keras.KerasTensor) -> keras.KerasTensor:
    """Features whose mean and spread in each channel are drawn to those of another picture (equations 3 to 5).

    Args:
        features: (n, rows, columns, channels).
        order: (n,) int, which picture is the other for each.
        kept: (n,) share of its own that each keeps, 0 to 1.

    Returns:
        As the features.
    """
    mean = ops.stop_gradient(ops.mean(features, axis=(1, 2), keepdims=True))
    spread = ops.stop_gradient(ops.sqrt(ops.var(features, axis=(1, 2), keepdims=True) + TINY))
    kept = ops.reshape(kept, (-1, 1, 1, 1))
    other_mean, other_spread = (ops.take(values, order, axis=0) for values in (mean, spread))
    wanted_mean = kept * mean + (1 - kept) * other_mean
    wanted_spread = kept * spread + (1 - kept) * other_spread
    return (features - mean) / spread * wanted_spread + wanted_mean


class MixStyle(keras.layers.Layer):
    """`mixed` with a random other picture and shares from a beta distribution; only in training.

    Args:
        seed: of everything random.
    """

    def __init__(self, seed: int, **keywords: Any) -> None:
        super().__init__(**keywords)
        self.random = keras.random.SeedGenerator(seed)

    def call(self, features: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """`mixed` in half of all batches."""
        if not training:
            return features
        count = ops.shape(features)[0]
        order = keras.random.shuffle(ops.arange(count), seed=self.random)
        kept = keras.random.beta((count,), STRENGTH, STRENGTH, seed=self.random)
        mixing = keras.random.uniform((1,), seed=self.random) < PROBABILITY
        kept = ops.where(mixing, ops.cast(kept, features.dtype), 1.0)
        return mixed(features, order, kept)


def mixing(network: keras.Model, after: tuple[str, ...], seed: int) -> keras.Model:
    """The network, its weights shared, with MixStyle after some of its layers (the paper: the first blocks).

    Args:
        network: functional.
        after: names of layers.
        seed: of everything random.
    """

    def call(layer: keras.Layer, *arguments: Any, **keywords: Any) -> Any:
        output = layer(*arguments, **keywords)
        return MixStyle(seed + after.index(layer.name))(output) if layer.name in after else output

    return keras.models.clone_model(network, clone_function=lambda layer: layer, call_function=call)
