import json

import numpy as np
from PIL import Image, ImageDraw

from annotator.embedded import gallery as gallery_module


def test_the_same_seed_draws_the_same_pictures(gallery, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery_module, "SCENES", gallery_module.SCENES[:1])
    gallery_module.draw_gallery(tmp_path)
    name = f"{gallery_module.SCENES[0][0]}.png"
    assert (tmp_path / name).read_bytes() == (gallery / name).read_bytes()


def test_truth_covers_what_was_drawn(gallery):
    truth = json.loads((gallery / "truth.json").read_text())
    assert len(truth["images"]) == len(gallery_module.SCENES)
    for number, (name, _, instruments) in enumerate(gallery_module.SCENES, start=1):
        annotations = [item for item in truth["annotations"] if item["image_id"] == number]
        assert len(annotations) == len(instruments), name
        ground = np.asarray(gallery_module._ground(np.random.default_rng([7, number])), int)
        painted = ground
        inside = Image.new("L", (gallery_module.SIDE, gallery_module.SIDE))
        picture = Image.fromarray(ground.astype(np.uint8))
        for annotation, (instrument, x, y, size, degrees) in zip(annotations, instruments, strict=True):
            side = gallery_module.SIDE
            parts = gallery_module._place(
                gallery_module.INSTRUMENTS[instrument][1](), x * side, y * side, size * side, degrees
            )
            picture = gallery_module._paint(picture, parts)
            ImageDraw.Draw(inside).polygon(annotation["segmentation"][0], fill=255)
            left, top, width, height = annotation["bbox"]
            assert left >= 0
            assert top >= 0
            assert left + width <= side
            assert top + height <= side
        painted = np.asarray(picture, int)
        changed = np.abs(painted - ground).sum(axis=2) > 150  # more than any shadow does on these grounds
        if instruments:
            assert changed[np.asarray(inside) > 0].mean() > 0.1  # a harp is mostly air
            assert (changed & (np.asarray(inside) > 0)).sum() > 0.8 * changed.sum(), name
        else:
            assert not changed.any()
