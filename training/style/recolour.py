"""Restyling that needs no network: colours or coarse light and dark of one picture given to another, shapes kept."""

from __future__ import annotations

import numpy as np
from PIL import Image

# Reinhard et al. 2001: RGB to the cones' answers, and their logarithms to axes that hardly correlate in natural scenes.
TO_CONES = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
TO_AXES = np.diag([1 / np.sqrt(3), 1 / np.sqrt(6), 1 / np.sqrt(2)]) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
DARKEST = 2.0  # of 255: what is darker counts as this, for the logarithm of black has no end
SHARE = 0.03  # of the shorter side: frequencies up to this, in both directions, are the style's


def opponent(image: np.ndarray) -> np.ndarray:
    """Lightness, yellow-blue and red-green (l, alpha, beta) of a picture (Reinhard et al. 2001, equations 4 to 6).

    Args:
        image: (..., 3) RGB in 0..255.

    Returns:
        (..., 3) float64.
    """
    return np.log10(np.maximum(image, DARKEST) @ TO_CONES.T) @ TO_AXES.T


def from_opponent(values: np.ndarray) -> np.ndarray:
    """The inverse of `opponent`: (..., 3) RGB, not limited to 0..255."""
    return 10 ** (values @ np.linalg.inv(TO_AXES).T) @ np.linalg.inv(TO_CONES).T


def reinhard(content: np.ndarray, style: np.ndarray) -> np.ndarray:
    """The content with the mean and spread of each of the style's opponent colours (Reinhard et al. 2001, section 3).

    Args:
        content: (h, w, 3) uint8 RGB.
        style: (h', w', 3) uint8 RGB.

    Returns:
        (h, w, 3) uint8.
    """
    own, wanted = opponent(content), opponent(style)
    deviation = own.std(axis=(0, 1))
    scale = np.where(deviation > 1e-6, wanted.std(axis=(0, 1)) / np.maximum(deviation, 1e-6), 1)
    return _whole(from_opponent((own - own.mean(axis=(0, 1))) * scale + wanted.mean(axis=(0, 1))))


def fourier(content: np.ndarray, style: np.ndarray, share: float = SHARE) -> np.ndarray:
    """The content with the amplitude of the style's lowest frequencies; phases stay (FDA; Yang & Soatto 2020, eq. 3).

    Args:
        content: (h, w, 3) uint8 RGB.
        style: (h', w', 3) uint8 RGB; brought to the content's height and width.
        share: of the shorter side: how many frequencies beside the lowest are taken, in both directions (their beta).

    Returns:
        (h, w, 3) uint8.
    """
    height, width = content.shape[:2]
    resized = np.asarray(Image.fromarray(style).resize((width, height), Image.Resampling.LANCZOS))
    own, wanted = (np.fft.fft2(image.astype(np.float64), axes=(0, 1)) for image in (content, resized))
    reach = int(min(height, width) * share)
    rows, columns = (np.abs(np.fft.fftfreq(side, 1 / side)) <= reach for side in (height, width))
    low = (rows[:, None] & columns[None])[..., None]
    amplitude = np.where(low, np.abs(wanted), np.abs(own))
    return _whole(np.fft.ifft2(amplitude * np.exp(1j * np.angle(own)), axes=(0, 1)).real)


def _whole(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)
