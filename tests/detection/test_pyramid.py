import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.detection import pyramid


@given(st.integers(1, 200_000), st.integers(1, 200_000))
def test_levels_grow_keep_the_aspect_and_stay_bounded(width, height):
    sizes = pyramid.level_sizes(width, height)
    longest = max(width, height)
    assert [max(size) for size in sizes] == list(pyramid.LEVEL_SIDES[: len(sizes)])
    assert all(max(size) <= max(pyramid.LEVEL_SIDES[0], 1.5 * longest) for size in sizes)
    for level_width, level_height in sizes:
        scale = max(level_width, level_height) / longest
        assert abs(level_width - width * scale) <= 1
        assert abs(level_height - height * scale) <= 1


@pytest.mark.parametrize(
    ("size", "levels"),
    [((1, 1), 1), ((112, 80), 1), ((160, 160), 1), ((214, 160), 2), ((896, 10), 6), ((20_000, 50), 7)],
)
def test_small_pictures_are_not_blown_up(size, levels):
    assert len(pyramid.level_sizes(*size)) == levels


@given(st.integers(1, 200_000), st.integers(1, 200_000), st.integers(1792, 200_000))
def test_finer_levels_go_on_half_an_octave_apart(width, height, longest_side):
    sizes = pyramid.finer_sizes(width, height, longest_side)
    limit = min(longest_side, max(width, height))
    sides = [2560, 3584, 5120, 7168, 10_240, 14_336, 20_480, 28_672, 40_960, 57_344, 81_920, 114_688, 163_840]
    assert [max(size) for size in sizes] == [side for side in reversed(sides) if side <= limit]
    for level_width, level_height in sizes:
        assert abs(level_width * height - level_height * width) <= max(width, height)


@given(st.integers(1, 70), st.integers(1, 70))
def test_padding_is_at_the_right_and_the_bottom(width, height):
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    padded = pyramid.pad(image, 32, (1, 2, 3))
    assert all(side % 32 == 0 for side in padded.shape[:2])
    assert padded.shape[0] - height < 32
    assert padded.shape[1] - width < 32
    np.testing.assert_array_equal(padded[:height, :width], image)
    outside = np.ones(padded.shape[:2], bool)
    outside[:height, :width] = False
    assert (padded[outside] == (1, 2, 3)).all()
