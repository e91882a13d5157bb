"""What tells an explanation from a picture that merely looks like one: controls from the literature, on arrays.

- Parameter randomisation (Adebayo et al. 2018, "Sanity checks for saliency maps"): a map that stays the same when the
  network's weights are shuffled does not tell about the network.
- Deletion and insertion (Petsiuk et al. 2018, "RISE"): where a map is right, taking away what it marks soon lowers the
  score, and putting that alone into a blurred picture soon raises it.
- The energy pointing game (Wang et al. 2020, "Score-CAM"): how much of a map lies on the object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np
from PIL import Image
from scipy.stats import rankdata

from annotator.explain.maps import RectifiedMap

# Of the picture's pixels, how many are exchanged when the score is taken.
SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.6, 1.0)
NOISE_CELL = 32  # pixels: as coarse as what the last map can tell apart


def cascade(network: keras.Model, maps: Sequence[RectifiedMap]) -> list[tuple[str, list[str]]]:
    """The layers to randomise, stage by stage from the top down; each stage adds to those before it.

    Args:
        network: with a layer "head".
        maps: its rectified layers, shallowest first.

    Returns:
        What is randomised after each stage, for people, and the names of the layers that it adds: the head, then a
        quarter of the maps' layers at a time.
    """
    names = [layer.name for layer in network.layers if layer.name != "head"]
    quarters = [maps[len(maps) * quarter // 4].layer for quarter in (3, 2, 1)]
    cuts = [len(names), *(names.index(name) + 1 for name in quarters), 0]
    labels = [f"all above {name}" for name in quarters] + ["all layers"]
    return [("the last layer", ["head"])] + [
        (label, names[low:high]) for label, low, high in zip(labels, cuts[1:], cuts[:-1], strict=True)
    ]


def shuffle_weights(network: keras.Model, names: Sequence[str], random: np.random.Generator) -> None:
    """Shuffle the values inside each weight of these layers, in place: the distribution stays, what was learnt goes."""
    for name in names:
        layer = network.get_layer(name)
        weights = layer.get_weights()
        layer.set_weights([random.permutation(weight.ravel()).reshape(weight.shape) for weight in weights])


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation of two maps of one shape, in [-1, 1]; 0 where one of them is the same everywhere."""
    ranks = [rankdata(values) - (values.size + 1) / 2 for values in (one, other)]
    length = np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
    return float((ranks[0] * ranks[1]).sum() / length) if length else 0.0


def smooth_noise(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """A map that knows nothing, (height, width) float32 in [0, 1]: noise, as smooth as a map of class activation.

    Noise pixel by pixel would be no fair rival: single exchanged pixels all over a picture lower any score.
    """
    cells = random.random((-(-height // NOISE_CELL) + 1, -(-width // NOISE_CELL) + 1), np.float32)
    return np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)).clip(0, 1)


def exchange_curve(
    score: Callable[[np.ndarray], float],
    before: np.ndarray,
    after: np.ndarray,
    mask: np.ndarray,
    random: np.random.Generator,
) -> np.ndarray:
    """The score while a picture becomes another, pixel by pixel in the order of a falling mask.

    Args:
        score: of a picture.
        before: (h, w, 3) picture.
        after: (h, w, 3) picture.
        mask: (h, w); equal values are taken in random order.
        random: for that.

    Returns:
        The score after each of `SHARES`.
    """
    order = np.lexsort((random.random(mask.size), -mask.ravel()))
    scores = []
    for share in SHARES:
        taken = np.zeros(mask.size, bool)
        taken[order[: round(share * mask.size)]] = True
        scores.append(score(np.where(taken.reshape(mask.shape)[..., None], after, before)))
    return np.array(scores)


def area_under(curve: np.ndarray) -> float:
    """The area under a curve over `SHARES`."""
    return float(np.trapezoid(curve, SHARES))


def share_inside(mask: np.ndarray, boxes: np.ndarray, ignored: np.ndarray) -> tuple[float, float]:
    """How much of a mask lies in boxes, and how much of the picture does.

    Args:
        mask: (h, w), not negative and not all 0.
        boxes: (n, 4) x0, y0, x1, y1 in pixels of the mask.
        ignored: (m, 4) boxes that count neither for nor against.

    Returns:
        Both shares, in [0, 1].
    """
    inside, counted = np.zeros(mask.shape, bool), np.ones(mask.shape, bool)
    for area, value, given in ((counted, False, ignored), (inside, True, boxes), (counted, True, boxes)):
        for x0, y0, x1, y1 in np.round(given).astype(int):
            area[max(y0, 0) : y1, max(x0, 0) : x1] = value
    return float(mask[inside].sum() / mask[counted].sum()), float(inside.sum() / counted.sum())
