import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import Point, Polygon, box

from annotator.embedded.annotations import valid_location
from annotator.platform.geometry import MOST_POINTS, clean, flip, from_location, to_location

coordinates = st.floats(-50, 150, allow_nan=False)
rings = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=12)


def test_a_hand_computed_flip():
    assert to_location(box(10, 20, 30, 60), 100, 200).startswith("POLYGON")
    assert shapely.from_wkt(to_location(box(10, 20, 30, 60), 100, 200)).bounds == (10, 140, 30, 180)


@given(rings, st.integers(1, 500))
def test_flipping_twice_changes_nothing(ring, height):
    shape = Polygon(ring)
    np.testing.assert_allclose(
        np.array(flip(flip(shape, height), height).exterior.coords), np.array(shape.exterior.coords), atol=1e-9
    )


@given(rings)
def test_whatever_goes_up_is_stored_unchanged(ring):
    location = to_location(Polygon(ring), 100, 80)
    if location is None:
        assert shapely.make_valid(Polygon(ring)).intersection(box(0, 0, 100, 80)).area < 1.0
        return
    shape = shapely.from_wkt(location)
    assert isinstance(shape, Polygon)
    assert shape.is_valid
    assert shape.area > 0
    assert not shape.interiors
    assert box(0, 0, 100, 80).covers(shape)
    assert shapely.get_num_coordinates(shape) <= MOST_POINTS
    stored, tolerance = valid_location(location, 100, 80)
    assert shapely.from_wkt(stored).equals_exact(shape)
    assert tolerance == 0


def test_round_outlines_keep_their_shape_within_200_points():
    circle = Point(500, 500).buffer(400, quad_segs=500)
    cleaned = clean(circle, 1000, 1000)
    assert valid_location(cleaned.wkt, 1000, 1000)[1] == 0  # by the server's own rule
    assert shapely.get_num_coordinates(cleaned) <= MOST_POINTS
    assert cleaned.intersection(circle).area / cleaned.union(circle).area > 0.99


@pytest.mark.parametrize("corners", [199, 200, 230, 249])
def test_the_server_has_nothing_to_simplify(corners):
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    radii = np.where(np.arange(corners) % 2, 300, 450)[:, None]  # a star: no corner can be left out
    star = Polygon(500 + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    assert valid_location(to_location(star, 1000, 1000), 1000, 1000)[1] == 0


@pytest.mark.parametrize(
    "shape",
    [box(200, 0, 300, 10), Polygon([(0, 0), (5, 5), (0, 0)]), box(-20, 0, 0, 80)],
    ids=["outside", "line", "edge"],
)
def test_nothing_inside_the_image_is_nothing(shape):
    assert to_location(shape, 100, 80) is None


def test_reading_back_gives_our_frame():
    assert from_location(to_location(box(1, 2, 3, 4), 10, 10), 10).bounds == (1, 2, 3, 4)
