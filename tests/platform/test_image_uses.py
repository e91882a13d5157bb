"""What images are for, as two jobs at the same time write it down."""

import numpy as np
import pytest

from annotator.platform import image_uses, properties
from annotator.platform.image_uses import TEST, TRAINING, USE
from annotator.platform.images import choose_images


@pytest.fixture
def image(connection, project, picture):
    project.add_image(picture)
    return choose_images(connection, project.id, ())[0]


@pytest.mark.parametrize(("first", "second"), [(TEST, TRAINING), (TRAINING, TEST), (TEST, TEST)])
def test_of_two_decisions_the_first_stands_for_both(connection, image, first, second):
    """Cores take a second value of the same key, so taking it does not say that it counts."""
    properties.record(connection, properties.IMAGE, image.id, USE, first, image.name)  # by another job, just before
    assert image_uses.record(connection, image, second) == first
    assert image_uses.recorded(connection, [image]) == {image.id: first}


def test_a_decision_is_written_down(connection, image):
    assert image_uses.recorded(connection, [image]) == {}
    assert image_uses.record(connection, image, TEST) == TEST


def test_a_value_that_nobody_of_ours_wrote_decides_nothing(connection, image):
    properties.record(connection, properties.IMAGE, image.id, USE, "perhaps", image.name)
    assert image_uses.recorded(connection, [image]) == {}


def decided(images, *, groups=(), kinds=(), complete=None, before=()):
    """Of images each of which is an artwork of its own, of one kind, and looked through, but for what is told."""
    own = {image: f"artwork {image}" for image in images} | dict(groups)
    kind = dict.fromkeys(images, "lute") | dict(kinds)
    return image_uses.decide(own, kind, list(images) if complete is None else complete, dict(before))


@pytest.mark.parametrize(("count", "tests"), [(1, 0), (2, 1), (3, 1), (4, 2), (9, 3), (10, 4)])
def test_a_third_of_each_kind_is_for_the_test_but_never_all_of_it(count, tests):
    kinds = {image: ("lute", "nothing")[image >= count] for image in range(2 * count)}
    found = decided(range(2 * count), kinds=kinds)
    assert set(found) == set(kinds)
    for kind in set(kinds.values()):
        assert [found[image] for image in kinds if kinds[image] == kind].count(TEST) == tests


def test_the_draw_is_by_lot_and_those_drawn_first_teach_nothing_before():
    """In a project that grows image by image the test is not of what was uploaded first."""
    found = decided(range(3000))
    tested = [image for image, use in found.items() if use == TEST]
    assert sum(image < 1500 for image in tested) == pytest.approx(500, abs=50)
    assert np.mean([image_uses.may_teach(image) for image in tested]) < 0.1
    assert np.mean([image_uses.may_teach(image) for image in set(found) - set(tested)]) > 0.9


def test_only_images_that_were_looked_through_judge():
    found = decided(range(30), complete=range(9))
    assert {image for image, use in found.items() if use == TEST} <= set(range(9))
    assert sum(use == TEST for use in found.values()) == 3
    # Of an artwork of which one image was not looked through, none does.
    artworks = {image: image // 2 for image in range(18)}
    found = decided(range(18), groups=artworks, complete=range(0, 18, 2))
    assert set(found.values()) == {TRAINING}


def test_what_was_decided_stays_and_counts():
    before = {image: TEST if image < 3 else TRAINING for image in range(9)}
    assert decided(range(9), before=before) == before
    more = decided(range(12), before=before)
    assert before.items() <= more.items()
    assert sum(use == TEST for use in more.values()) == 4
    # An image that joins an artwork is for what that is for, if people looked through it.
    joined = decided(range(11), groups={9: "artwork 0", 10: "artwork 0"}, complete=range(10), before=before)
    assert joined == before | {9: TEST}


def test_where_an_artwork_came_apart_what_was_learnt_neither_judges_nor_teaches():
    before = {0: TRAINING, 1: TEST, 2: TRAINING}
    found = decided(range(4), groups=dict.fromkeys((0, 1, 3), "one artwork"), before=before)
    assert found == {1: TEST, 2: TRAINING}
