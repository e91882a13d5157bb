"""What depends on the backend and the machine: determinism, several GPUs."""

from __future__ import annotations

import contextlib

import keras


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
