import dataclasses
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from pycocotools.coco import COCO
from shapely.geometry import box

from annotator.errors import ExitCode
from annotator.models import bundle
from annotator.report.coco import Finding, Neighbour, Picture, alternatives_text, as_coco
from annotator.report.page import write_page

ROOT = Path(__file__).parents[1]


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


def demo(*arguments):
    command = [sys.executable, "-m", "annotator", "demo", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)


def test_a_folder_of_pictures(gallery, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    hostile = "<b>harp & co.png"
    (pictures / hostile).write_bytes((gallery / "harp_in_oil.png").read_bytes())
    unprintable = "night\tof\udc8d.jpg"
    Image.new("RGB", (60, 40), "navy").save(pictures / unprintable)
    (pictures / "notes.jpg").write_text("no picture at all")
    ended = demo("--images", pictures, "--out", tmp_path / "out", "--threshold", "0.05", "--max_detections", "3",
                 "--evidence", "true")  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Left out 'notes.jpg': no picture" in ended.stdout
    assert "report.html" in ended.stdout

    found = json.loads((tmp_path / "out/detections.json").read_text())
    assert [(item["file_name"], item["width"], item["height"]) for item in found["images"]] == [
        (hostile, 1000, 1000),
        (unprintable, 60, 40),
    ]
    assert (found["info"]["threshold"], found["info"]["default_threshold"]) == (0.05, 0.5)
    assert {"connect", "model", "fetch", "detect", "upload"} <= set(found["info"]["seconds"])
    categories = {item["id"]: item for item in found["categories"]}
    on_harp = [item for item in found["annotations"] if item["image_id"] == 1]
    assert 1 <= len(on_harp) <= 3
    best = max(on_harp, key=lambda item: item["score"])
    assert categories[best["category_id"]]["mimo_id"] == "3285"
    x, y, width, height = best["bbox"]
    assert box(120, 60, 960, 945).buffer(60).covers(box(x, y, x + width, y + height))

    page = (tmp_path / "out/report.html").read_text()
    assert "<b>harp" not in page
    assert "&lt;b&gt;harp &amp; co.png" in page
    assert "night?of?.jpg" in page
    assert page.count('class="evidence"') == len(found["annotations"])


def test_a_model_of_ones_own(builtin_model, gallery, tmp_path):
    own = tuple(0.15 + 0.02 * number for number in range(len(builtin_model.labels)))
    configuration = dataclasses.replace(builtin_model.configuration, name="mine", threshold=0.25, thresholds=own)
    bundle.save(dataclasses.replace(builtin_model, configuration=configuration), tmp_path / "bundle")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/harp.png").write_bytes((gallery / "harp_in_oil.png").read_bytes())
    ended = demo("--images", tmp_path / "pictures", "--out", tmp_path / "out", "--model", tmp_path / "bundle")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads((tmp_path / "out/detections.json").read_text())
    assert found["info"]["model"].startswith("mine ")
    assert found["info"]["threshold"] == 0.25
    assert found["info"]["thresholds"] == {
        label.name: threshold for label, threshold in zip(builtin_model.labels, own, strict=True)
    }
    assert found["annotations"]
    assert f"0.15 to {own[-1]:.3g}, by instrument" in (tmp_path / "out/report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--images", "/no/such/folder"), ExitCode.USAGE, "There is no folder /no/such/folder"),
        (("--images", ROOT / ".ci"), ExitCode.USAGE, "holds no pictures"),
        (("--images", ROOT / "docs", "--threshold", "high"), ExitCode.USAGE, "--threshold is 'high'"),
        (("--thresold", "0.3"), ExitCode.USAGE, "run.py --help shows all parameters."),
        (("--model", "/no/such/model"), ExitCode.BAD_MODEL, "There is no model /no/such/model"),
        (("--out", "/proc/nothing/here"), ExitCode.DISK, "/proc/nothing"),
    ],
)
def test_mistakes(tmp_path, arguments, code, message):
    ended = demo(*(() if "--out" in arguments else ("--out", tmp_path / "out")), *arguments)
    assert ended.returncode == code
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "Drawing" not in ended.stdout  # which takes a while


PICTURES = [
    Picture(
        "a.png",
        100,
        80,
        [
            Finding("Violin", 3573, 0.9, box(10, 20, 30, 60), "Viola 0.70"),
            Finding("Oddity", None, 0.4, box(0, 0, 5, 5)),
        ],
        b"jpeg",
    ),
    Picture("b.png", 50, 50, [], b"jpeg"),
    Picture("c.png", 10, 10, [], b"jpeg", "c.png: its pixels cannot be decoded"),
]
INFO = {"model": "m 1", "default_threshold": 0.5, "threshold": 0.3, "seconds": {"detect": 1.5}}


