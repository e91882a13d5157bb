"""What images are for, as two jobs at the same time write it down."""

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
