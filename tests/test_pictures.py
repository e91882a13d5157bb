import numpy as np
import pytest
from PIL import Image

from annotator.pictures import to_rgb

RAMP = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.fromarray(RAMP), RAMP),
        (Image.fromarray(RAMP).convert("RGB"), RAMP),
        (Image.fromarray(RAMP).convert("P"), RAMP),
        (Image.fromarray(RAMP.astype(np.uint16) * 257), RAMP),
        (Image.fromarray(RAMP.astype(np.int32)), RAMP),  # deep grey that only holds 8 bits
        (Image.fromarray(RAMP.astype(np.float32) / 255), RAMP),
        (Image.fromarray(RAMP > 127), np.where(RAMP > 127, 255, 0)),
    ],
    ids=["grey", "RGB", "palette", "16 bit", "32 bit", "float", "1 bit"],
)
def test_every_mode_becomes_eight_bit_rgb(picture, expected):
    found = np.asarray(to_rgb(picture))
    assert found.shape == (8, 8, 3)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, np.repeat(expected[..., None], 3, axis=2), atol=1)


def test_transparent_becomes_white():
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:2, :, 3] = 255  # the upper half black, the lower half not there
    found = np.asarray(to_rgb(Image.fromarray(pixels)))
    assert (found[:2] == 0).all()
    assert (found[2:] == 255).all()


def test_printing_inks_become_colours():
    found = np.asarray(to_rgb(Image.new("CMYK", (1, 1), (255, 0, 0, 0))))[0, 0]
    assert found[0] < 60
    assert found[1] > 120
