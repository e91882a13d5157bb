import csv

import keras
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
from keras import ops
from PIL import Image
from scipy.special import softmax

from annotator.errors import AnnotatorError, ExitCode
from training import adversarial, devices, loop
from training.adversarial import (
    FallingRate,
    Halves,
    adversarial_network,
    check_apart,
    conditional_map,
    criterion,
    pairs_of,
    reversal_strength,
    scaled_gradient,
)
from training.datasets import Picture
from training.devices import value_and_gradient
from training.splits import fingerprint
from training.transfer import label_loss

SHAPE, FEATURES, CLASSES = (6,), 8, 3


def parts():
    """An extractor and a label head, the same each time."""
    devices.prepare(3)
    values = keras.Input(SHAPE)
    extractor = keras.Model(values, keras.layers.Dense(FEATURES, activation="tanh", name="features")(values))
    features = keras.Input((FEATURES,))
    return extractor, keras.Model(features, keras.layers.Dense(CLASSES)(features))


def cross_entropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(scope="module")
def samples():
    """Three classes about three points; in the target all are shifted. There are 40 and 50 of them."""
    random = np.random.default_rng(0)
    middles = 2 * random.normal(size=(CLASSES, *SHAPE))
    labels = np.arange(40) % CLASSES
    source = (middles[labels] + random.normal(size=(40, *SHAPE))).astype(np.float32)
    target = (middles[np.arange(50) % CLASSES] + 1.5 + random.normal(size=(50, *SHAPE))).astype(np.float32)
    return source, labels, random.uniform(0.5, 2, 40).astype(np.float32), target


def trained(variant, samples, folder, epochs=4, strength=1.0):
    extractor, head = parts()
    network = adversarial_network(extractor, head, variant, (5,), seed=0)
    source, labels, weights, target = samples
    folder.mkdir(exist_ok=True)
    adversarial.train(
        network,
        cross_entropy(),
        (source[:32], labels[:32], weights[:32]),
        target[:40],
        (source[32:], labels[32:]),
        target[40:],
        folder,
        rate=0.05,
        epochs=epochs,
        half=8,
        seed=1,
        strength=strength,
    )
    return extractor, head, network


@pytest.mark.parametrize("factor", [-1.0, -0.25, 0.0, 0.1, 1.0])
def test_the_value_stays_and_the_gradient_is_scaled(factor, random):
    values = random.normal(size=(4, 3)).astype(np.float32)
    slopes = random.normal(size=(4, 3)).astype(np.float32)
    value, gradient = value_and_gradient(lambda tensor: ops.sum(slopes * scaled_gradient(tensor, factor) ** 2))(values)
    assert value == pytest.approx((slopes * values**2).sum(), rel=1e-5)
    np.testing.assert_allclose(gradient, factor * 2 * slopes * values, rtol=1e-5)
    np.testing.assert_array_equal(ops.convert_to_numpy(scaled_gradient(values, factor)), values)


def test_lambda_rises_from_nothing_to_one():
    progress = np.linspace(0, 1, 101)
    strengths = reversal_strength(progress)
    assert strengths[0] == 0
    assert strengths[-1] == pytest.approx(1, abs=1e-4)
    assert (np.diff(strengths) > 0).all()
    assert strengths[50] == pytest.approx(2 / (1 + np.exp(-5)) - 1)


def test_the_rate_falls_as_in_the_paper():
    schedule = FallingRate(0.01, 200)
    by_hand = [0.01, 0.01 / 6**0.75, 0.01 / 11**0.75]
    assert [float(schedule(step)) for step in (0, 100, 200)] == pytest.approx(by_hand)


@pytest.mark.parametrize("variant", adversarial.VARIANTS)
def test_every_answer_that_a_weight_gives_comes_before_its_gradient(samples, variant):
    """Else the step may change the weight before it has answered: one training in ten came out different."""
    network = adversarial_network(*parts(), variant, (5,), seed=0)
    adversarial.compile_network(network, label_loss((-1, 0, 1)), 1.0, 10)
    source, labels, weights, target = samples
    pairs = np.stack([np.arange(8), np.arange(8)], axis=1)
    values, wanted, shares = Halves(source, labels - 1, weights, target, pairs, np.array([0.5]), 8)[0]

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            loss = network.compute_loss(values, wanted, network(values), shares)
        return tape.gradient(loss, network.trainable_variables)

    function = gradients.get_concrete_function()
    inside = {id(outside): tensor for outside, tensor in function.graph.captures}
    for weight, gradient in zip(network.trainable_variables, function.outputs, strict=True):
        before, ahead = set(), [gradient.op]
        while ahead:
            operation = ahead.pop()
            if operation not in before:
                before.add(operation)
                ahead += [tensor.op for tensor in operation.inputs]
        users = {user for read in inside[id(weight.value.handle)].consumers() for user in read.outputs[0].consumers()}
        forward = {user for user in users if not user.name.startswith("gradient_tape/")}
        assert forward
        assert forward <= before, weight.path


