"""From polygons of ours to locations that Cytomine takes, and back. THE place of the flip between the two frames.

Ours: pixels of the full-resolution image, origin top-left, y down. Cytomine's: the same pixels, origin bottom-left.
"""

from __future__ import annotations

import numpy as np
import shapely
from shapely import affinity
from shapely.geometry import Polygon, box
from shapely.geometry.base import BaseGeometry

MOST_POINTS = 200  # more than this and the server simplifies by rules of its own
DECIMALS = 2
SMALLEST_AREA = 0.01  # square pixels; less does not survive the rounding


def flip(shape: BaseGeometry, height: float) -> BaseGeometry:
    """Top-left frame to bottom-left frame, or back; ``height`` of the image in pixels."""
    return affinity.affine_transform(shape, [1, 0, 0, -1, 0, height])


def _largest_polygon(shape: BaseGeometry) -> Polygon | None:
    parts = shapely.get_parts(shapely.get_parts(shape))  # twice: in a collection there may be a MultiPolygon
    polygons = [part for part in parts if isinstance(part, Polygon) and part.area > SMALLEST_AREA]
    return max(polygons, key=lambda polygon: polygon.area, default=None)


def clean(polygon: Polygon, width: int, height: int) -> Polygon | None:
    """A polygon that the server stores unchanged.

    Valid, inside the image, at most 200 points, two decimals, without holes; of what falls apart the largest piece.

    Args:
        polygon: in either frame of the image.
        width: of the image in pixels.
        height: of the image in pixels.

    Returns:
        The polygon, or None where nothing with an area is left.
    """
    frame = box(0, 0, width, height)
    piece = _largest_polygon(shapely.make_valid(polygon).intersection(frame))
    tolerance = 0.25
    while piece is not None and shapely.get_num_coordinates(piece.exterior) > MOST_POINTS:
        piece = _largest_polygon(shapely.make_valid(piece.simplify(tolerance)))
        tolerance *= 1.5
    if piece is None:
        return None
    # set_precision keeps what it rounds valid, which rounding the numbers would not.
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # GEOS divides by the length of edges, also of those that vanish
        rounded = _largest_polygon(shapely.set_precision(Polygon(piece.exterior), 10**-DECIMALS))
    if rounded is None or shapely.get_num_coordinates(rounded.exterior) > MOST_POINTS:
        return None if rounded is None else clean(rounded, width, height)
    return Polygon(rounded.exterior)


def to_location(polygon: Polygon, width: int, height: int) -> str | None:
    """The WKT of a polygon of ours in Cytomine's frame, or None where no area of it lies inside the image."""
    cleaned = clean(flip(polygon, height), width, height)
    return None if cleaned is None else shapely.to_wkt(cleaned, rounding_precision=DECIMALS, trim=True)


def from_location(location: str | None, height: int) -> BaseGeometry:
    """A stored location in our frame; one that nobody can read, as old servers may hold, is empty."""
    # Java reads and writes NaN as a coordinate; GEOS reads it with a warning, and stumbles over it later.
    with np.errstate(invalid="ignore", over="ignore"):
        shape = shapely.from_wkt(location, on_invalid="ignore")
    if shape is None or not np.isfinite(shapely.get_coordinates(shape)).all():
        return Polygon()
    return flip(shape, height)
