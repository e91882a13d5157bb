"""Figures by hand. Whole comparisons are in the tests of training jobs."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from annotator.detection import Detections
from annotator.models.bundle import Label
from training import champion
from training.datasets import Picture, Region
from training.metrics import Figure

LUTE, HARP = Label("Lute", 3394), Label("Harp", 3285)
BOX, FAR = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0)


def found(label, score, box=BOX):
    return Detections(np.array([box]), np.array([label]), np.array([score]))


def both(*some):
    return Detections(*(np.concatenate([getattr(one, name) for one in some]) for name in ("boxes", "labels", "scores")))


@pytest.fixture
def pictures(tmp_path):
    return [Picture(tmp_path / name, name, (Region(HARP, BOX),)) for name in "ab"]


def test_a_named_instrument_needs_its_name_and_any_instrument_does_not(pictures):
    values = champion.resampled([LUTE, HARP], [found(1, 0.9), found(0, 0.8)], pictures)
    for overlap in (10, 30, 50):
        assert values[f"any_ap{overlap}"][0] == 1
        assert values[f"named_ap{overlap}"][0] == 0.5  # one of two found
    assert values["average"][0] == 0.5
    turned = champion.resampled([HARP, LUTE], [found(1, 0.9), found(0, 0.8)], pictures)
    assert turned["named_ap50"][0] == 0.25  # the wrong name comes first: precision 1/2 at recall 1/2


def test_labels_may_come_more_than_once(pictures):
    """As where each fold's model has labels of its own."""
    once = champion.resampled([LUTE, HARP], [found(1, 0.9), found(1, 0.8)], pictures)
    twice = champion.resampled([LUTE, HARP, HARP], [found(1, 0.9), found(2, 0.8)], pictures)
    for name, values in once.items():
        np.testing.assert_array_equal(values, twice[name])


def test_what_is_labelled_with_a_wider_term_is_right_where_people_accepted_that_term(pictures):
    """The ontology has Stringed instruments, not Harp: a harp found is labelled so, and so it was validated."""
    wide = Label("Stringed instruments", 3101)
    accepted = [replace(picture, regions=(Region(wide, BOX),)) for picture in pictures]
    values = champion.resampled([Label("Flute", 3955), HARP], [found(1, 0.9), found(1, 0.8)], accepted)
    assert values["average"][0] == 1
    flutes = champion.resampled([Label("Flute", 3955), HARP], [found(0, 0.9), found(0, 0.8)], accepted)
    assert flutes["average"][0] == 0


def test_looser_boxes_count_at_smaller_overlaps(pictures):
    loose = (0.0, 0.0, 10.0, 25.0)  # intersection over union 0.4
    values = champion.resampled([HARP], [found(0, 0.9, loose), found(0, 0.8, loose)], pictures)
    assert [values[f"named_ap{overlap}"][0] for overlap in (10, 30, 50)] == [1, 1, 0]
    assert values["average"][0] == pytest.approx(2 / 3)


def test_a_doubtful_box_counts_for_no_name(pictures):
    """Whatever the model calls it."""
    doubtful = [replace(one, regions=(*one.regions, Region(LUTE, FAR, difficult=True))) for one in pictures]
    said = [both(found(1, 0.8), found(1, 0.9, FAR))] * 2
    values = champion.resampled([LUTE, HARP], said, doubtful)
    assert values["named_ap50"][0] == values["any_ap50"][0] == 1


def test_views_of_one_artwork_are_drawn_together(tmp_path):
    """Three files of each artwork say no more than one."""
    once = [Picture(tmp_path / name, name, (Region(HARP, BOX),)) for name in "abcdef"]
    thrice = [replace(one, path=tmp_path / f"{one.group}{view}") for one in once for view in range(3)]
    said = [found(int(number % 2), 0.9 - number / 10) for number in range(6)]
    same = champion.resampled([LUTE, HARP], [one for one in said for _ in range(3)], thrice)
    for name, values in champion.resampled([LUTE, HARP], said, once).items():
        np.testing.assert_allclose(same[name], values)


def compared(value, low, high):
    figure = Figure(value=value, low=low, high=high)
    return champion.Comparison(
        {"average": Figure(value=0.2, low=0.1, high=0.3)}, {"average": figure}, {"average": figure}, ()
    )


@pytest.mark.parametrize(
    ("interval", "better", "said"),
    [
        ((0.3, 0.1, 0.5), True, "is better on 9 test images: average precision 0.30 against 0.20"),
        ((0.3, 0.0, 0.5), False, "is not shown to be better"),
        ((-0.1, -0.3, 0.1), False, "is not shown to be better"),
        ((-0.3, -0.5, -0.1), False, "is worse"),
    ],
)
def test_better_is_what_is_shown_to_be(interval, better, said):
    comparison = compared(*interval)
    assert comparison.better is better
    assert said in champion.sentence(comparison, 9)


@pytest.mark.parametrize(
    ("regions", "said", "files"),
    [
        ([Region(HARP, BOX)], [found(1, 0.9)], []),
        ([Region(HARP, BOX)], [found(0, 0.9)], ["wrong.png"]),  # another name
        ([Region(HARP, BOX)], [found(1, 0.9), found(1, 0.8, FAR)], ["wrong.png"]),  # there is nothing
        ([Region(HARP, BOX)], [found(1, 0.9), found(1, 0.3, FAR)], []),  # as little as that nobody is shown
        ([Region(HARP, BOX)], [found(1, 0.3)], ["missed.png"]),
        ([Region(HARP, BOX), Region(LUTE, FAR, difficult=True)], [found(1, 0.9)], []),
        ([Region(HARP, BOX)], [found(1, 0.9, FAR)], ["wrong.png", "missed.png"]),
    ],
)
def test_the_pages_of_errors_show_errors_only(builtin_model, tmp_path, regions, said, files):
    configuration = replace(builtin_model.configuration, labels=(LUTE, HARP), class_labels=(0, 1, -1), threshold=0.5)
    model = replace(builtin_model, configuration=configuration)
    Image.new("RGB", (100, 100)).save(tmp_path / "a.png")
    picture = Picture(tmp_path / "a.png", "a", tuple(regions))
    written = champion.illustrate(model, [both(*said)], [picture], tmp_path)
    assert written == ["precision_recall.png", "confusion.png", *files]
    assert all((tmp_path / name).exists() for name in written)
