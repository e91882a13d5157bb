import numpy as np
import pytest
from PIL import Image

from training import plots


def test_a_sheet_has_as_many_rows_as_it_needs_and_captions_stay_under_their_pictures():
    pictures = [(np.full((300, 300, 3), 90, np.uint8), np.zeros((0, 4)))] * 7
    assert plots.sheet(pictures[:2]).size == (6 * plots.THUMBNAIL, plots.THUMBNAIL)
    captions = ["Lute 0.97", "Orchestral set of tubular bells with pedals 0.97, is Portative organ", *"abcde"]
    page = plots.sheet(pictures, captions)
    assert page.size == (6 * plots.THUMBNAIL, 2 * plots.THUMBNAIL)
    below = np.asarray(page.convert("L"))[plots.THUMBNAIL - plots.CAPTION : plots.THUMBNAIL].min(axis=0) < 128
    first, second, *_ = below.reshape(6, plots.THUMBNAIL)
    assert first.any()
    assert not first[plots.THUMBNAIL // 2 :].any()
    assert np.flatnonzero(second).max() > 0.9 * plots.THUMBNAIL
    assert not second[-2:].any()


def test_numbers_can_be_read_in_the_dark_fields_of_a_confusion_matrix(tmp_path):
    plots.confusion(np.eye(2)[[1, 1]], np.array([0, 0]), ["Harp", "not found"], tmp_path / "confusion.png")
    with Image.open(tmp_path / "confusion.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    rows, columns = np.nonzero((np.abs(pixels - [8, 48, 107]) < 4).all(axis=2))  # the only field: two harps not found
    field = pixels[rows.min() + 2 : rows.max() - 1, columns.min() + 2 : columns.max() - 1]
    assert field.min(axis=2).max() > 200


def test_boxes_are_drawn_where_they_are_in_narrow_pictures():
    page = plots.sheet([(np.full((1792, 9, 3), 90, np.uint8), np.array([[0, 1600, 9, 1700]]))])
    orange = (np.abs(np.asarray(page).astype(int) - [255, 176, 0]) < 4).all(axis=2)
    rows = np.flatnonzero(orange.any(axis=1)) * 1792 / (plots.THUMBNAIL - 4)
    np.testing.assert_allclose([rows.min(), rows.max()], [1600, 1700], atol=12)


@pytest.mark.parametrize("name", ["Orchestral set of tubular bells with pedals", "a" * 255, "a $x^$ bell", "$$"])
def test_a_confusion_matrix_has_room_for_any_name(tmp_path, name):
    names = [name, name[:-1] + "z"]
    plots.confusion(np.eye(2)[[0, 1]], np.array([0, 1]), names, tmp_path / "confusion.png")
    with Image.open(tmp_path / "confusion.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    dark = (np.abs(pixels - [8, 48, 107]) < 4).all(axis=2)  # two fields, each with a number of 7 points in it
    assert min(dark.any(axis=0).sum(), dark.any(axis=1).sum()) > 40
    assert pixels[[0, -1]].min() == 255  # no name is cut at the border
