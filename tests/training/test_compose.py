import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from annotator.errors import AnnotatorError
from training import compose, datasets, photographs, runs, splits
from training.compose import BLENDS, Cutout, blend, blob, composite, cut_out, recoloured, turned


def photograph(colour=(200, 30, 20), side=96):
    """A coloured disc with a handle, on white."""
    image = Image.new("RGB", (side, side), (250, 250, 250))
    draw = ImageDraw.Draw(image)
    draw.ellipse([20, 40, 60, 80], fill=colour)
    draw.rectangle([36, 10, 44, 45], fill=colour)
    return np.asarray(image)


def test_the_object_is_cut_out_of_its_ground():
    cutout = cut_out(photograph())
    assert cutout.mask.shape == pytest.approx((71, 41), abs=2)
    assert (cutout.pixels[cutout.mask] == (200, 30, 20)).all(axis=1).mean() > 0.95


@pytest.mark.parametrize(
    "picture",
    [
        np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8),  # no ground
        np.full((96, 96, 3), 255, np.uint8),  # no object
    ],
)
def test_a_photograph_without_plain_ground_or_object_is_not_used(picture):
    assert cut_out(picture) is None


def test_turning_keeps_the_object_and_gives_it_the_asked_size():
    cutout = cut_out(photograph())
    for angle in (0, 90, 33):
        piece = turned(cutout, angle, 120, mirrored=False)
        assert max(piece.mask.shape) == 120
        assert piece.pixels.shape[:2] == piece.mask.shape
        assert (np.abs(piece.pixels[piece.mask].astype(int) - (200, 30, 20)).max(axis=1) < 60).mean() > 0.9
    upright, lying = (turned(cutout, angle, 120, mirrored=False).mask.shape for angle in (0, 90))
    assert upright == pytest.approx(lying[::-1], abs=2)


@given(st.integers(0, 1000))
def test_a_blob_is_a_piece_of_its_picture(seed):
    picture = np.random.default_rng(0).integers(0, 255, (64, 90, 3), np.uint8)
    piece = blob(picture, np.random.default_rng(seed))
    assert piece.pixels.shape[:2] == piece.mask.shape
    assert piece.mask.shape[0] <= 64
    assert piece.mask.shape[1] <= 90


@pytest.mark.parametrize("how", BLENDS)
def test_blends_show_the_object_inside_and_the_ground_outside(how):
    under = np.full((40, 40, 3), 200, np.uint8)
    mask = np.zeros((40, 40), bool)
    mask[12:28, 12:28] = True
    mixed = blend(under, Cutout(np.full((40, 40, 3), 20, np.uint8), mask), how)
    assert mixed[20, 20].max() <= 40
    assert mixed[2, 2].min() >= 195


def test_recolouring_takes_the_colours_of_the_place():
    cutout = cut_out(photograph())
    around = np.random.default_rng(0).normal(100, 30, (50, 50, 3)).clip(0, 255)
    same, there = (recoloured(cutout, around, share) for share in (0.0, 1.0))
    np.testing.assert_allclose(same.pixels[same.mask], cutout.pixels[cutout.mask], atol=1)
    np.testing.assert_allclose(there.pixels[there.mask].mean(axis=0), around.mean(axis=(0, 1)), atol=8)
    empty = Cutout(cutout.pixels, np.zeros_like(cutout.mask))
    assert recoloured(empty, around, 0.5).pixels.shape == cutout.pixels.shape


def test_boxes_bound_what_was_pasted():
    ground = np.full((400, 600, 3), 90, np.uint8)
    for seed in range(20):
        random = np.random.default_rng(seed)
        cutout = cut_out(photograph((255, 0, 0)))
        picture, boxes = composite(ground, [cutout, cutout], [], random)
        changed = np.abs(picture.astype(int) - np.median(picture, axis=(0, 1))).max(axis=2) > 60
        for x0, y0, x1, y1 in boxes[boxes[:, 2] > 0].astype(int):
            assert 0 <= x0 < x1 <= 600
            assert 0 <= y0 < y1 <= 400
            changed[max(0, y0 - 8) : y1 + 8, max(0, x0 - 8) : x1 + 8] = False
        assert changed.mean() < 0.002


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    random = np.random.default_rng(1)
    for name, colour in (("lute", (200, 30, 20)), ("harp", (20, 40, 210))):
        (folder / "photographs" / name).mkdir(parents=True)
        for number in range(12):
            shifted = np.clip(np.array(colour) + random.integers(-20, 20, 3), 0, 255)
            image = np.roll(photograph(tuple(shifted.tolist())), tuple(random.integers(-8, 8, 2)), (0, 1))
            Image.fromarray(image).save(folder / "photographs" / name / f"{number}.png")
    (folder / "grounds").mkdir()
    for number in range(12):
        small = random.integers(0, 255, (5, 5, 3), np.uint8)
        Image.fromarray(small).resize((300, 240)).save(folder / "grounds" / f"{number}.png")
    return folder