def domain_gradients(strength, samples, variant="dann"):
    """The gradient of the domain loss for each weight, as an optimiser with rate 1 would subtract it; by name."""
    extractor, head = parts()
    network = adversarial_network(extractor, head, variant, (5,), seed=0)
    network.compile(
        keras.optimizers.SGD(1.0),
        {"label": cross_entropy(), "domain": keras.losses.BinaryCrossentropy(from_logits=True)},
        {"label": 0.0, "domain": 1.0},
    )
    source, labels, weights, target = samples
    pairs = np.stack([np.arange(8), np.arange(8)], axis=1)
    before = [np.array(weight) for weight in network.trainable_weights]
    network.train_on_batch(*Halves(source, labels, weights, target, pairs, np.array([strength]), 8)[0])
    names = [weight.path for weight in network.trainable_weights]
    own = {weight.path for weight in extractor.weights}, {weight.path for weight in head.weights}
    after = [np.array(weight) for weight in network.trainable_weights]
    changes = [old - new for old, new in zip(before, after, strict=True)]
    return {
        kind: [change for name, change in zip(names, changes, strict=True) if belongs(name)]
        for kind, belongs in {
            "features": lambda name: name in own[0],
            "label head": lambda name: name in own[1],
            "domain head": lambda name: name not in own[0] | own[1],
        }.items()
    }


@pytest.mark.parametrize("variant", adversarial.VARIANTS)
def test_only_the_gradient_of_the_features_is_reversed_and_scaled(samples, variant):
    plain = domain_gradients(-1.0, samples, variant)  # lambda of -1 reverses twice: the gradient as it is
    assert all(np.abs(gradient).max() > 1e-4 for gradient in plain["features"] + plain["domain head"][:-1])
    for strength in (0.0, 0.3):
        found = domain_gradients(strength, samples, variant)
        for own, other in zip(plain["features"], found["features"], strict=True):
            np.testing.assert_allclose(other, -strength * own, atol=1e-6)
        for own, other in zip(plain["domain head"], found["domain head"], strict=True):
            np.testing.assert_allclose(other, own, atol=1e-7)
        assert not any(gradient.any() for gradient in found["label head"])


def test_the_domain_gradient_is_that_of_the_mean_over_both_halves(samples):
    """Against finite differences of a loss written in NumPy: neither summed over the batch nor over the halves."""
    extractor, head = parts()
    network = adversarial_network(extractor, head, "dann", (), seed=0)
    (kernel,) = [np.array(weight) for weight in network.weights if weight.shape == (FEATURES, 1)]
    weight, bias = (np.array(value, np.float64) for value in extractor.get_weights())
    source, target = samples[0][:8], samples[3][:8]

    def loss(first):
        logits = [np.tanh(values @ first + bias) @ kernel for values in (source, target)]
        return (np.log1p(np.exp(logits[0])).mean() + np.log1p(np.exp(-logits[1])).mean()) / 2

    step = 1e-5
    numeric = np.zeros_like(weight)
    for place in np.ndindex(*weight.shape):
        change = np.zeros_like(weight)
        change[place] = step
        numeric[place] = (loss(weight + change) - loss(weight - change)) / (2 * step)
    network.compile(
        keras.optimizers.SGD(1.0),
        {"label": cross_entropy(), "domain": keras.losses.BinaryCrossentropy(from_logits=True)},
        {"label": 0.0, "domain": 1.0},
    )
    pairs = np.stack([np.arange(8), np.arange(8)], axis=1)
    network.train_on_batch(*Halves(*samples, pairs, np.array([0.7]), 8)[0])
    np.testing.assert_allclose(weight - extractor.get_weights()[0], -0.7 * numeric, atol=1e-6)


