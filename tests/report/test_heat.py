import io

import matplotlib as mpl
import numpy as np
from PIL import Image

from annotator.report.heat import CAPTION, STRENGTH, evidence_picture, over


def test_what_is_dark_in_the_mask_shows_the_picture_in_grey():
    picture = np.full((4, 4, 3), (200, 100, 50), np.uint8)
    mask = np.zeros((4, 4), np.float32)
    mask[0, 0] = 1
    shown = over(picture, mask)
    assert shown[3, 3].tolist() == [124] * 3  # 0.299 of the red, 0.587 of the green, 0.114 of the blue
    assert len(set(shown[0, 0])) == 3
    assert shown[0, 0].sum() > shown[3, 3].sum()


def test_colours_follow_the_root_of_the_mask():
    """Most of a mask is low, and would look like nothing."""
    picture = np.full((1, 2, 3), 128, np.uint8)
    low, high = over(picture, np.array([[0.25, 0.5]], np.float32))[0].astype(int)
    heat = np.array(mpl.colormaps["inferno"](0.5)[:3]) * 255
    np.testing.assert_allclose(low, 128 * (1 - 0.5 * STRENGTH) + heat * 0.5 * STRENGTH, atol=1)
    assert np.ptp(high) > np.ptp(low)


def test_evidence_shows_the_crop_and_both_masks_in_one_row(random):
    crop = np.full((60, 80, 3), (200, 100, 50), np.uint8)
    left, right = np.zeros((2, 60, 80), np.float32)
    left[:, :40], right[:, 40:] = 1, 1
    with Image.open(io.BytesIO(evidence_picture(crop, left, right, "Lute \u202e\u0416"))) as picture:
        assert picture.format == "JPEG"
        shown = np.asarray(picture).astype(int)
    assert shown.shape == (60 + CAPTION, 240, 3)
    panels = shown[:60].reshape(60, 3, 80, 3).transpose(1, 0, 2, 3)
    np.testing.assert_allclose(panels[0, :48, :64], crop[:48, :64], atol=6)  # JPEG mixes colours at the seams
    colourful = np.ptp(panels[1:], axis=-1)[..., 30, :] > 40
    assert colourful[0, :32].all()
    assert not colourful[0, 48:].any()
    assert colourful[1, 48:].all()
    assert not colourful[1, :32].any()
    assert shown[60:].min() < 100  # there is text


def test_captions_stay_under_their_pictures_and_fill_them(random):
    crop, mask = np.full((200, 300, 3), 90, np.uint8), np.zeros((200, 300), np.float32)
    for name in ("Lute", "Contrabass clarinet in B flat", "Orchestral set of tubular bells with pedals"):
        with Image.open(io.BytesIO(evidence_picture(crop, mask, mask, name))) as picture:
            text = np.asarray(picture.convert("L"))[200:].min(axis=0) < 128
        assert not text.reshape(3, 300)[:, :2].any()
        assert not text.reshape(3, 300)[:, -2:].any()
        assert np.flatnonzero(text).max() - 600 > 180
