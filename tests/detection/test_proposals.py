import numpy as np

from annotator.detection import proposals
from annotator.detection.windows import Level
from annotator.models.backbones import STRIDE
from annotator.models.box_head import BOX_STRIDE


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
