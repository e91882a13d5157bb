"""Sharing batches between devices and computing in half precision: on the processor, which stands in for GPUs."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from annotator.models.backbones import build_network
from training import devices, loop, transfer

ROOT = Path(__file__).parents[2]

CLASS_LABELS = (-1, 0, 1)


def network():
    """A small network of the form of ours, always the same."""
    keras.utils.set_random_seed(1)
    pixels = keras.Input((None, None, 3), dtype="uint8")
    tensor = keras.ops.cast(pixels, "float32") / 255
    tensor = keras.layers.Conv2D(4, 3, 4, activation="relu", name="stem")(tensor)
    tensor = keras.layers.BatchNormalization(trainable=False, name="norm")(tensor)
    return keras.Model(pixels, keras.layers.Dense(3, name="head")(tensor))


def trained(folder, **machine):
    """It after two epochs on four batches, and what it says about a picture."""
    whole = network()
    random = np.random.default_rng(0)
    pixels, targets = random.integers(0, 255, (32, 16, 16, 3), np.uint8), random.integers(-1, 2, 32)

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 4

        def __getitem__(self, number):
            own = slice(8 * number, 8 * number + 8)
            return pixels[own], targets[own]

    folder.mkdir(exist_ok=True)
    with devices.training_copy(transfer.pooled(whole, "head"), **machine) as copy:
        copy.compile(keras.optimizers.Adam(1e-2), transfer.label_loss(CLASS_LABELS), jit_compile=False)
        loop.train(copy, lambda _: Batches(), Batches(), folder, epochs=2, patience=2, seed=3)
    return whole, whole.predict_on_batch(pixels[:1])


def weights_of(model):
    return {weight.path: np.array(weight) for weight in model.weights}


def test_the_network_gets_what_its_copy_learnt(tmp_path):
    model, said = trained(tmp_path)
    assert said.shape[0] == 1
    learnt, begun = weights_of(model), weights_of(network())
    assert not np.array_equal(learnt["stem/kernel"], begun["stem/kernel"])
    np.testing.assert_array_equal(learnt["norm/moving_mean"], begun["norm/moving_mean"])


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_learns_much_the_same_and_leaves_weights_in_float32(precision, tmp_path):
    full, half = (weights_of(trained(tmp_path / name, precision=name)[0]) for name in ("float32", precision))
    assert all(values.dtype == np.float32 for values in half.values())
    assert not np.array_equal(half["head/kernel"], full["head/kernel"])  # it was computed otherwise
    for path, values in full.items():
        np.testing.assert_allclose(half[path], values, atol=0.02)
    assert keras.config.dtype_policy().name == "float32"
    losses = [line.split(",")[1] for line in (tmp_path / precision / loop.LOG).read_text().splitlines()[1:]]
    assert np.isfinite(np.array(losses, float)).all()


def test_layers_compute_in_half_precision_and_the_network_itself_does_not():
    whole = build_network("efficientnet-lite0", 3, boxes=True)
    with devices.training_copy(whole, precision="mixed_bfloat16") as copy:
        assert copy.get_layer("conv_stem").compute_dtype == "bfloat16"
        assert {weight.dtype for weight in copy.weights} == {"float32"}
    assert whole.get_layer("conv_stem").compute_dtype == "float32"


def test_two_devices_share_batches_and_learn_what_one_does(tmp_path):
    """In a process of its own, for a processor can only be made two before TensorFlow begins."""
    program = f"""
import sys
from pathlib import Path
import keras, numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from tests.training.test_devices import trained, weights_of
folder = Path({str(tmp_path)!r})
one, said = trained(folder / "one")
two, also_said = trained(folder / "two", cards=("CPU:0", "CPU:1"))
again, _ = trained(folder / "two", cards=("CPU:0", "CPU:1"))
assert also_said.shape == said.shape, also_said.shape  # a picture is looked at once, not once a device
for path, values in weights_of(one).items():
    np.testing.assert_allclose(weights_of(two)[path], values, atol=1e-4)
    np.testing.assert_array_equal(weights_of(again)[path], weights_of(two)[path])
print("same")
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert result.stdout.endswith("same\n"), result.stderr
