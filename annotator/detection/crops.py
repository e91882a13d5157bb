"""Score windows one by one as crops: what the dense scan stands for, and the oracle it is measured against."""

from __future__ import annotations

import keras
import numpy as np

from annotator.models.backbones import STRIDE

BATCH = 32  # crops that the network looks at together


def crop_logits(network: keras.Model, picture: np.ndarray, cells: np.ndarray, context: int) -> np.ndarray:
    """The mean logits of windows, each cut from the picture and passed through the network alone.

    A convolution puts zeros around what it is given. Around a bare crop they reach far into it, around a crop with
    enough of the real picture they stay outside the window. At the picture's border there is nothing to add: there the
    dense scan meets the same zeros.

    Args:
        network: pixels (n, h, w, 3) to logits (n, h/STRIDE, w/STRIDE, classes).
        picture: (h, w, 3) uint8, the level of the pyramid that the windows lie on, padded to whole cells.
        cells: (n, 4) int x0, y0, x1, y1 in cells.
        context: cells of the real picture around each window.

    Returns:
        (n, classes) logits, the mean over the window's own cells.
    """
    rows, columns = np.array(picture.shape[:2]) // STRIDE
    outer = np.clip(cells + np.array([-context, -context, context, context]), 0, [columns, rows, columns, rows])
    # Crops of one size, with the window at one place in them, go through the network together.
    inner = cells - np.tile(outer[:, :2], 2)
    layouts, layout_of = np.unique(np.hstack([outer[:, 2:] - outer[:, :2], inner]), axis=0, return_inverse=True)
    logits = np.empty((len(cells), network.output_shape[-1]), np.float32)
    for number, (width, height, x0, y0, x1, y1) in enumerate(layouts):
        members = np.flatnonzero(layout_of == number)
        for start in range(0, len(members), BATCH):
            batch = members[start : start + BATCH]
            left, top = outer[batch, 0], outer[batch, 1]
            y = (top[:, None] * STRIDE + np.arange(height * STRIDE))[:, :, None]
            x = (left[:, None] * STRIDE + np.arange(width * STRIDE))[:, None, :]
            logits[batch] = network.predict_on_batch(picture[y, x])[:, y0:y1, x0:x1].mean(axis=(1, 2))
    return logits
