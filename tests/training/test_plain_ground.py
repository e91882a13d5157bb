import numpy as np
import pytest
from PIL import Image, ImageDraw

from training.plain_ground import object_box


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
