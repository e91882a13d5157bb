"""Training epoch by epoch: what is kept, what is refused. Kills are in the tests of the commands."""

import keras
import numpy as np
import pytest

from annotator.errors import AnnotatorError, ExitCode
from training import loop


def train(folder, rate, epochs, units=2):
    """A linear map that is trained on always the same four batches; and its log."""
    keras.utils.set_random_seed(1)
    random = np.random.default_rng(0)
    values = random.normal(size=(32, 3)).astype(np.float32)
    wanted = values @ random.normal(size=(3, units)).astype(np.float32)

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 4

        def __getitem__(self, number):
            own = slice(8 * number, 8 * number + 8)
            return values[own], wanted[own]

    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(units)])
    network.compile(keras.optimizers.SGD(rate), "mse")
    loop.train(network, lambda _: Batches(), Batches(), folder, epochs=epochs, patience=2, seed=3)
    return network, (folder / loop.LOG).read_text().splitlines()


def test_what_makes_it_worse_is_not_kept(tmp_path):
    keras.utils.set_random_seed(1)
    start = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).get_weights()
    network, log = train(tmp_path, 3.0, 30)
    losses = [float(line.split(",")[-1]) for line in log[1:]]
    assert len(losses) == 2  # its patience
    for one, other in zip(network.get_weights(), start, strict=True):
        np.testing.assert_array_equal(one, other)


def test_training_ends_when_development_no_longer_gains_and_keeps_its_best(tmp_path):
    network, log = train(tmp_path, 0.6, 30)  # a rate that makes the loss grow
    losses = [float(line.split(",")[-1]) for line in log[1:]]
    assert len(losses) == np.argmin(losses) + 1 + 2
    assert len(losses) < 30
    again, _ = train(tmp_path, 0.6, 30)
    for one, other in zip(network.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_loss_that_is_no_number_is_told(tmp_path):
    with pytest.raises(
        AnnotatorError, match=r"The loss is (inf|nan) after . epochs\. Start anew in another folder with another seed"
    ) as caught:
        train(tmp_path, 1e20, 9)
    assert caught.value.code is ExitCode.BAD_MODEL


def test_the_state_of_another_network_or_half_of_one_is_refused(tmp_path):
    train(tmp_path, 0.01, 1)
    with pytest.raises(
        AnnotatorError, match=r"cannot go on: weight/0 has shape \(3, 2\), wanted \(3, 5\)\. Delete the folder"
    ) as caught:
        train(tmp_path, 0.01, 2, units=5)
    assert caught.value.code is ExitCode.BAD_MODEL
    content = (tmp_path / loop.STATE).read_bytes()
    (tmp_path / loop.STATE).write_bytes(content[: len(content) // 2])
    with pytest.raises(AnnotatorError, match="cannot go on"):
        train(tmp_path, 0.01, 2)