def test_composites_are_a_data_set_whose_parts_share_no_source(sources, tmp_path):
    compose.run([sources / "photographs"], sources / "grounds", tmp_path / "out", 30, None, 7)
    pictures = datasets.read(tmp_path / "out")
    assert len(pictures) == 30
    assert {region.label.name for picture in pictures for region in picture.regions} == {"Lute", "Harp"}
    of_part = {
        part: {source for picture in pictures if picture.part == part for source in picture.sources}
        for part in ("training", "development", "test")
    }
    assert all(of_part.values())
    assert not of_part["training"] & (of_part["development"] | of_part["test"])
    assert (tmp_path / "out" / "sheet.jpg").stat().st_size > 1000
    assert perfect_precision(tmp_path / "out/annotations.json") == 1

    compose.run([sources / "photographs"], sources / "grounds", tmp_path / "again", 30, None, 7)
    names = ["annotations.json", *(f"images/{picture.path.name}" for picture in pictures)]
    assert [(tmp_path / "out" / name).read_bytes() for name in names] == [
        (tmp_path / "again" / name).read_bytes() for name in names
    ]


def perfect_precision(file):
    """What pycocotools, and so most other programs, say of boxes that are just those of a data set."""
    truth = COCO(file)
    rows = [
        {key: item[key] for key in ("image_id", "category_id", "bbox")} | {"score": 1.0} for item in truth.anns.values()
    ]
    evaluation = COCOeval(truth, truth.loadRes(rows), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats[0]


def test_without_plain_ground_there_is_nothing_to_paste(sources, tmp_path):
    random = np.random.default_rng(1)
    (tmp_path / "noise" / "lute").mkdir(parents=True)
    for number in range(12):
        Image.fromarray(random.integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "noise/lute" / f"{number}.png")
    with pytest.raises(AnnotatorError, match="plain ground"):
        compose.run([tmp_path / "noise"], sources / "grounds", tmp_path / "out", 3, None, 7)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnnotatorError, match="There are no pictures"):
        compose.run([sources / "photographs"], tmp_path / "empty", tmp_path / "out", 3, None, 7)
    with pytest.raises(AnnotatorError, match="--count is 0, it must be at least 1"):
        compose.run([sources / "photographs"], sources / "grounds", tmp_path / "out", 0, None, 7)


def test_too_few_grounds_are_told_as_such(sources, tmp_path):
    for number in range(3):
        Image.new("RGB", (90, 80), (number, 0, 0)).save(tmp_path / f"{number}.png")
    with pytest.raises(AnnotatorError, match=r"3 pictures in .* are too few .* Add pictures without instruments"):
        compose.run([sources / "photographs"], tmp_path, tmp_path / "out", 2, None, 7)


def test_no_boxes_of_earlier_composites_are_left_when_it_is_stopped(sources, tmp_path, monkeypatch):
    compose.run([sources / "photographs"], sources / "grounds", tmp_path, 10, None, 7)
    assert (tmp_path / "annotations.json").exists()

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(compose, "composite", stopped)
    with pytest.raises(KeyboardInterrupt):
        compose.run([sources / "photographs"], sources / "grounds", tmp_path, 10, None, 8)
    assert not (tmp_path / "annotations.json").exists()


def test_photographs_in_coco_s_format_that_show_no_or_several_instruments_are_passed_over(sources, tmp_path):
    folder = tmp_path / "coco"
    folder.mkdir()
    images, annotations = [], []
    for number, file in enumerate(sorted((sources / "photographs").rglob("*.png"))):
        with Image.open(file) as picture:
            picture.save(folder / f"{number}.png")
            box = [0, 0, *picture.size]
        images.append({"id": number, "file_name": f"{number}.png"})
        annotations += [{"image_id": number, "category_id": 1, "bbox": box}] * (number % 3)
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "lute"}]}
    (folder / "annotations.json").write_text(json.dumps(content))
    compose.run([folder], sources / "grounds", tmp_path / "out", 10, None, 7)
    assert len(datasets.read(tmp_path / "out")) == 10


def test_composites_part_like_their_photographs_also_beside_a_rare_instrument(tmp_path, random):
    for label, count in {"violin": 30, "harp": 30, "rebec": 3}.items():
        (tmp_path / "photographs" / label).mkdir(parents=True)
        for number in range(count):
            picture = np.full((96, 96, 3), 255, np.uint8)
            block = Image.fromarray(random.integers(0, 200, (6, 6, 3), np.uint8)).resize((50, 60), 0)
            picture[18:78, 23:73] = block
            Image.fromarray(picture).save(tmp_path / "photographs" / label / f"{number}.png")
    (tmp_path / "grounds").mkdir()
    for number in range(20):
        coarse = Image.fromarray(random.integers(0, 255, (8, 8, 3), np.uint8))
        coarse.resize((200, 200)).save(tmp_path / "grounds" / f"{number}.png")
    compose.run([tmp_path / "photographs"], tmp_path / "grounds", tmp_path / "composed", 30, None, 7)
    every = [picture for name in ("photographs", "composed") for picture in datasets.read(tmp_path / name)]
    prints = splits.readable(every)
    kept = photographs.enough(list(prints))
    assert 0 < len(prints) - len(kept) <= 30 + 3  # the rebecs are too few to learn
    parts = runs.part(list(prints), prints, None, 7, tmp_path / "splits.csv").only(kept)
    splits.check_leaks(parts, prints)
    assert all(parts.__dict__.values())
