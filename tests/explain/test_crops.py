import numpy as np
import pytest
from PIL import Image

from annotator.detection import blocks
from annotator.explain.crops import SIDE, crop_around, crop_explainer_of, explain_crops, finest_crop

GREY = (127, 127, 127)


@pytest.fixture(scope="module")
def explaining(builtin_model):
    return crop_explainer_of(builtin_model)


def test_the_box_lies_in_the_middle_of_its_crop():
    image = np.zeros((300, 400, 3), np.uint8)
    image[100:200, 150:200] = 255  # 100 high, so the crop measures 140
    crop = crop_around(image, np.array([150, 100, 200, 200.0]), GREY)
    assert crop.shape == (SIDE, SIDE, 3)
    rows, columns = np.nonzero(crop[..., 0] > 127)
    edges = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    np.testing.assert_allclose(edges, np.array([45, 20, 95, 120]) * SIDE / 140, atol=2)


@pytest.mark.parametrize(
    ("box", "share"),
    [
        ((0, 0, 40, 40), 1),
        ((360, 260, 400, 300), 1),
        ((398.5, 10, 400, 11), 1),
        ((0, 0, 400, 300), 400 * 300 / 560**2),
        ((100, 0, 120, 300), 400 * 300 / 420**2),
    ],
)
def test_only_where_the_picture_is_too_narrow_is_there_nothing(box, share):
    crop = crop_around(np.full((300, 400, 3), 255, np.uint8), np.array(box, float), GREY)
    assert set(np.unique(crop)) <= {127, 255}
    assert (crop[..., 0] == 255).mean() == pytest.approx(share, abs=0.02)


def test_at_the_border_the_crop_moves_and_not_its_content():
    image = np.zeros((300, 400, 3), np.uint8)
    image[200:300, 350:400] = 255  # the crop reaches from 260 to 400 and from 160 to 300
    crop = crop_around(image, np.array([350, 200, 400, 300.0]), GREY)
    rows, columns = np.nonzero(crop[..., 0] > 127)
    edges = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    np.testing.assert_allclose(edges, np.array([90, 40, 140, 140]) * SIDE / 140, atol=2)


@pytest.mark.parametrize(
    ("box", "width"),  # of the level that the crop is cut from; 1000 is what it is cut from in any case
    [((500, 200, 530, 264), 2560), ((0, 370, 20, 400), 3584), ((990, 0, 1000, 5), 3584), ((300, 40, 600, 360), 1000)],
)
def test_a_small_box_is_cut_from_the_level_that_shows_all_of_it(box, width):
    random = np.random.default_rng(0)
    cells = random.integers(0, 255, (160, 400, 3), np.uint8)
    full = Image.fromarray(np.kron(cells, np.ones((10, 10, 1), np.uint8)))
    sizes = {side: np.asarray(full.resize((side, side * 2 // 5), Image.Resampling.LANCZOS)) for side in (1000, width)}
    read = []
    finer = blocks.in_memory(np.asarray(full), 4000)
    noted = blocks.Finer(finer.sizes, lambda size, part: read.append(size) or finer.read(size, part))
    crop = finest_crop(sizes[1000], np.array(box, float), GREY, noted)
    assert {1000, *(size[0] for size in read)} == {1000, width}
    wanted = crop_around(sizes[width], np.array(box, float) * width / 1000, GREY)
    assert np.abs(crop.astype(int) - wanted).mean() < 1


def test_each_detection_is_explained_for_its_own_label_whatever_the_batch(builtin_model, explaining, gallery):
    with Image.open(gallery / "harp_in_oil.png") as picture:
        image = np.asarray(picture.convert("RGB").resize((300, 300)))
    boxes = np.repeat([[30.0, 20, 280, 290]], 18, axis=0)
    labels = np.arange(18)
    found = explain_crops(builtin_model, explaining, image, boxes, labels)
    assert found.crops.shape == (18, SIDE, SIDE, 3)
    assert found.visual_backprop.shape == found.class_masks.shape == (18, SIDE, SIDE)
    np.testing.assert_allclose(found.visual_backprop, found.visual_backprop[:1].repeat(18, axis=0), atol=1e-4)
    assert np.abs(np.diff(found.class_masks, axis=0)).max(axis=(1, 2)).min() > 0.1
    alone = explain_crops(builtin_model, explaining, image, boxes[17:], labels[17:])
    np.testing.assert_allclose(alone.class_masks[0], found.class_masks[17], atol=1e-3)


def test_no_detections_no_crops(builtin_model, explaining):
    found = explain_crops(builtin_model, explaining, np.zeros((9, 9, 3), np.uint8), np.zeros((0, 4)), np.zeros(0, int))
    assert [len(item) for item in found] == [0, 0, 0]
