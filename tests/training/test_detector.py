import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotator.detection.boxes import intersection, intersection_over_union
from annotator.detection.windows import integral_image, window_means
from annotator.models.backbones import STRIDE
from annotator.models.box_head import BOX_STRIDE, WINDOW
from training import detector
from training.detector import CROP, HARD, OBJECTS, box_loss, level_part, targets, window_loss, window_targets
from training.head import negative_log_likelihood

CELLS = CROP // BOX_STRIDE


def test_cells_near_the_middle_of_an_object_of_the_right_size_answer_for_it():
    boxes = np.array([[60.0, 100, 60 + WINDOW, 100 + WINDOW]])
    found = targets(boxes, np.array([False]), CELLS, CELLS)
    y, x = (np.mgrid[:CELLS, :CELLS] + 0.5) * BOX_STRIDE
    near = (abs(x - 124) <= WINDOW / 4) & (abs(y - 164) <= WINDOW / 4)
    np.testing.assert_array_equal(found[..., 0] == 1, near)
    for row, column in np.argwhere(near):
        middle = np.array([x[row, column], y[row, column]] * 2)
        np.testing.assert_allclose(found[row, column, 1:] + middle, boxes[0], atol=1e-4)


@pytest.mark.parametrize(("factor", "said"), [(1.0, 1), (1.6, 1), (2.2, -1), (0.5, -1), (3.0, 0), (0.3, 0)])
def test_objects_of_other_sizes_belong_to_other_levels(factor, said):
    half = WINDOW * factor / 2
    found = targets(np.array([[160 - half, 160 - half, 160 + half, 160 + half]]), np.array([False]), CELLS, CELLS)
    assert found[CELLS // 2, CELLS // 2, 0] == said


def test_nothing_is_asked_about_difficult_objects():
    found = targets(np.array([[100.0, 100, 228, 228]]), np.array([True]), CELLS, CELLS)
    assert (found[7:14, 7:14, 0] == -1).all()
    assert (found[..., 0] == 1).sum() == 0


def perfect(wanted):
    said = wanted.copy()
    said[..., 0] = np.where(wanted[..., 0] == 1, 20, -20)
    return said


def test_the_box_loss_is_nothing_for_perfect_boxes_and_grows_with_the_misfit():
    wanted = targets(np.array([[100.0, 100, 228, 228]]), np.array([False]), CELLS, CELLS)[None]
    right = perfect(wanted)
    losses = [float(box_loss(wanted, right)[0])]
    for shift in (10, 40, 200):
        moved = right.copy()
        moved[..., 1::2] += shift
        losses.append(float(box_loss(wanted, moved)[0]))
    assert losses[0] == pytest.approx(0, abs=1e-4)
    assert losses == sorted(losses)
    # Two boxes of one size, one moved by half its width: intersection over union 1/3, hull 3/2 of a box.
    half = right.copy()
    half[..., 1::2] += 64
    answered = (wanted[..., 0] == 1).sum()
    quality = 1 / 3
    entropy = 20 - 20 * quality
    by_hand = (1 - quality) ** 2 * entropy + 2 * (1 - quality)
    assert float(box_loss(wanted, half)[0]) == pytest.approx(by_hand * answered / answered, rel=1e-3)


def test_what_does_not_matter_costs_nothing():
    wanted = targets(np.array([[100.0, 100, 228, 228]]), np.array([True]), CELLS, CELLS)[None]
    said = np.full(wanted.shape, -20, np.float32)
    said[wanted[..., 0] == -1, 0] = 20
    assert float(box_loss(wanted, said)[0]) == pytest.approx(0, abs=1e-4)


def test_the_window_loss_is_that_of_the_mean_logits_and_of_the_hardest_empty_windows():
    random = np.random.default_rng(0)
    cells = CROP // STRIDE
    class_labels = np.array([-1, 0, 1, 0, -1])
    logits = random.normal(0, 2, (2, cells, cells, 5)).astype(np.float32)
    picture = (0, 0, CROP, CROP)
    wanted = np.stack(
        [
            window_targets(np.array([[32.0, 64, 160, 224]]), np.array([1]), np.array([True]), picture),
            window_targets(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0, bool), picture),
        ]
    )
    objects, empty = [], []
    for own, said in zip(wanted, logits, strict=True):
        means = window_means(integral_image(said), own[:, :4])
        for target, mean in zip(own[:, 4], means, strict=True):
            if target > -2:
                loss = negative_log_likelihood(mean[None], np.array([target]), class_labels)[0]
                (objects if target >= 0 else empty).append(loss)
    by_hand = np.mean(objects) + np.mean(sorted(empty)[-2 * HARD :])
    found = keras.ops.convert_to_numpy(window_loss(class_labels)(wanted, logits))
    np.testing.assert_allclose(found, [by_hand, by_hand], rtol=1e-4)


@given(st.integers(0, 10_000))
def test_windows_that_show_nothing_lie_away_from_every_object_and_on_the_picture(seed):
    random = np.random.default_rng(seed)
    corners = random.uniform(-50, CROP, (3, 2))
    boxes = np.concatenate([corners, corners + random.uniform(20, 250, (3, 2))], axis=1)
    inside = (0.0, 0.0, 200.0, 300.0)
    found = window_targets(boxes, np.arange(3), np.array([True, True, False]), inside)
    assert (found[:OBJECTS, 4] == [0, 1, -2, -2]).all()
    assert (found[:, :2] >= 0).all()
    assert (found[:, 2:4] > found[:, :2]).all()
    assert found[:, :4].max() <= CROP // STRIDE
    empty = found[found[:, 4] == -1, :4] * float(STRIDE)
    if len(empty):
        sides = empty[:, 2:] - empty[:, :2]
        shared = intersection(empty[:, None], boxes)
        assert (shared <= 0.1001 * np.prod(sides, axis=1)[:, None]).all()
        assert (intersection(empty, np.array(inside)) > 0.5 * np.prod(sides, axis=1)).all()


@given(st.integers(0, 10_000))
def test_a_part_of_a_level_shows_its_objects_where_its_boxes_say(seed):
    random = np.random.default_rng(seed)
    width, height = (int(side) for side in random.integers(60, 900, 2))
    image = np.full((height, width, 3), (20, 60, 20), np.uint8)
    x0, y0 = int(random.integers(0, width - 40)), int(random.integers(0, height - 40))
    x1, y1 = int(random.integers(x0 + 30, width)), int(random.integers(y0 + 30, height))
    image[y0:y1, x0:x1] = (230, 40, 40)
    part, moved, inside = level_part(image, np.array([[x0, y0, x1, y1]], float), (127, 127, 127), random)
    assert part.shape == (CROP, CROP, 3)
    red = part[..., 0].astype(int) - part[..., 1] > 60
    shown = intersection(moved, np.array([0, 0, CROP, CROP]))[0]
    if shown > 400:
        rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
        seen = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)
        clipped = np.clip(moved[0], 0, CROP)
        np.testing.assert_allclose(seen, clipped, atol=6)
    assert intersection_over_union(np.array(inside), np.array(inside)) == 1


def test_negative_windows_are_all_inside_a_part():
    assert len(detector.NEGATIVES) > 50
    assert detector.NEGATIVES.min() == 0
    assert detector.NEGATIVES.max() == CROP // STRIDE
