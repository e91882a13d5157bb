import numpy as np
import pytest
from PIL import Image, ImageDraw

from training.plain_ground import object_box, object_mask


def photograph(chart=False, ruler=False):
    """A brown disc on a ground that fades from white to light grey."""
    ground = np.repeat(np.linspace(250, 215, 400)[:, None, None], 300, axis=1).repeat(3, axis=2).astype(np.uint8)
    image = Image.fromarray(ground)
    draw = ImageDraw.Draw(image)
    draw.ellipse([90, 100, 209, 299], fill=(120, 70, 30))
    if chart:
        for number, colour in enumerate(["red", "yellow", "lime", "cyan", "blue", "magenta"]):
            draw.rectangle([20 + 20 * number, 365, 39 + 20 * number, 390], fill=colour)
    if ruler:
        for number in range(16):
            draw.rectangle([10, 40 + 16 * number, 24, 55 + 16 * number], fill=["black", "grey"][number % 2])
            draw.rectangle([10, 46 + 16 * number, 24, 49 + 16 * number], fill="white")
    return np.asarray(image)


@pytest.mark.parametrize("extras", [{}, {"chart": True}, {"ruler": True}, {"chart": True, "ruler": True}])
def test_the_object_without_charts(extras):
    assert object_box(photograph(**extras)) == pytest.approx((90, 100, 210, 300), abs=3)


def test_no_plain_ground_and_nothing_on_it(random):
    assert object_box(random.integers(0, 255, (100, 100, 3), np.uint8)) is None
    assert object_box(np.full((100, 100, 3), 240, np.uint8)) is None


def drawn(*shapes, size=(300, 400)):
    image = Image.new("RGB", size, (240, 240, 235))
    draw = ImageDraw.Draw(image)
    for kind, corners, colour in shapes:
        getattr(draw, kind)(corners, fill=colour)
    return np.asarray(image)


def test_what_shows_through_a_hole_belongs_to_the_object():
    ground = (240, 240, 235)
    mask = object_mask(drawn(("ellipse", [90, 100, 209, 299], "brown"), ("ellipse", [130, 170, 169, 229], ground)))
    assert mask[200, 150]
    assert not mask[20, 20]


def test_a_bow_belongs_to_its_violin_and_dirt_does_not():
    violin, dirt = ("ellipse", [90, 100, 209, 299], "brown"), ("rectangle", [250, 370, 257, 377], "black")
    assert object_box(drawn(violin, dirt)) == pytest.approx((90, 100, 210, 300), abs=3)
    bow = ("rectangle", [230, 100, 239, 330], "brown")
    assert object_box(drawn(violin, bow, dirt)) == pytest.approx((90, 100, 240, 331), abs=3)


def test_parts_that_a_string_or_a_gap_of_few_pixels_divides_are_one():
    halves = [("rectangle", [100, 100, 200, 198], "brown"), ("rectangle", [100, 203, 200, 206], "brown")]
    assert object_box(drawn(*halves)) == pytest.approx((100, 100, 201, 207), abs=3)


def test_something_in_many_colours_is_a_chart_only_where_it_is_small_and_at_the_border():
    colours = ["red", "yellow", "lime", "cyan", "blue", "magenta"]
    middle = [("rectangle", [90 + 20 * i, 180, 109 + 20 * i, 220], colour) for i, colour in enumerate(colours)]
    assert object_box(drawn(*middle)) == pytest.approx((90, 180, 210, 221), abs=3)
    large = [("rectangle", [15 + 45 * i, 30, 59 + 45 * i, 360], colour) for i, colour in enumerate(colours)]
    assert object_box(drawn(*large)) == pytest.approx((15, 30, 285, 361), abs=3)


def test_a_ground_with_a_pattern_is_not_plain(random):
    """Though no pixel is far from the usual colour."""
    pattern = 128 + 40 * random.choice([-1, 1], (100, 100, 1)).repeat(3, axis=2)
    assert object_box(pattern.astype(np.uint8)) is None


def test_boxes_in_large_photographs_are_in_their_own_pixels():
    large = np.asarray(Image.fromarray(drawn(("rectangle", [90, 100, 209, 299], "brown"))).resize((1500, 2000)))
    assert object_box(large) == pytest.approx((450, 500, 1050, 1500), abs=8)


def test_an_object_that_reaches_the_border_does_not_tilt_the_ground():
    assert object_box(drawn(("rectangle", [100, 150, 180, 399], "brown"))) == pytest.approx((100, 150, 181, 400), abs=3)
