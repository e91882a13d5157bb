import dataclasses
from itertools import pairwise

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotator.detection import blocks, pyramid, windows
from annotator.detection.proposals import proposals
from annotator.models import backbones
from annotator.models.bundle import Model
from training.transfer import extended

WIDTH, HEIGHT = 1914, 1340  # 60 x 42 cells, the last ones partly padding


@pytest.fixture
def small_blocks(monkeypatch):
    """Several bands, blocks in each, and blocks of pixels in these."""
    for name, value in {"FINE_SIDE": 20, "CELLS": 52 * 30, "BAND": 52}.items():
        monkeypatch.setattr(blocks, name, value)


@pytest.fixture(scope="module")
def image():
    """Shapes of all sizes with some noise: what a network answers to differently everywhere."""
    random = np.random.default_rng(3)
    picture = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    for _ in range(400):
        x, y, side = random.integers(0, WIDTH), random.integers(0, HEIGHT), int(np.exp(random.uniform(2, 6)))
        picture[y : y + side, x : x + int(side * random.uniform(0.2, 4))] = random.integers(0, 255, 3)
    return picture + random.integers(0, 9, picture.shape, np.uint8)


@given(st.integers(1, 500), st.integers(1, 120), st.integers(0, 20), st.integers(0, 13))
def test_cores_of_blocks_cover_a_length_and_keep_their_halo(length, core, halo, shared):
    found = blocks.spans(length, 2 * halo + shared + core, halo, shared)
    assert (found[0].first, found[-1].last) == (0, length)
    assert len({span.stop - span.start for span in found}) == 1
    for span in found:
        assert 0 <= span.start <= span.first < span.last <= span.stop <= length
        assert span.first == 0 or span.first - span.start >= halo
        assert span.last == length or span.stop - span.last >= halo
    for before, after in pairwise(found):
        assert before.last < after.last
        assert before.last - after.first >= shared


def assert_same_proposals(found, expected):
    """Whatever the order of those that are as good as each other, or which of them is the last."""
    found, expected = (np.column_stack([boxes, objectness]) for boxes, objectness in (found, expected))
    assert len(found) == len(expected)
    last = expected[:, 4].min() + 1e-3
    for some, others in ((found, expected), (expected, found)):
        nearest = np.abs(some[some[:, 4] > last][:, None] - others).max(axis=2).min(axis=1)
        assert nearest.max() < 1e-3


def assert_same_as_whole(model, image):
    """Part by part against one pass over the level: logits, boxes, windows and their scores, proposals.

    Logits of a level reach 30; a pass in blocks differs by rounding, 1e-4 at the most (another order of additions).
    """
    height, width = image.shape[:2]
    colour = backbones.BACKBONES[model.configuration.backbone].preprocessing.grey
    said = model.network.predict_on_batch(pyramid.pad(image, 32, colour)[None])
    logits, boxes = (said[0][0], said[1][0]) if model.has_boxes else (said[0], None)
    whole = windows.Level(logits / model.configuration.temperature, width, height, boxes)
    made = []

    def read(*arguments):
        made.append(arguments)
        return blocks.in_memory(image, 0).read(*arguments)

    ((_, _, iterator),) = blocks.levels(model, blocks.Finer([(width, height)], read))
    parts = list(iterator)
    assert len(made) == blocks.reads(model, [(width, height)])
    class_labels = np.array(model.configuration.class_labels)

    seen = np.zeros(whole.logits.shape[:2], int)
    for part in parts:
        rows, columns = part.logits.shape[:2]
        place = (slice(part.top, part.top + rows), slice(part.left, part.left + columns))
        np.testing.assert_allclose(part.logits, whole.logits[place], atol=1e-4)
        seen[place][part.known_rows :, part.known_columns :] += 1
    assert (seen == 1).all()

    expected = windows.score_windows([whole], class_labels)
    found = windows.score_parts(iter(parts), class_labels)
    order, other = (np.lexsort(one.cells.T) for one in (expected, found))
    np.testing.assert_array_equal(found.cells[other], expected.cells[order])
    np.testing.assert_allclose(found.boxes[other], expected.boxes[order])
    np.testing.assert_allclose(found.probabilities[other], expected.probabilities[order], atol=1e-4)
    if model.has_boxes:
        offered = None
        for part in parts:
            offered = proposals([part], offered)
        assert_same_proposals(offered, proposals([whole]))
    return parts


@pytest.mark.usefixtures("small_blocks")
def test_a_level_in_blocks_is_what_one_pass_gives(builtin_model, image):
    configuration = dataclasses.replace(builtin_model.configuration, temperature=1.7)  # as of a model that was trained
    parts = assert_same_as_whole(dataclasses.replace(builtin_model, configuration=configuration), image[:1050])
    assert [(part.left > 0, part.top > 0) for part in parts] == [
        (False, False),
        (False, True),
        (True, False),
        (True, True),
    ]


@pytest.mark.usefixtures("small_blocks")
def test_a_box_head_sees_farther(builtin_model, image, monkeypatch):
    for name, value in {"CELLS": 57 * 40, "BAND": 57}.items():  # or each block would have a core of one row
        monkeypatch.setattr(blocks, name, value)
    keras.utils.set_random_seed(1)
    assert_same_as_whole(extended(builtin_model, [], boxes=True), image)


@pytest.fixture(scope="module")
def tiny_model(builtin_model):
    """A backbone of five convolutions of stride 2, which sees 31 pixels to each side: one cell."""

    def build(tensor):
        for number in range(5):
            tensor = keras.layers.Conv2D(6, 3, 2, "same", activation="tanh", name=f"tiny_{number}")(tensor)
        return tensor

    keras.utils.set_random_seed(2)
    known = backbones.BACKBONES["efficientnet-lite0"]
    tiny = dataclasses.replace(known, build=build, shallower=("tiny_2", "tiny_3"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones.BACKBONES, "tiny", tiny)
        configuration = dataclasses.replace(
            builtin_model.configuration, backbone="tiny", labels=builtin_model.labels[:2], class_labels=(0, -1, 1, -1)
        )
        yield Model(configuration, backbones.build_network("tiny", 4), "")


@settings(max_examples=10, deadline=None)
@given(
    st.integers(1, 900),
    st.integers(1, 900),
    st.integers(5, 20),
    st.integers(1, 400),
    st.integers(16, 40),
    st.integers(1, 4),
)
def test_whatever_the_blocks_and_their_halo(tiny_model, width, height, fine_side, cells, band, halo):
    random = np.random.default_rng(height)
    sizes = {"FINE_SIDE": fine_side, "CELLS": cells, "BAND": 2 * halo + band, "HALO": halo}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in sizes.items():
            patch.setattr(blocks, name, value)
        patch.setattr(windows, "CANDIDATES", 10**6)  # at a cut two windows that are alike might change places
        assert_same_as_whole(tiny_model, random.integers(0, 255, (height, width, 3), np.uint8))
