"""What a classifier is fed: the crops themselves, pixel by pixel where they are simple."""

import numpy as np
import pytest
from PIL import Image

from annotator.models.bundle import Label
from training.datasets import Picture, Region
from training.samples import SIDE, Sample, crop, load, samples_of, varied

HARP, LUTE = Label("Harp", 3285), Label("Lute", 3394)


def test_a_sample_for_each_region_that_counts_and_is_learnt(tmp_path):
    box, other = (0.0, 0.0, 9.0, 9.0), (5.0, 5.0, 9.0, 9.0)
    regions = (Region(HARP, box), Region(LUTE, other), Region(HARP, other, difficult=True), Region(Label("Sun"), box))
    found = samples_of([Picture(tmp_path / "a.png", "a", regions), Picture(tmp_path / "b.png", "b")], [LUTE, HARP])
    assert found == [Sample(tmp_path / "a.png", box, 1), Sample(tmp_path / "a.png", other, 0)]


@pytest.fixture
def marked():
    """400 x 300 pixels, grey, with a red block in the box 100, 50, 180, 90 and all else outside of it green."""
    image = np.full((300, 400, 3), (0, 160, 0), np.uint8)
    image[50:90, 100:180] = (200, 0, 0)
    return image


def test_a_crop_shows_its_box_and_a_margin_unstretched_in_the_middle(marked):
    found = crop(marked, (100.0, 50.0, 180.0, 90.0)).astype(int)
    assert found.shape == (SIDE, SIDE, 3)
    rows, columns = np.nonzero(found[..., 0] > 100)
    scale = SIDE / (80 + 2 * 4)  # a margin of a twentieth
    assert np.ptp(columns) + 1 == pytest.approx(80 * scale, abs=2)
    assert np.ptp(rows) + 1 == pytest.approx(40 * scale, abs=2)
    assert [(rows.min() + rows.max() + 1) / 2, (columns.min() + columns.max() + 1) / 2] == pytest.approx(
        [112] * 2, abs=1
    )
    # What is added above and below has the colour of the border, here that of the margin.
    assert (np.abs(found[[0, -1]] - [0, 160, 0]) < 12).all()


@pytest.mark.parametrize("box", [(398.6, 298.6, 400.0, 300.0), (-5.0, -5.0, 1.5, 1.5), (101.55, 200.0, 102.45, 260.0)])
def test_the_smallest_boxes_give_crops_of_what_is_there(marked, box):
    assert (np.abs(crop(marked, box).astype(int) - [0, 160, 0]) < 12).all()


@pytest.mark.parametrize("size", [(1, 1), (1000, 3), (3, 1000), (224, 224)])
def test_whole_pictures_of_any_form_fit(size, tmp_path):
    Image.new("RGB", size, (200, 100, 50)).save(tmp_path / "a.png")
    assert (load(Sample(tmp_path / "a.png", None, 0)) == (200, 100, 50)).all()


def spot(image):
    """Where the bright pixels are, from the middle: x to the right, y up, in shares of the side; and how many."""
    y, x = np.nonzero(image.astype(int).sum(axis=2) > 300)
    return np.array([x.mean() - SIDE / 2, SIDE / 2 - y.mean()]) / SIDE, len(x)


def test_variations_are_as_large_as_they_should_be_and_never_upside_down():
    """A spot at the top, read back from 300 variations: its angle, its distance, its size, its side."""
    y, x = np.mgrid[:SIDE, :SIDE]
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[(x - 132) ** 2 + (y - 52) ** 2 < 12**2] = 255  # up, and a little to the right
    before, area = spot(image)
    places, sizes = zip(*(spot(varied(image, np.random.default_rng(seed))) for seed in range(300)), strict=True)
    places, scales = np.array(places), np.sqrt(np.array(sizes) / area)
    assert places[:, 1].min() > 0.05  # upright in all of them
    assert 0.7 < scales.min() < 0.85
    assert 1.18 < scales.max() < 1.35
    # Half of them are flipped: of those the spot is on the left, if neither turned nor moved.
    assert abs(places[:, 0].mean()) < 0.02
    assert places[:, 0].std() == pytest.approx(0.11, abs=0.03)
    assert places.mean(axis=0)[1] == pytest.approx(before[1], abs=0.03)


def test_the_same_seed_gives_the_same_variation_and_no_content_is_torn_from_it():
    random = np.random.default_rng(0)
    image = np.asarray(Image.fromarray(random.integers(0, 255, (7, 7, 3), np.uint8)).resize((SIDE, SIDE)))
    one, same, other = (varied(image, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one.astype(int) - other).mean() > 10
    assert one.shape == image.shape
