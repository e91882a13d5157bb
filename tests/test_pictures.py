import numpy as np
import pytest
from PIL import ExifTags, Image

from annotator.pictures import open_rgb, open_shrunk, to_rgb

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


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_shrunk_pictures_stand_upright(tmp_path, suffix, orientation):
    picture = Image.new("RGB", (640, 400), "navy")
    picture.paste("white", (0, 0, 320, 200))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    picture.save(tmp_path / f"picture{suffix}", exif=exif)
    found, width, height = open_shrunk(tmp_path / f"picture{suffix}", 80)
    full = open_rgb(tmp_path / f"picture{suffix}")
    assert (height, width) == full.shape[:2]
    assert max(found.shape) == 80
    np.testing.assert_allclose(found[::10, ::10], full[4::80, 4::80], atol=40)


def test_a_picture_that_is_nearly_square_keeps_its_size_when_it_is_turned(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (402, 401)).save(tmp_path / "picture.jpg", exif=exif)  # and square where it is decoded by halves
    assert open_shrunk(tmp_path / "picture.jpg", 80)[1:] == (401, 402)


def test_a_small_picture_is_not_enlarged(picture):
    found, width, height = open_shrunk(picture, 1000)
    assert (width, height) == (300, 200)
    np.testing.assert_array_equal(found, open_rgb(picture))
