import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import ExifTags, Image

from annotator.errors import ExitCode
from annotator.pictures import stems
from annotator.report.explanations import Explained, Named, write_explanations_page

ROOT = Path(__file__).parents[1]


class Images(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.found.append(dict(attributes))


def explain(*arguments):
    command = [sys.executable, "-m", "annotator", "explain", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)


def test_a_folder_of_pictures(gallery, tmp_path):
    folder, out = tmp_path / "pictures", tmp_path / "out"
    folder.mkdir()
    hostile = "<b>harp & 100%?#.png"
    with Image.open(gallery / "harp_in_oil.png") as picture:
        harp = picture.convert("RGB").resize((400, 400))
    harp.save(folder / hostile)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    harp.crop((0, 0, 300, 400)).transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", exif=exif)
    Image.new("RGB", (60, 40), "navy").save(folder / "night.jpg")
    Image.new("L", (50, 50)).save(folder / "night.png")
    (folder / "notes.jpg").write_text("no picture at all")
    (folder / f"{'n' * 251}.jpg").write_bytes((folder / "night.jpg").read_bytes())
    ended = explain("--images", folder, "--out", out)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "'notes.jpg' cannot be read" in ended.stderr
    assert "nnn.jpg' is too long for those of its masks" in ended.stderr
    assert "6 of 6 pictures" in ended.stderr

    sizes = {"<b>harp & 100%?#": (400, 400), "turned": (300, 400), "night.jpg": (60, 40), "night.png": (50, 50)}
    expected = {f"{stem}.{kind}.png": size for stem, size in sizes.items() for kind in ("visualbackprop", "class")}
    masks = {}
    for file in (out / "masks").iterdir():
        with Image.open(file) as mask:
            assert mask.mode == "L"
            masks[file.name] = np.asarray(mask)
    assert {name: mask.shape[::-1] for name, mask in masks.items()} == expected
    harps = [masks["<b>harp & 100%?#.class.png"][:, :300], masks["turned.class.png"]]
    assert np.corrcoef(*(mask.ravel() for mask in harps))[0, 1] > 0.5  # turned as the picture is

    page = (out / "index.html").read_text()
    assert "<b>harp" not in page
    assert "Likeliest: " in page
    assert "Harp</bdi> <span" in page
    assert "notes.jpg" in page
    shown = Images(page).found
    assert len(shown) == 4 * 3
    assert all((out / unquote(image["src"])).is_file() and image["alt"] for image in shown)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--images", "/no/such/folder"), ExitCode.USAGE, "There is no folder /no/such/folder"),
        (("--images", ROOT / ".ci"), ExitCode.USAGE, "holds no pictures"),
        (("--images", ROOT / "docs", "--model", "/no/such/model"), ExitCode.BAD_MODEL, "The model 'model'"),
        (("--images", ROOT / "docs", "--out", "/proc/nothing/here"), ExitCode.DISK, "/proc/nothing"),
    ],
)
def test_mistakes(tmp_path, arguments, code, message):
    ended = explain(*(() if "--out" in arguments else ("--out", tmp_path / "out")), *arguments)
    assert ended.returncode == code
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_folder_where_nothing_can_be_read(tmp_path):
    (tmp_path / "half.png").write_bytes(b"\x89PNG")
    ended = explain("--images", tmp_path, "--out", tmp_path / "out")
    assert ended.returncode == ExitCode.BAD_IMAGE
    assert "None of the 1 pictures" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.fixture
def small_harp(gallery, tmp_path):
    (tmp_path / "pictures").mkdir()
    with Image.open(gallery / "harp_in_oil.png") as picture:
        picture.convert("RGB").resize((200, 200)).save(tmp_path / "pictures" / "harp.png")
    return tmp_path / "pictures"


def test_a_check_says_how_far_the_maps_can_be_trusted(small_harp, tmp_path):
    ended = explain("--images", small_harp, "--out", tmp_path / "out", "--check")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 of 1 pictures checked" in ended.stderr
    trust = json.loads((tmp_path / "out/check.json").read_text())
    assert trust["pictures"] == 1
    page = (tmp_path / "out/index.html").read_text()
    assert "Checked on 1 of these pictures" in page
    assert "after shuffling the last layer" in page
    for figures in (*trust["kept"].values(), trust["deletion"], trust["insertion"]):
        for mean, low, high in figures.values():
            assert f"{mean:.2f} <small>[{low:.2f}, {high:.2f}]" in page


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.jpg", "b.jpg"], ["a", "b"]),
        (["a.jpg", "a.png", "b.jpg"], ["a.jpg", "a.png", "b"]),
        (["A.jpg", "a.png"], ["A.jpg", "a.png"]),
        (["a.jpg", "a.jpg.png", "a.png"], ["a.jpg", "a.jpg.png", "a.png"]),
        (["one/a.jpg", "two/a.png"], ["a", "a"]),
    ],
)
def test_no_two_files_share_a_mask(names, expected):
    assert stems([Path(name) for name in names]) == expected


def test_hostile_file_names_neither_stop_the_page_nor_turn_its_text():
    name = "half \udc8d a character, \u202egnp.exe"
    paths = (f"pictures/{name}.jpg",) * 3
    text = write_explanations_page(
        [Explained(name, 4, 4, "Harp", 0.9, [Named("Harp", 0.9, "Lyre 0.40")], *paths)], {}, "m"
    )
    assert "half ? a character" in text.encode("utf-8").decode("utf-8")
    assert "\u202e" not in text
    assert "half%20%8D%20a" in text
    assert "or Lyre 0.40" in text
