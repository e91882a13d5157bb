"""What slow style transfer costs beside bare passes of its loss network, forward and back."""

import time

import numpy as np
from keras import ops

from training import devices
from training.style import gatys, loss

NETWORK = "vgg16"  # with random weights: they do not change the time
SIDE = 256
ROUNDS, STEPS = 5, 8


def run() -> dict[str, object]:
    """Seconds a step, and a step over a bare pass: medians of 5 rounds after a warm-up, in one process.

    A bare pass is the gradient of a sum over the network's feature maps by the pixels. A step is one of L-BFGS with all
    that belongs to it, Gram matrices, line search and bookkeeping. In each round both are timed one after the other.
    """
    network = loss.loss_network(NETWORK, "random")
    random = np.random.default_rng(0)
    content, style = (random.uniform(0, 255, (SIDE, SIDE, 3)).astype(np.float32) for _ in range(2))
    terms = gatys.terms_at(network, content, style, (5.0, 1.0))
    bare = devices.value_and_gradient(lambda pixels: sum(ops.sum(maps) for maps in network(pixels)))
    calls = 0

    def counted(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal calls
        calls += 1
        return terms(pixels)

    bare(content[None])
    terms(content[None])
    rows = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(STEPS):
            bare(content[None])
        passed = (time.perf_counter() - start) / STEPS
        calls, start = 0, time.perf_counter()
        gatys.improved(counted, content, STEPS)
        stepped = (time.perf_counter() - start) / STEPS
        rows.append((passed, stepped, stepped / passed, calls / STEPS))
    passed, stepped, ratio, evaluations = np.median(rows, axis=0)
    ratios = [row[2] for row in rows]
    return {
        "step_over_bare_pass": round(float(ratio), 3),
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "evaluations_a_step": round(float(evaluations), 3),
        "seconds": {"bare_pass": round(float(passed), 3), "step": round(float(stepped), 3)},
    }
