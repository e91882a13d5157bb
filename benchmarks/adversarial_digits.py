"""Domain-adversarial training where it is known to help: from black digits on white to paint on textured ground.

``python -m benchmarks.adversarial_digits --seeds 10`` or ``python benchmarks/adversarial_digits.py --seeds 10``. The
last line is JSON: accuracies on target digits that nothing was learnt from, a list with one for each seed.

Source are scikit-learn's digits, target are other digits of it, multiplied as faint paint into cuts of a photograph
whose colour is shifted at random. Four networks are trained alike: on the source, on source and unlabelled target with
DANN and with CDAN, and, as the bound, on the labelled target. The epoch is chosen by digits held back of what was
learnt from, without labels of the target but for the bound.

The last digits of scikit-learn's list are the test and nothing else. Architecture, rate and number of steps were chosen
on the other digits, with seeds from 100; all else is as in Ganin et al. 2016.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the second way to start it

import keras
import numpy as np
from scipy import ndimage, stats
from sklearn.datasets import load_digits, load_sample_image

from training import adversarial, devices, loop

SIDE = 16  # pixels of a picture, twice those of scikit-learn's digits, so that texture can be finer than strokes
TEST = 397  # digits at the end of the list
LEARNT, HELD = 550, 150  # digits of the source, and as many others of the target
COPIES = 8  # of each digit, each moved by itself and, in the target, on a ground of its own
CONTRAST = 0.5  # of the photograph
COLOURS = (0.3, 1.0)  # of the ground, for each channel by itself
PAINT = (0.4, 0.9)  # how much of the light the strokes take
FEATURES, WIDTH = 64, 100  # of the features; of the domain head, as in the paper
HALF, EPOCHS, RATE = 64, 10, 0.05

Samples = tuple[np.ndarray, np.ndarray]


def plain_digits(digits: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Black digits on white: from (n, 8, 8) in [0, 1] to (n, SIDE, SIDE, 3) in [-1, 1]."""
    return np.stack([np.repeat(1 - 2 * _moved(digit, random), 3, -1) for digit in digits]).astype(np.float32)


