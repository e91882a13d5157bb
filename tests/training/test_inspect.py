import csv
import json

import numpy as np
from PIL import Image

from tests.training.commands import run_here
from training import datasets, inspect


def write(folder, annotations, count=3):
    (folder / "images").mkdir(parents=True)
    random = np.random.default_rng(3)
    for number in range(count):
        small = random.integers(0, 255, (6, 6, 3), np.uint8)
        Image.fromarray(small).resize((200, 100), Image.Resampling.BICUBIC).save(folder / "images" / f"{number}.png")
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 200, "height": 100} for i in range(count)],
        "categories": [{"id": 1, "name": "violins"}, {"id": 2, "name": "discus"}],
        "annotations": [
            {"id": i, "image_id": image, "category_id": category, "bbox": box, "ignore": ignore}
            for i, (image, category, box, ignore) in enumerate(annotations)
        ],
    }
    (folder / "annotations.json").write_text(json.dumps(content))


ANNOTATIONS = [
    (0, 1, [10, 10, 40, 40], 0),
    (0, 1, [100, 0, 90, 40], 0),
    (1, 1, [0, 0, 20, 20], 1),
    (1, 2, [0, 0, 200, 100], 0),
]


def test_labels_objects_and_sizes_are_counted(tmp_path):
    write(tmp_path / "data", ANNOTATIONS)
    pictures = datasets.read(tmp_path / "data")
    assert inspect.label_counts(pictures) == [
        {"label": "Violin", "mimo_id": 3573, "regions": 2, "objects": 1, "difficult": 1},
        {"label": "discus", "mimo_id": "", "regions": 1, "objects": 1, "difficult": 0},
    ]
    np.testing.assert_allclose(inspect.box_sides(pictures), np.sqrt([1600, 3600, 400, 20000]) / 200)


def test_names_that_are_no_utf_8_are_written_down(tmp_path):
    (tmp_path / "flute").mkdir()
    for number in range(2):
        Image.new("RGB", (60, 40), "navy").save(tmp_path / "flute" / f"Fl\udcf6te{number}.png")
    inspect.run([tmp_path], None, tmp_path / "out", 0)
    assert r"Fl\udcf6te0.png" in (tmp_path / "out" / "near_duplicates.csv").read_text(encoding="utf-8")


def test_what_cannot_be_used_is_named(tmp_path):
    write(tmp_path / "data", ANNOTATIONS)
    images = tmp_path / "data" / "images"
    Image.open(images / "0.png").resize((400, 200), Image.Resampling.BICUBIC).save(images / "1.png")
    (images / "2.png").write_bytes(b"no picture")
    result = run_here("inspect", "--data", tmp_path / "data", "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert "2 pictures, 0 without instruments; pairs that show nearly the same: 1." in result.stdout
    assert "'2.png' cannot be read" in result.stderr
    assert "Too few to judge by, less than 10 objects: Violin, discus." in result.stderr
    with (tmp_path / "out" / "near_duplicates.csv").open() as file:
        assert [[name[-5:] for name in row] for row in csv.reader(file)] == [["one", "other"], ["0.png", "1.png"]]
    assert Image.open(tmp_path / "out" / "sheet.jpg").size == (1920, 320)