def test_the_label_gradient_is_that_of_the_weighted_mean(samples):
    """A loss that gives a value for each sample must not be summed over the batch."""
    extractor, head = parts()
    network = adversarial_network(extractor, head, "dann", (5,), seed=0)
    adversarial.compile_network(network, label_loss((-1, 0, 1)), 1.0, 10)
    source, labels, weights, _ = samples
    kernel, bias = head.get_weights()
    probabilities = softmax(extractor.predict(source[:8], verbose=0) @ kernel + bias, axis=1)
    wanted = (weights[:8, None] * (probabilities - np.eye(CLASSES)[labels[:8]])).mean(axis=0)
    pairs = np.stack([np.arange(8), np.arange(8)], axis=1)
    network.train_on_batch(*Halves(source, labels - 1, weights, samples[3], pairs, np.array([0.5]), 8)[0])
    np.testing.assert_allclose(bias - head.get_weights()[1], wanted, atol=1e-6)


@pytest.mark.parametrize("variant", adversarial.VARIANTS)
def test_without_strength_it_is_plain_training_bit_for_bit(samples, tmp_path, variant):
    extractor, head, network = trained(variant, samples, tmp_path / "own", strength=0.0)
    found = last_weights(tmp_path / "own", network, (extractor, head))

    plain_extractor, plain_head = parts()
    values = keras.Input(SHAPE)
    plain = keras.Model(values, plain_head(plain_extractor(values)))
    steps = len(pairs_of(32, 40, 8, np.random.default_rng(0))) // 8
    plain.compile(keras.optimizers.SGD(FallingRate(0.05, 4 * steps), 0.9), cross_entropy(), jit_compile=False)
    source, labels, weights, _ = samples
    for epoch in range(4):
        own = pairs_of(32, 40, 8, np.random.default_rng((1, epoch)))[:, 0]
        for batch in own.reshape(-1, 8):
            plain.train_on_batch(source[batch], labels[batch], weights[batch])
    last = [*plain_extractor.get_weights(), *plain_head.get_weights()]
    first = [*parts()[0].get_weights(), *parts()[1].get_weights()]
    assert any(abs(one - other).max() > 0.01 for one, other in zip(first, last, strict=True))
    assert [value.tobytes() for value in found] == [value.tobytes() for value in last]


def last_weights(folder, network, models):
    """The weights of some models after the last epoch, which need not be the epoch that was kept."""
    state = safetensors.numpy.load_file(folder / loop.STATE)
    position = {weight.path: number for number, weight in enumerate(network.weights)}
    return [state[f"weight/{position[weight.path]}"] for model in models for weight in model.weights]


def test_it_likens_the_domains_more_than_plain_training(samples, tmp_path):
    logs = {}
    for strength in (0.0, 1.0):
        trained("dann", samples, tmp_path / str(strength), epochs=30, strength=strength)
        with (tmp_path / str(strength) / loop.LOG).open(encoding="utf-8", newline="") as file:
            logs[strength] = list(csv.DictReader(file))
    domain_loss = {strength: float(rows[-1]["val_domain_loss"]) for strength, rows in logs.items()}
    assert domain_loss[1.0] > domain_loss[0.0] + 0.1
    assert domain_loss[1.0] > 0.95 * np.log(2)
    assert float(logs[1.0][-1]["label_loss"]) < 0.1


class Fading:
    """Samples that can be read so many times, and then no more: as on a disk that is taken away."""

    def __init__(self, values, reads):
        self.values, self.reads = values, reads

    def __len__(self):
        return len(self.values)

    def __getitem__(self, chosen):
        if isinstance(chosen, slice):
            return Fading(self.values[chosen], self.reads)
        self.reads -= 1
        if self.reads < 0:
            raise OSError("taken away")
        return self.values[chosen]


@pytest.mark.parametrize("variant", adversarial.VARIANTS)
def test_a_stopped_training_goes_on_to_the_same_weights(samples, tmp_path, variant):
    whole = trained(variant, samples, tmp_path / "whole")[2].get_weights()
    with pytest.raises(Exception, match="taken away"):
        trained(variant, (Fading(samples[0], 14), *samples[1:]), tmp_path / "stopped")
    logs = [tmp_path / name / loop.LOG for name in ("whole", "stopped")]
    done = logs[1].read_text().splitlines(keepends=True)
    assert 2 <= len(done) < 5
    logs[1].write_text("".join([*done, logs[0].read_text().splitlines(keepends=True)[len(done)]]))  # logged, not kept
    again = trained(variant, samples, tmp_path / "stopped")[2].get_weights()
    assert logs[1].read_text() == logs[0].read_text()
    assert [value.tobytes() for value in again] == [value.tobytes() for value in whole]


