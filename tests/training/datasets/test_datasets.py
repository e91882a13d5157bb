import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from annotator.errors import AnnotatorError
from annotator.models.bundle import Label
from training import datasets
from training.__main__ import FORMATS
from training.datasets.pictures import clip

VIOLIN = Label("Violin", 3573)


@pytest.fixture
def save(tmp_path):
    def save(name, size=(200, 100)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "white").save(path)
        return path

    return save


def test_class_folders(tmp_path, save):
    save("violins/a.jpg")
    save("Thing/b.png")
    (tmp_path / "violins" / "notes.txt").write_text("no picture")
    found = datasets.read(tmp_path)
    assert [(one.path.name, one.regions[0].label, one.group) for one in found] == [
        ("b.png", Label("Thing"), "Thing/b.png"),
        ("a.jpg", VIOLIN, "violins/a.jpg"),
    ]


def test_table_with_objects(tmp_path, save):
    save("a.jpg")
    (tmp_path / "labels.csv").write_text("file,label,mimo_id,object\na.jpg,Geige,3573,M1\n")
    (found,) = datasets.read(tmp_path)
    assert (found.regions[0].label, found.group) == (VIOLIN, "M1")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,label,mimo_id\na.jpg,harp,3573\n", "harp.*3573.*Violin"),
        ("file,label,mimo_id\na.jpg,harp,x\n", "'x'.*no number"),
        ("file,name\na.jpg,harp\n", "no column label"),
        ("file,label\n../../a.jpg,harp\n", "leads out"),
        ("file,label\na.jpg,\n", "without a name"),
        ("file,label\n", "no labelled pictures"),
    ],
)
def test_bad_tables(tmp_path, table, message):
    (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(AnnotatorError, match=message):
        datasets.read(tmp_path)


def test_missing_folder(tmp_path):
    with pytest.raises(AnnotatorError, match="no folder"):
        datasets.read(tmp_path / "absent")


def test_mimo_views_are_one_object(tmp_path, save):
    for name in ("violin/M123_1.jpg", "violin/M123_2.jpg", "violin/M124-front.jpg"):
        save(name)
    assert [one.group for one in datasets.read(tmp_path, "mimo")] == ["violin/M123", "violin/M123", "violin/M124"]


def test_openimages(tmp_path, save):
    save("train/00aa.jpg")
    (tmp_path / "class-descriptions-boxable.csv").write_text("/m/0342h,Guitar\n/m/01g317,Person\n")
    header = (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
    )
    rows = ["00aa,x,/m/0342h,1,0.1,0.5,0.2,0.9,0,0,0,0,0", "00aa,x,/m/0342h,1,0.5,0.9,0,1,0,0,1,0,0"]
    rows += ["00aa,x,/m/01g317,1,0,1,0,1,0,0,0,0,0", "absent,x,/m/0342h,1,0,1,0,1,0,0,0,0,0"]
    (tmp_path / "train-annotations-bbox.csv").write_text("\n".join([header, *rows]))
    (found,) = datasets.read(tmp_path, "openimages")
    assert [region.difficult for region in found.regions] == [False, True]
    assert found.regions[0].box == pytest.approx((20, 20, 100, 90))


@pytest.mark.parametrize(
    "header",
    [",image_filename,id,bounding_box_coordinates,instrument_name,area", ",Image Filename,x,coordinates,Term,y"],
)
def test_minerva(tmp_path, save, header):
    save("images/Image_1.jpg")
    rows = [
        '0,Image_1.jpg,1,"10,20,50,60,",Violin (3573),9',
        '1,Image_1.jpg,1,"90,80,60,10,",Harp (3285),9',  # corners the other way round
        '2,Image_1.jpg,1,"-5,0,30,30,",Harp (3285),9',
        '3,Image_1.jpg,1,"-5,0,30,30,",Lute (3394),9',  # one box, two names: which is not known
        '4,Image_1.jpg,1,"7,7,7,7,",Lute (3394),9',
        '5,Image_2.jpg,1,"1,2,3,4,",Lute (3394),9',
    ]
    (tmp_path / "boxes.csv").write_text("\n".join([header, *rows]))
    (found,) = datasets.read(tmp_path, "minerva")
    assert [(one.label.name, one.box, one.difficult) for one in found.regions] == [
        ("Violin", (10, 20, 50, 60), False),
        ("Harp", (60, 10, 90, 80), False),
        ("Harp", (0, 0, 30, 30), True),
    ]


def test_coco(tmp_path, save):
    save("images/a.jpg")
    save("images/b.jpg")
    content = {
        "images": [{"id": 7, "file_name": name, "width": 200, "height": 100} for name in ["a.jpg"]]
        + [{"id": 8, "file_name": "b.jpg", "width": 200, "height": 100}],
        "categories": [{"id": 3, "name": "fiddle of mine", "mimo_id": "3573"}],
        "annotations": [
            {"image_id": 7, "category_id": 3, "bbox": [150, 50, 100, 20]},
            {"image_id": 7, "category_id": 3, "bbox": [1, 1, 0, 20]},
            {"image_id": 7, "category_id": 3, "bbox": [1, 1, 9, 9], "ignore": 1},
        ],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    with_boxes, empty = datasets.read(tmp_path)
    assert [(one.box, one.difficult) for one in with_boxes.regions] == [
        ((150, 50, 200, 70), False),
        ((1, 1, 10, 10), True),
    ]
    assert empty.regions == ()
    content["annotations"][0]["category_id"] = 4
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(AnnotatorError, match="no COCO file"):
        datasets.read(tmp_path)


def test_boxes_left_out_are_told(tmp_path, save, capsys):
    for name in ("a.jpg", "b.jpg"):
        save(name)
    boxes = [(1, [190, 90, 50, 50]), (1, [300, 10, 20, 20]), (2, [10, 10, 0.5, 40]), (2, [math.nan, 0, 9, 9])]
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "categories": [{"id": 3, "name": "violin"}],
        "annotations": [{"image_id": image, "category_id": 3, "bbox": box} for image, box in boxes],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    first, second = datasets.read(tmp_path)
    assert [region.box for region in first.regions] == [(190, 90, 200, 100)]
    assert second.regions == ()
    assert capsys.readouterr().err == (
        "3 boxes lie outside their picture or are less than a pixel wide, the first of them in 'a.jpg': left out.\n"
    )


@pytest.mark.parametrize(
    ("box", "clipped"),
    [
        ((10, 20, 50, 60), (10, 20, 50, 60)),
        ((50, 60, 10, 20), (10, 20, 50, 60)),  # corners the other way round
        ((-5, -5, 300, 30), (0, 0, 200, 30)),
        ((200, 10, 260, 40), None),  # outside
        ((-60, -60, -5, -5), None),
        ((10, 10, 10, 40), None),  # without area
        ((10, 10, 10.5, 40), None),
        ((math.nan, 10, 20, 40), None),
        ((10, 10, math.inf, 40), None),
    ],
)
def test_boxes_are_put_right_or_dropped(box, clipped):
    assert clip(box, 200, 100) == clipped


@given(st.tuples(*[st.floats(-400, 400)] * 4))
def test_what_is_left_of_a_box_lies_in_the_picture_and_in_the_box(box):
    clipped = clip(box, 200, 100)
    if clipped is not None:
        x0, y0, x1, y1 = clipped
        assert 0 <= x0 < x1 <= 200
        assert 0 <= y0 < y1 <= 100
        assert min(box[0::2]) <= x0 < x1 <= max(box[0::2])
        assert min(box[1::2]) <= y0 < y1 <= max(box[1::2])


def test_the_command_line_offers_every_format():
    assert tuple(datasets.FORMATS) == FORMATS
