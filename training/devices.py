"""What depends on the backend and the machine: determinism, several GPUs, half precision."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from annotator.errors import AnnotatorError, ExitCode

TENSOR_CORES = (7, 0)  # NVIDIA's compute capability from which GPUs have them


def prepare(seed: int) -> None:
    """Seed everything random and, on TensorFlow, ask for operations that give the same bits each time."""
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def graphics_cards() -> tuple[str, ...]:
    """The GPUs that Keras can compute on."""
    return tuple(keras.distribution.list_devices("gpu"))


def fitting_precision() -> str:
    """The policy in which layers compute while they learn: half precision where every GPU has tensor cores."""
    if not graphics_cards() or keras.backend.backend() != "tensorflow":
        return "float32"
    import tensorflow as tf

    cards = [tf.config.experimental.get_device_details(card) for card in tf.config.list_physical_devices("GPU")]
    return (
        "mixed_float16" if all(card.get("compute_capability", (0, 0)) >= TENSOR_CORES for card in cards) else "float32"
    )


@contextlib.contextmanager
def training_copy(
    network: keras.Model, cards: Sequence[str] | None = None, precision: str | None = None
) -> Iterator[keras.Model]:
    """A copy of a network, to be compiled and trained in the context, at whose end the network gets its weights.

    With several GPUs each batch is shared between them, and their gradients are averaged. In half precision the layers
    compute in 16 bits and weights stay float32; gradients of float16 are scaled against underflow (Micikevicius et al.
    2018). The network itself is neither shared nor halved: it looks at single pictures as before.

    Args:
        network: functional; may share layers with others.
        cards: what shares the batches, as Keras lists devices; None for all GPUs of this machine. On backends other
            than TensorFlow there is no sharing.
        precision: a policy of Keras, "float32", "mixed_float16" or "mixed_bfloat16"; None for `fitting_precision`.
    """
    cards = graphics_cards() if cards is None else cards
    policy = keras.dtype_policies.get(precision or fitting_precision())
    if cards:
        print(f"Training on {', '.join(cards)} in {policy.name}.", flush=True)

    def copied(layer: Any) -> Any:
        configuration = layer.get_config()
        if isinstance(layer, keras.layers.Layer):
            configuration["dtype"] = policy
        return type(layer).from_config(configuration)

    before = keras.config.dtype_policy()
    with _sharing(cards):
        keras.config.set_dtype_policy(policy)  # the model's own, by which Keras scales gradients
        try:
            copy = keras.models.clone_model(network, clone_function=copied)
        finally:
            keras.config.set_dtype_policy(before)
        copy.set_weights(network.get_weights())
        yield copy
    network.set_weights(copy.get_weights())


def _sharing(cards: Sequence[str]) -> contextlib.AbstractContextManager[object]:
    if len(cards) < 2 or keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(cards).scope()


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