def test_every_batch_is_half_source_half_target_and_every_sample_comes(random):
    for source, target in ((10, 25), (25, 10), (8, 8)):
        pairs = pairs_of(source, target, 4, random)
        assert len(pairs) % 4 == 0
        assert set(pairs[:, 0]) == set(range(source))
        assert set(pairs[:, 1]) == set(range(target))


def test_the_conditional_map_is_the_outer_product(random):
    features = random.normal(size=(4, 2, 5)).astype(np.float32)
    probabilities = softmax(random.normal(size=(4, 2, 3)), axis=-1).astype(np.float32)
    found = ops.convert_to_numpy(conditional_map(ops.convert_to_tensor(features), probabilities, 0))
    np.testing.assert_allclose(found, np.einsum("nsd,nsk->nsdk", features, probabilities).reshape(4, 2, 15), rtol=1e-6)


def test_a_large_conditional_map_keeps_inner_products(random):
    features = random.normal(size=(60, 1, 500)).astype(np.float32)
    probabilities = softmax(2 * random.normal(size=(60, 1, 20)), axis=-1).astype(np.float32)
    found = ops.convert_to_numpy(conditional_map(ops.convert_to_tensor(features), probabilities, 0))[:, 0]
    assert found.shape == (60, adversarial.PROJECTED)
    exact = (features[:, 0] @ features[:, 0].T) * (probabilities[:, 0] @ probabilities[:, 0].T)
    scale = np.sqrt(np.outer(exact.diagonal(), exact.diagonal()))
    error = (found @ found.T - exact) / scale
    assert np.sqrt((error**2).mean()) < 3 / np.sqrt(adversarial.PROJECTED)


def test_an_epoch_is_chosen_by_source_labels_and_confused_domains():
    apart = {"val_label_loss": 0.1, "val_domain_loss": 0.1}
    alike = {"val_label_loss": 0.1, "val_domain_loss": float(np.log(2))}
    beyond = {"val_label_loss": 0.1, "val_domain_loss": 5.0}
    assert criterion(alike) == pytest.approx(0.1)
    assert criterion(beyond) == criterion(alike)
    assert criterion(apart) == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    ("labels", "target", "message"),
    [
        (slice(None), 0, "No target pictures"),
        (slice(None), 7, "7 target pictures: adversarial training takes 8 in each batch"),
        (slice(None, None, CLASSES), 40, "have 1 class"),
    ],
)
def test_too_little_to_learn_from_is_told(samples, tmp_path, labels, target, message):
    source, names, weights = (values[labels] for values in samples[:3])
    with pytest.raises(AnnotatorError, match=message) as error:
        trained("dann", (source, names, weights, samples[3][:target]), tmp_path / "run")
    assert error.value.code == ExitCode.USAGE
    assert not any((tmp_path / "run").iterdir())


def test_source_and_target_must_be_apart(tmp_path, random):
    prints = {}
    for name in ("own.png", "other.png", "shared.png"):
        image = Image.fromarray(random.integers(0, 255, (8, 8, 3), np.uint8)).resize((64, 64))
        image.save(tmp_path / name)
        if name == "shared.png":
            image.resize((50, 50)).save(tmp_path / "copy.jpg")
    for path in sorted(tmp_path.iterdir()):
        prints[path] = fingerprint(Picture(path, path.name))
    chosen = {path.name: path for path in prints}

    def of(*names):
        return {chosen[name]: prints[chosen[name]] for name in names}

    check_apart(of("own.png", "shared.png"), of("other.png"))
    check_apart(of("own.png"), of("shared.png", "copy.jpg"))
    for double in ("shared.png", "copy.jpg"):
        with pytest.raises(AnnotatorError, match=r"Take them out") as error:
            check_apart(of("own.png", "shared.png"), of("other.png", double))
        assert error.value.code == ExitCode.USAGE
        assert all(name in str(error.value) for name in ("shared.png", double))
        assert "own.png" not in str(error.value)
