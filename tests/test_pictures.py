import io
import os
import struct

import numpy as np
import pytest
from PIL import ExifTags, Image

from annotator.errors import AnnotatorError, ExitCode
from annotator.pictures import open_rgb, open_shrunk, picture_files, pictures_in, to_rgb

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


@pytest.mark.parametrize("mode", ["LA", "RGBa", "P", "L", "RGB"])
def test_transparent_becomes_white_in_every_mode(mode):
    """Modes without a channel for it name one colour that is not there, as GIF and PNG files may."""
    black = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    black.putpixel((1, 0), (0, 0, 0, 0))
    if mode in ("P", "L", "RGB"):
        picture = Image.new(mode, (2, 1), 0)
        picture.putpixel((1, 0), (9, 9, 9) if mode == "RGB" else 9)
        picture.info["transparency"] = (9, 9, 9) if mode == "RGB" else 9
    else:
        picture = black.convert(mode)
    assert np.asarray(to_rgb(picture)).tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_grey_that_was_multiplied_with_its_transparency_is_read(tmp_path):
    """As some programs write TIFF: grey 100 of 200, which is half of white on what is left of the page."""
    sides = [(256, 1), (257, 1), (278, 1)]  # one pixel
    fields = [*sides, (258, 8 | 8 << 16), (259, 1), (262, 1), (273, 8), (277, 2), (279, 2), (338, 1)]
    rows = b"".join(struct.pack("<HHII", key, 3, 2 if key == 258 else 1, value) for key, value in sorted(fields))
    content = b"II*\0" + struct.pack("<I", 10) + bytes([100, 200]) + struct.pack("<H", len(fields)) + rows + bytes(4)
    (tmp_path / "scan.tif").write_bytes(content)
    with Image.open(tmp_path / "scan.tif") as picture:
        assert picture.mode == "La"
    np.testing.assert_allclose(open_rgb(tmp_path / "scan.tif"), np.full((1, 1, 3), 155), atol=1)


def test_depths_and_signs_beyond_the_usual_do_not_wrap_around():
    deep = np.array([[0, 100_000, 200_000]], np.int32)
    assert np.asarray(to_rgb(Image.fromarray(deep)))[0, :, 0].tolist() == [0, 128, 255]
    signed = np.array([[-5.0, 0, 10]], np.float32)
    assert np.asarray(to_rgb(Image.fromarray(signed)))[0, :, 0].tolist() == [0, 0, 255]


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


DAMAGED_TAGS = [(0x0100, 1, 1), (0x0106, 3, 2), (0x010F, 11, 1), (0x011A, 1, 1), (0x011A, 2, 1)]  # tag, type, count


@pytest.mark.parametrize("tag", DAMAGED_TAGS)
def test_a_picture_is_turned_also_where_the_rest_of_its_exif_is_damaged(tmp_path, tag):
    entries = struct.pack("<HHHI2H", 2, ExifTags.Base.Orientation, 3, 1, 6, 0) + struct.pack("<HHI4s", *tag, b"abc")
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + entries + bytes(4)
    Image.new("RGB", (40, 20)).save(tmp_path / "picture.jpg", exif=exif)
    assert open_rgb(tmp_path / "picture.jpg").shape == (40, 20, 3)
    assert open_shrunk(tmp_path / "picture.jpg", 80)[1:] == (20, 40)


def test_no_program_is_started_to_read_a_picture(tmp_path, monkeypatch):
    """Pillow gives EPS, under whatever name, to Ghostscript, whose language can do more than draw."""
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    Image.new("RGB", (40, 20)).save(tmp_path / "picture.jpg", "EPS")
    for read in (open_rgb, lambda path: open_shrunk(path, 80)):
        with pytest.raises(AnnotatorError, match=r"'picture\.jpg' cannot be read"):
            read(tmp_path / "picture.jpg")
    assert not (tmp_path / "started").exists()


def test_a_small_picture_is_not_enlarged(picture):
    found, width, height = open_shrunk(picture, 1000)
    assert (width, height) == (300, 200)
    np.testing.assert_array_equal(found, open_rgb(picture))


def avif_without_pixels():
    buffer = io.BytesIO()
    Image.new("RGB", (40, 20)).save(buffer, "AVIF")
    content = buffer.getvalue()
    return content[: content.index(b"mdat") + 4] + bytes(len(content) - content.index(b"mdat") - 4)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(40), b"II*\x00\x08\x00\x00\x00" + bytes(8)),
        avif_without_pixels(),
    ],
)
def test_what_is_no_picture_is_told(tmp_path, content):
    (tmp_path / "broken.png").write_bytes(content)
    for read in (open_rgb, lambda path: open_shrunk(path, 80)):
        with pytest.raises(AnnotatorError, match=r"The picture 'broken\.png' cannot be read") as caught:
            read(tmp_path / "broken.png")
        assert caught.value.code is ExitCode.BAD_IMAGE


def test_a_picture_too_large_to_decode_is_told(tmp_path, monkeypatch):
    Image.new("1", (400, 300)).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(AnnotatorError, match=r"'huge\.png' cannot be read"):
        open_rgb(tmp_path / "huge.png")


def test_files_that_are_no_pictures_by_their_names_are_left_out(tmp_path):
    (tmp_path / "inner").mkdir()
    names = ["b.JPG", "a.png", "notes.txt", "table.csv", "inner/c.Tiff", "inner/readme"]
    for name in names:
        (tmp_path / name).touch()
    assert picture_files(tmp_path) == [tmp_path / name for name in ("a.png", "b.JPG", "inner/c.Tiff")]
    assert pictures_in(tmp_path) == [tmp_path / name for name in ("a.png", "b.JPG")]
