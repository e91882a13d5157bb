import numpy as np
import pytest

from annotator.detection import proposals
from annotator.detection.windows import Level, score_cells
from annotator.models.backbones import STRIDE
from annotator.models.box_head import BOX_STRIDE

CLASS_LABELS = np.array([-1, 0, 1, 1])


def level(width, height, seed=0):
    random = np.random.default_rng(seed)
    rows, columns = -(-height // STRIDE), -(-width // STRIDE)
    boxes = random.normal(0, 60, (2 * rows, 2 * columns, 5)).astype(np.float32)
    boxes[..., 3:] = boxes[..., 1:3] + random.uniform(-5, 200, (2 * rows, 2 * columns, 2))
    return Level(random.normal(0, 3, (rows, columns, 4)).astype(np.float32), width, height, boxes)


def test_proposals_are_the_surest_boxes_of_all_levels_in_one_frame():
    levels = [level(300, 200), level(150, 100, 1)]
    wanted = []
    for one in levels:
        for row, column in np.ndindex(one.boxes.shape[:2]):
            x, y = (column + 0.5) * BOX_STRIDE, (row + 0.5) * BOX_STRIDE
            if x - BOX_STRIDE / 2 < one.width and y - BOX_STRIDE / 2 < one.height:
                corners = np.clip((one.boxes[row, column, 1:] + [x, y, x, y]) / ([one.width, one.height] * 2), 0, 1)
                if corners[2] > corners[0] and corners[3] > corners[1]:
                    wanted.append((one.boxes[row, column, 0], *corners))
    wanted.sort(key=lambda row: -row[0])
    boxes, objectness = proposals.proposals(levels)
    np.testing.assert_allclose(objectness, [row[0] for row in wanted], rtol=1e-6)
    np.testing.assert_allclose(boxes, [row[1:] for row in wanted], atol=1e-5)


def test_no_more_than_the_surest_are_looked_at(monkeypatch):
    monkeypatch.setattr(proposals, "PROPOSALS", 7)
    boxes, objectness = proposals.proposals([level(300, 200)])
    assert boxes.shape == (7, 4)
    assert (np.diff(objectness) <= 0).all()


@pytest.mark.parametrize("size", [(300, 200), (20, 900), (32, 32)])
def test_boxes_are_named_by_the_cells_they_cover(size):
    levels = [level(*size), level(max(1, size[0] // 2), max(1, size[1] // 2), 1)]
    random = np.random.default_rng(3)
    low = random.uniform(0, 0.99, (50, 2))
    boxes = np.concatenate([low, low + random.uniform(0.005, 1, (50, 2)) * (1 - low)], axis=1)
    found = proposals.named(levels, boxes, CLASS_LABELS)
    np.testing.assert_array_equal(found.boxes, boxes)
    for i in range(50):
        cells = [np.zeros((0, 4), int)] * 2
        cells[found.levels[i]] = found.cells[i : i + 1]
        alone = score_cells(levels, cells, CLASS_LABELS)
        np.testing.assert_allclose(found.probabilities[i], alone.probabilities[0], rtol=1e-4)
        x0, y0, x1, y1 = found.cells[i]
        rows, columns = levels[found.levels[i]].logits.shape[:2]
        assert 0 <= x0 < x1 <= columns
        assert 0 <= y0 < y1 <= rows


def test_large_boxes_are_named_on_small_levels():
    levels = [level(1600, 1600), level(800, 800, 1), level(200, 200, 2)]
    boxes = np.array([[0.4, 0.4, 0.52, 0.52], [0.2, 0.2, 0.45, 0.45], [0, 0, 1, 1]])
    np.testing.assert_array_equal(proposals.named(levels, boxes, CLASS_LABELS).levels, [0, 1, 2])
