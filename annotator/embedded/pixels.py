"""Pictures as the embedded server sends them: 8-bit RGB, cut and scaled."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from threading import Lock

from PIL import Image, ImageDraw
from shapely.geometry.base import BaseGeometry

from annotator.pictures import to_rgb, upright

_one_at_a_time = Lock()  # for decoding whole pictures, which takes memory
Image.MAX_IMAGE_PIXELS = None  # whoever starts this server chose the pictures


def open_image(path: Path, largest: int | None = None) -> Image.Image:
    """A picture, turned as its EXIF orientation says.

    Args:
        path: of the file.
        largest: where given, JPEG files may be decoded smaller, with at least that longest side.
    """
    picture = Image.open(path)
    if largest:
        share = max(picture.size) / largest
        picture.draft("RGB", (max(1, int(picture.width / share)), max(1, int(picture.height / share))))
    return upright(picture)


def bounded(picture: Image.Image, largest: int | None) -> Image.Image:
    """The picture, shrunk until its longest side is at most ``largest`` pixels."""
    if largest and max(picture.size) > largest:
        share = largest / max(picture.size)
        size = (max(1, round(picture.width * share)), max(1, round(picture.height * share)))
        return picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return picture


def thumb(path: Path, largest: int) -> Image.Image:
    """The whole picture, at most ``largest`` pixels on its longest side."""
    return to_rgb(bounded(open_image(path, largest), largest))


@lru_cache(maxsize=1)
def _decoded(path: Path, changed: int) -> Image.Image:
    """A whole picture; the last one is kept, since whoever asks for one part of it soon asks for the next."""
    picture = open_image(path)
    picture.load()
    return picture


def window(path: Path, box: tuple[int, int, int, int], largest: int | None, zoom: int) -> Image.Image:
    """A part of the picture.

    Args:
        path: of the picture.
        box: x, y (top-left frame), width, height in full-resolution pixels; clipped at the picture's border.
        largest: longest side of what comes back; wins over ``zoom``.
        zoom: how many times to halve.

    Raises:
        ValueError: nothing of the window lies inside the picture.
    """
    x, y, width, height = box
    x, y = max(0, x), max(0, y)
    with _one_at_a_time:
        picture = _decoded(path, path.stat().st_mtime_ns)
    right, bottom = min(picture.width, x + width), min(picture.height, y + height)
    if right <= x or bottom <= y:
        raise ValueError(f"window {box} lies outside the picture of {picture.width} x {picture.height} pixels")
    part = picture.crop((x, y, right, bottom))
    return to_rgb(bounded(part, largest or max(1, max(part.size) >> zoom)))


def crop(path: Path, shape: BaseGeometry, kind: str, largest: int | None) -> Image.Image:
    """What an annotation shows.

    Args:
        path: of the picture.
        shape: of the annotation, in the bottom-left frame.
        kind: "crop" (RGB), "mask" (white inside, black outside) or "alphamask" (RGBA).
        largest: longest side of what comes back.
    """
    picture = open_image(path)
    left, low, right, high = shape.bounds
    if left == right and low == high:  # a point
        left, low, right, high = left - 50, low - 50, right + 50, high + 50
    box = (round(left), round(picture.height - high), round(right), round(picture.height - low))
    box = (box[0], box[1], max(box[2], box[0] + 1), max(box[3], box[1] + 1))
    part = to_rgb(picture.crop(box))
    if kind == "crop":
        return bounded(part, largest)
    mask = Image.new("L", part.size)
    for polygon in getattr(shape, "geoms", [shape]):
        if polygon.geom_type == "Polygon":
            for ring, fill in ((polygon.exterior, 255), *((hole, 0) for hole in polygon.interiors)):
                corners = [(x - box[0], picture.height - y - box[1]) for x, y in ring.coords]
                ImageDraw.Draw(mask).polygon(corners, fill=fill)
    if kind == "mask":
        return bounded(mask.convert("RGB"), largest)
    part.putalpha(mask)
    return bounded(part, largest)


def encoded(picture: Image.Image, extension: str) -> tuple[bytes, str]:
    """A picture as a file: its bytes and content type."""
    kind = {"jpg": "JPEG", "jpeg": "JPEG", "tif": "TIFF", "tiff": "TIFF"}.get(extension, "PNG")
    if kind == "JPEG":
        picture = picture.convert("RGB")
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=95)
    return buffer.getvalue(), f"image/{kind.lower()}"
