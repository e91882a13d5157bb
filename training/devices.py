"""What depends on the backend and the machine: determinism, several GPUs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from annotator.errors import AnnotatorError, ExitCode


def prepare(seed: int) -> None:
    """Seed everything random and, on TensorFlow, ask for operations that give the same bits each time."""
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def graphics_cards() -> int:
    """How many GPUs Keras can compute on."""
    return len(keras.distribution.list_devices("gpu"))


def distributed() -> contextlib.AbstractContextManager[object]:
    """A context to build and compile a model in, so that each batch is shared between all GPUs of this machine."""
    if graphics_cards() < 2 or keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.distribute.MirroredStrategy().scope()


def value_and_gradient(loss: Callable[[Any], Any]) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """A compiled function that gives a loss and its gradient.

    Args:
        loss: from a tensor to a scalar or to terms (k,) that add up to it, written with `keras.ops`.

    Returns:
        From an array float32 to the loss, or its terms, and the gradient of their sum, of the array's shape.

    Raises:
        AnnotatorError: (USAGE) Keras does not run on TensorFlow: `keras.ops` has no gradients of its own.
    """
    if keras.backend.backend() != "tensorflow":
        raise AnnotatorError(
            f"Gradients are taken with TensorFlow, but Keras runs on {keras.backend.backend()}. Set "
            "KERAS_BACKEND=tensorflow.",
            ExitCode.USAGE,
        )
    import tensorflow as tf

    @tf.function
    def compiled(values: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(values)
            value = loss(values)
        return value, tape.gradient(value, values)

    def call(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, gradient = compiled(tf.constant(values, tf.float32))
        return value.numpy(), gradient.numpy()

    return call
