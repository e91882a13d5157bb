"""What depends on the backend and the machine: determinism, half precision, several GPUs."""

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


def half_precision() -> bool:
    """Switch to 16-bit computation with 32-bit weights where there is a GPU; say whether it was done."""
    if not graphics_cards():
        return False
    keras.config.set_dtype_policy("mixed_float16")
    return True


def distributed() -> contextlib.AbstractContextManager[object]:
    """A context to build and compile a model in, so that each batch is shared between all GPUs of this machine."""
    if graphics_cards() < 2 or keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.distribute.MirroredStrategy().scope()
