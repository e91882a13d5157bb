"""Picture files, and any picture that Pillow can open to 8-bit RGB."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from annotator.errors import AnnotatorError, ExitCode

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")  # of files that are taken for pictures
# Not all that Pillow reads: for EPS, which may come under any name, it starts Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000")
# What Pillow raises over damaged pictures.
UNREADABLE = (OSError, ValueError, SyntaxError, RuntimeError, Image.DecompressionBombError)
TURNS = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIXTEEN_BIT_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")


def to_rgb(picture: Image.Image) -> Image.Image:
    """8 bits a channel, colours only.

    Deep grey pictures are scaled by what their depth can hold (255 for values that fit 8 bits, else 65535); floating
    point ones by their largest value. Transparent parts become white, as on a page.
    """
    if picture.mode in SIXTEEN_BIT_MODES or picture.mode == "F":
        values = np.clip(np.asarray(picture, np.float64), 0, None)
        largest = values.max(initial=0)
        full = max(largest, 1e-9) if picture.mode == "F" else 255 if largest <= 255 else max(65535, largest)
        return Image.fromarray(np.round(values / full * 255).astype(np.uint8)).convert("RGB")
    if picture.mode == "La":
        picture = picture.convert("LA")  # all that Pillow can make of it
    if picture.mode in ("LA", "PA", "RGBa", "RGBA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return picture.convert("RGB")


def open_rgb(path: Path) -> np.ndarray:
    """A picture as (h, w, 3) uint8 RGB, turned as its EXIF orientation says.

    Raises:
        AnnotatorError: (BAD_IMAGE) the file is missing or no picture.
    """
    with _opened(path) as picture:
        return np.asarray(to_rgb(upright(picture)))


def open_shrunk(path: Path, largest: int) -> tuple[np.ndarray, int, int]:
    """A picture of at most ``largest`` pixels on its longest side, turned as its EXIF orientation says.

    A JPEG much larger than that is never decoded in full.

    Returns:
        (h, w, 3) uint8 RGB, and the full width and height after turning.

    Raises:
        AnnotatorError: (BAD_IMAGE) the file is missing or no picture.
    """
    with _opened(path) as picture:
        full = picture.size
        picture.draft("RGB", (2 * largest, 2 * largest))  # by halves, to at least that
        picture.load()
        lying = lies_on_its_side(picture)  # a TIFF has been turned by now
        width, height = full[::-1] if lying else full
        shrunk = to_rgb(upright(picture))
        shrunk.thumbnail((largest, largest))
        return np.asarray(shrunk), width, height


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path, formats=FORMATS) as picture:
            yield picture
    except UNREADABLE as error:
        raise AnnotatorError(
            f"The picture {path.name!r} cannot be read: {error}. Replace it or take it out.", ExitCode.BAD_IMAGE
        ) from error


def jpeg(picture: Image.Image, quality: int) -> bytes:
    """A picture as the content of a JPEG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def upright(picture: Image.Image) -> Image.Image:
    """The picture, turned as its EXIF orientation says."""
    # Not Pillow's exif_transpose: it writes the rest of the EXIF anew, and fails where any of that is damaged.
    picture.load()  # which turns a TIFF
    turn = TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    return picture if turn is None else picture.transpose(turn)


def lies_on_its_side(picture: Image.Image) -> bool:
    """Whether its EXIF orientation turns a picture by a quarter; one that is none turns nothing."""
    return picture.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)


def picture_files(folder: Path) -> list[Path]:
    """The files under a folder, at any depth, that are pictures by their names; in order."""
    return [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in SUFFIXES]


def pictures_in(folder: Path) -> list[Path]:
    """The same, but for what lies in its folders."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)


def stems(files: Sequence[Path]) -> list[str]:
    """A name for what is written about each file: without its suffix, unless others of its folder would share it.

    Two names that differ in upper and lower case only are one on some disks.
    """
    whole = {str(file).casefold() for file in files}
    bare = [str(file.with_name(file.stem)).casefold() for file in files]
    count = Counter(bare)
    return [
        file.stem if count[own] == 1 and own not in whole else file.name for file, own in zip(files, bare, strict=True)
    ]