def test_coco_file_is_read_by_pycocotools(tmp_path):
    written = as_coco(PICTURES, [("Violin", 3573), ("Lute", 3394)], INFO)
    (tmp_path / "coco.json").write_text(json.dumps(written))
    coco = COCO(tmp_path / "coco.json")
    annotation = coco.loadAnns(coco.getAnnIds(imgIds=[1]))[0]
    assert annotation["bbox"] == [10, 20, 20, 40]
    assert annotation["also"] == "Viola 0.70"
    assert coco.annToMask(annotation).sum() == 800
    assert [(item["name"], item["mimo_id"]) for item in written["categories"]] == [
        ("Lute", "3394"),
        ("Oddity", ""),
        ("Violin", "3573"),
    ]
    assert written["info"] == INFO
    assert [image.get("error") for image in written["images"]] == [None, None, PICTURES[2].error]


def test_hostile_file_names_neither_stop_the_page_nor_turn_its_text():
    name = "half \ud83d a character, \u202egnp.exe"
    text = write_page([dataclasses.replace(PICTURES[0], file_name=name)], INFO)
    assert "half ? a character" in text.encode("utf-8").decode("utf-8")
    assert "\u202e" not in text


def test_page_shows_everything_and_needs_nothing():
    text = write_page(PICTURES, INFO)
    tags = Tags(text).tags
    assert "2 musical instruments in 1 of 3" in " ".join(text.split())
    assert [attributes["points"] for tag, attributes in tags if tag == "polygon"][-1].startswith("30.0,20.0")
    assert "or Viola 0.70" in text
    assert "MIMO 3573 · Hornbostel-Sachs 321.322-7 · Violins" in text
    assert "c.png: its pixels cannot be decoded" in text
    addresses = [value for _, attributes in tags for name, value in attributes.items() if name in ("src", "href")]
    assert addresses
    assert all(address.startswith("data:") for address in addresses)
    assert not re.search(r"https?://", text)
    assert all(attributes.get("alt") for tag, attributes in tags if tag == "img")


def test_no_two_instruments_look_alike_on_the_page():
    names = [f"Instrument {number}" for number in range(24)]
    findings = [Finding(name, None, 0.5, box(0, 0, 5, 5)) for name in names]
    tags = Tags(write_page([Picture("a.png", 9, 9, findings, b"jpeg")], INFO)).tags
    for kind, colour in (("polygon", "stroke"), ("span", "style")):
        looks = [
            (own[colour], own["class"].removeprefix("bar").removeprefix("swatch"))
            for tag, own in tags
            if tag == kind and colour in own
        ]
        assert len(looks) == len(names) * (1 if kind == "polygon" else 2)  # each name has a bar and a swatch
        assert len(set(looks)) == len(looks)


def test_a_page_holds_the_best_that_a_browser_can_open_and_all_that_failed(monkeypatch):
    monkeypatch.setattr("annotator.report.page.MOST_BYTES", 100)
    pictures = [
        Picture(f"{number}.png", 9, 9, [Finding("Lute", None, number / 10, box(0, 0, 5, 5), "", bytes(20))], bytes(20))
        for number in range(9)
    ]
    text = write_page([*pictures, Picture("failed.png", 9, 9, error="gone")], INFO | {"left_out": 3})
    shown = [own["alt"] for tag, own in Tags(text).tags if tag == "img" and own["alt"].endswith(".png")]
    assert shown == ["8.png", "7.png"]
    assert "2 musical instruments in 2 of 3" in " ".join(text.split())
    assert "none of its figures: 10 more" in " ".join(text.split())
    assert "failed.png" in text


def test_all_small_pictures_count_for_what_a_browser_can_open():
    neighbour = Neighbour("Lute", "a.png", 0.9, bytes(4000))
    finding = Finding("Lute", None, 0.5, box(0, 0, 5, 5), "", bytes(300), [neighbour, neighbour])
    assert Picture("a.png", 9, 9, [finding, finding], bytes(20)).weight == 20 + 2 * (300 + 2 * 4000)


def test_more_other_names_than_a_person_reads_are_left_out():
    assert alternatives_text("abcdefg", {6: 0.9, 0: 0.85, 1: 0.7, 2: 0.6, 3: 0.5, 4: 0.4}) == (
        "g 0.90, a 0.85, b 0.70, c 0.60, d 0.50"
    )


def test_neither_form_nor_name_of_a_picture_spoils_the_page():
    name = "\u0639\u0648\u062f"  # without an end to it, what follows would be taken for a part of it
    scroll = Picture(name, 400, 8000, [Finding("Harp", None, 0.9, box(0, 0, 5, 5))], b"jpeg")
    text = write_page([scroll], INFO | {"threshold": 0.48372618495})
    assert f"<bdi>{name}</bdi> <small>400 × 8000</small>" in text
    (style,) = [own["style"] for tag, own in Tags(text).tags if own.get("class") == "picture"]
    assert style == "max-width:3.00rem"  # 60 high, as other pictures may be
    assert "0.484 (the model's own: 0.5)" in text
