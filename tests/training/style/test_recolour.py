import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.style import recolour


def smooth(seed, shape=(40, 52), low=60, high=190):
    """A picture without extremes, so that nothing is cut off at 0 or 255."""
    random = np.random.default_rng(seed)
    return random.integers(low, high, (*shape, 3)).astype(np.uint8)


def plain_opponent(red, green, blue):
    """Equations 4 and 6 of Reinhard et al. 2001, one pixel."""
    cones = (
        0.3811 * red + 0.5783 * green + 0.0402 * blue,
        0.1967 * red + 0.7244 * green + 0.0782 * blue,
        0.0241 * red + 0.1288 * green + 0.8444 * blue,
    )
    long, middle, short = (np.log10(value) for value in cones)
    return (
        (long + middle + short) / np.sqrt(3),
        (long + middle - 2 * short) / np.sqrt(6),
        (long - middle) / np.sqrt(2),
    )


def test_opponent_equals_the_plain_version_and_goes_back():
    image = smooth(0)
    values = recolour.opponent(image)
    np.testing.assert_allclose(values[3, 7], plain_opponent(*image[3, 7].astype(float)), rtol=1e-12)
    np.testing.assert_allclose(recolour.from_opponent(values), image, atol=1e-9)


def test_reinhard_gives_mean_and_spread_of_the_style():
    content, style = smooth(1), smooth(2, (30, 30), 100, 140)
    own, wanted = recolour.opponent(recolour.reinhard(content, style)), recolour.opponent(style)
    np.testing.assert_allclose(own.mean(axis=(0, 1)), wanted.mean(axis=(0, 1)), atol=2e-3)
    np.testing.assert_allclose(own.std(axis=(0, 1)), wanted.std(axis=(0, 1)), atol=2e-3)


def plain_fourier(content, style, reach):
    """Yang & Soatto 2020, equation 3: the amplitude in a window around the lowest frequency, cell by cell."""
    height, width = content.shape[:2]
    result = np.empty(content.shape)
    for channel in range(3):
        own, wanted = (np.fft.fft2(image[..., channel].astype(float)) for image in (content, style))
        mixed = own.copy()
        for row in range(height):
            for column in range(width):
                if min(row, height - row) <= reach and min(column, width - column) <= reach:
                    mixed[row, column] = abs(wanted[row, column]) * np.exp(1j * np.angle(own[row, column]))
        result[..., channel] = np.fft.ifft2(mixed).real
    return np.clip(np.round(result), 0, 255)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2])
def test_fourier_equals_the_plain_version(share):
    content, style = smooth(3), smooth(4)
    own = recolour.fourier(content, style, share)
    assert np.abs(own - plain_fourier(content, style, int(40 * share))).max() <= 1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), height=st.integers(1, 40), width=st.integers(1, 40))
def test_own_style_changes_nothing(seed, height, width):
    image = np.random.default_rng(seed).integers(2, 256, (height, width, 3)).astype(np.uint8)
    for restyle in (recolour.reinhard, recolour.fourier):
        assert np.abs(restyle(image, image).astype(int) - image).max() <= 1


@pytest.mark.parametrize("restyle", [recolour.reinhard, recolour.fourier])
def test_black_grey_and_tiny_pictures(restyle):
    plain = [np.full((9, 12, 3), value, np.uint8) for value in (0, 128, 255)]
    for content in [*plain, smooth(5)]:
        for style in [*plain, smooth(6), np.array([[[250, 3, 9]]], np.uint8)]:
            assert restyle(content, style).shape == content.shape


def test_reinhard_of_plain_grey_is_the_mean_of_the_style():
    style = np.full((4, 4, 3), (200, 120, 60), np.uint8)
    assert np.abs(recolour.reinhard(np.full((9, 9, 3), 77, np.uint8), style).astype(int) - (200, 120, 60)).max() <= 1
