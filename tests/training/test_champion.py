"""Figures by hand. Whole comparisons are in the tests of training jobs."""

from dataclasses import replace

import numpy as np
import pytest

from annotator.detection import Detections
from annotator.models.bundle import Label
from training import champion
from training.datasets import Picture, Region

LUTE, HARP = Label("Lute", 3394), Label("Harp", 3285)
BOX = (0.0, 0.0, 10.0, 10.0)


def found(label, score, box=BOX):
    return Detections(np.array([box]), np.array([label]), np.array([score]))


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