def painted_digits(digits: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Digits painted faintly on coloured, textured ground; shapes and range as of `plain_digits`."""
    photograph = load_sample_image("china.jpg") / 255
    result = []
    for digit in digits:
        top, left = (random.integers(0, side - SIDE) for side in photograph.shape[:2])
        ground = photograph[top : top + SIDE, left : left + SIDE]
        ground = np.clip((ground - ground.mean((0, 1))) * CONTRAST + random.uniform(*COLOURS, 3), 0, 1)
        result.append(2 * ground * (1 - random.uniform(*PAINT) * _moved(digit, random)) - 1)
    return np.stack(result).astype(np.float32)


def _moved(digit: np.ndarray, random: np.random.Generator) -> np.ndarray:
    room = 2
    large = np.pad(ndimage.zoom(digit, SIDE / len(digit), order=1), room)
    top, left = random.integers(0, 2 * room + 1, 2)
    return large[top : top + SIDE, left : left + SIDE, None]


def datasets(seed: int) -> tuple[dict[str, tuple[Samples, Samples]], Samples]:
    """By domain what is learnt from and what is held back, and the target's test, each pictures and digits."""
    loaded = load_digits()
    digits, names = loaded.images / 16, loaded.target
    random = np.random.default_rng(seed)
    order = random.permutation(len(names) - TEST)

    def drawn(draw: Callable[..., np.ndarray], chosen: np.ndarray) -> Samples:
        return draw(digits[chosen], random), names[chosen]

    domains = {}
    for number, (name, draw) in enumerate({"source": plain_digits, "target": painted_digits}.items()):
        own = order[number * (LEARNT + HELD) :][: LEARNT + HELD]
        domains[name] = (drawn(draw, np.tile(own[:LEARNT], COPIES)), drawn(draw, own[LEARNT:]))
    return domains, drawn(painted_digits, np.arange(len(names) - TEST, len(names)))


def network_parts(seed: int) -> tuple[keras.Model, keras.Model]:
    """An extractor and a label head; each picture is normalised by itself, so no statistics are shared by domains."""
    devices.prepare(seed)
    picture = keras.Input((SIDE, SIDE, 3))
    values = picture
    for filters, kernel in ((24, 5), (48, 3)):
        values = keras.layers.Conv2D(filters, kernel, 2, padding="same")(values)
        values = keras.layers.ReLU()(keras.layers.LayerNormalization()(values))
    values = keras.layers.Dense(FEATURES)(keras.layers.Flatten()(values))
    extractor = keras.Model(picture, keras.layers.ReLU()(keras.layers.LayerNormalization()(values)))
    features = keras.Input((FEATURES,))
    return extractor, keras.Model(features, keras.layers.Dense(10)(features))


def train_plainly(model: keras.Model, learnt: Samples, held: Samples, folder: Path, seed: int) -> None:
    """Train as `adversarial.train` does, on labelled pictures of one domain."""
    steps = math.ceil(len(learnt[0]) / HALF)

    def batches_of(epoch: int) -> keras.utils.PyDataset:
        order = np.random.default_rng((seed, epoch)).permutation(len(learnt[0]))
        return _Batches(learnt[0][order], learnt[1][order])

    model.compile(
        keras.optimizers.SGD(adversarial.FallingRate(RATE, EPOCHS * steps), adversarial.MOMENTUM),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    loop.train(model, batches_of, _Batches(*held), folder, epochs=EPOCHS, patience=EPOCHS, seed=seed)


class _Batches(keras.utils.PyDataset):
    def __init__(self, pictures: np.ndarray, names: np.ndarray) -> None:
        super().__init__()
        self.pictures, self.names = pictures, names

    def __len__(self) -> int:
        return math.ceil(len(self.names) / HALF)

    def __getitem__(self, number: int) -> Samples:
        part = slice(number * HALF, (number + 1) * HALF)
        return self.pictures[part], self.names[part]


def accuracy(seed: int, way: str) -> float:
    """Share of the target's test digits that are named right after training one way: a key of the result."""
    domains, (pictures, names) = datasets(seed)
    extractor, head = network_parts(seed)
    whole = keras.Model(extractor.input, head(extractor.output))
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(Path(os.devnull).open("w")):
        if way in adversarial.VARIANTS:
            learnt, held = domains["source"]
            adversarial.train(
                adversarial.adversarial_network(extractor, head, way, (WIDTH,), seed),
                keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                (*learnt, np.ones(len(learnt[0]), np.float32)),
                domains["target"][0][0],
                held,
                domains["target"][1][0],
                Path(folder),
                rate=RATE,
                epochs=EPOCHS,
                half=HALF,
                seed=seed,
            )
        else:
            learnt, held = domains["source" if way == "source_only" else "target"]
            train_plainly(whole, learnt, held, Path(folder), seed)
        found = whole.predict(pictures, verbose=0).argmax(axis=1)
    return float((found == names).mean())


WAYS = ("source_only", "dann", "cdan", "target_bound")


def _one(seed: int) -> dict[str, float]:
    found = {}
    for way in WAYS:
        start = time.perf_counter()
        found[way] = round(accuracy(seed, way), 4)
        seconds = time.perf_counter() - start
        print(f"seed {seed}: {way} {found[way]:.3f} ({seconds:.0f} s)", file=sys.stderr, flush=True)
    return found


def run(seeds: int = 10) -> dict[str, object]:
    """Accuracies, for each way a list over seeds; a process for each core, and progress on standard error."""
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    workers = min(seeds, len(os.sched_getaffinity(0)))
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(_one, range(seeds)))
    return {way: [one[way] for one in found] for way in WAYS}


def interval(values: np.ndarray) -> str:
    """Mean with its 95 % interval (Student's t)."""
    if len(values) < 2:
        return f"{values.mean():.3f}"
    half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)
    return f"{values.mean():.3f} [{values.mean() - half:.3f}, {values.mean() + half:.3f}]"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="how many: 0, 1, ... (default: 10)")
    arguments = parser.parse_args()
    if arguments.seeds < 1:
        parser.error(f"--seeds {arguments.seeds}: give 1 or more")
    result = run(arguments.seeds)
    values = {way: np.array(result[way]) for way in WAYS}
    for way in WAYS:
        print(f"{way}: {interval(values[way])}, above source_only: {interval(values[way] - values['source_only'])}")
    print(json.dumps(result))
