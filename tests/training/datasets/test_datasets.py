import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, TiffTags
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from annotator.errors import AnnotatorError
from annotator.models.bundle import Label
from annotator.pictures import open_rgb, open_shrunk
from annotator.vocabulary import by_mimo_id
from training import datasets
from training.__main__ import FORMATS
from training.datasets.pictures import Region, clip, label_named, size_of

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
        ("b.png", Label("Thing"), f"{tmp_path.name}/Thing/b.png"),
        ("a.jpg", VIOLIN, f"{tmp_path.name}/violins/a.jpg"),
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
        ("file,label\na/../../a.jpg,harp\n", "leads out"),
        ("file,label\n/etc/passwd,harp\n", "leads out"),
        ("file,label\na.jpg,\n", "without a name"),
        ("file,label\n", "no labelled pictures"),
    ],
)
def test_bad_tables(tmp_path, table, message):
    (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(AnnotatorError, match=message):
        datasets.read(tmp_path)


def test_pictures_may_be_links_to_where_they_lie(tmp_path, save):
    target = save("store/1.jpg")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jpg").symlink_to(target)
    (tmp_path / "data" / "labels.csv").write_text("file,label\na.jpg,harp\n")
    (found,) = datasets.read(tmp_path / "data")
    assert open_rgb(found.path).shape == (100, 200, 3)


def test_names_do_not_lead_out_of_the_folder_where_one_is(tmp_path, monkeypatch):
    (tmp_path / "labels.csv").write_text("file,label\n../secret.jpg,harp\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AnnotatorError, match="leads out"):
        datasets.read(Path())


def test_an_orientation_that_is_none_is_no_orientation(tmp_path):
    exif = ImageFileDirectory_v2()
    exif.tagtype[ExifTags.Base.Orientation] = TiffTags.ASCII
    exif[ExifTags.Base.Orientation] = "upright"
    Image.new("RGB", (200, 120)).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0" + exif.tobytes(8))
    with Image.open(tmp_path / "a.jpg") as picture:
        assert picture.getexif()[ExifTags.Base.Orientation] == "upright"
    assert size_of(tmp_path / "a.jpg") == open_shrunk(tmp_path / "a.jpg", 80)[1:] == (200, 120)


def test_missing_folder(tmp_path):
    with pytest.raises(AnnotatorError, match="no folder"):
        datasets.read(tmp_path / "absent")


def test_mimo_views_are_one_object(tmp_path, save):
    for name in ("violin/M123_1.jpg", "violin/M123_2.jpg", "violin/M124-front.jpg"):
        save(name)
    groups = [f"{tmp_path.name}/violin/{number}" for number in ("M123", "M123", "M124")]
    assert [one.group for one in datasets.read(tmp_path, "mimo")] == groups


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
    table = tmp_path / "class-descriptions-boxable.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())  # a byte order mark, as spreadsheets write it
    assert datasets.read(tmp_path, "openimages") == [found]
    table.write_bytes("/m/0342h,Gitarre\n/m/0l14md,Fl\N{LATIN SMALL LETTER O WITH DIAERESIS}te\n".encode("latin-1"))
    with pytest.raises(AnnotatorError, match="The table 'class-descriptions-boxable"):
        datasets.read(tmp_path, "openimages")


def test_openimages_names_of_instruments_and_of_tools(tmp_path, save):
    save("00aa.jpg")
    (tmp_path / "class-descriptions-boxable.csv").write_text(
        "/m/0342h,Guitar\n/m/05kyg_,Organ (Musical Instrument)\n/m/03l9g,Hammer\n"
    )
    rows = ["ImageID,LabelName,XMin,XMax,YMin,YMax"]
    rows += [f"00aa,{name},0.1,0.5,0.2,0.9" for name in ("/m/0342h", "/m/05kyg_", "/m/03l9g")]
    (tmp_path / "train-annotations-bbox.csv").write_text("\n".join(rows))
    (found,) = datasets.read(tmp_path, "openimages")
    assert [region.label.name for region in found.regions] == ["Guitar", "Organ"]


def test_mimos_own_names_and_numbers_agree():
    """Lira (3186) is a fiddle, though "lira" alone is a lyre."""
    for instrument in by_mimo_id().values():
        assert label_named(instrument.name, instrument.mimo_id) == Label(instrument.name, instrument.mimo_id)


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


def table_of(path, names, boxes=()):
    """An ``annotations.json`` of some pictures, with boxes of violins."""
    content = {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(names)],
        "categories": [{"id": 1, "name": "violin"}],
        "annotations": [{"image_id": image, "category_id": 1, "bbox": box} for image, box in boxes],
    }
    (path / "annotations.json").write_text(json.dumps(content))


def test_coco_images_lie_where_the_table_says(tmp_path, save):
    for name in ("images/a.jpg", "images/inner/b.jpg", "c.jpg"):
        save(name)
    table_of(tmp_path, ["a.jpg", "images/a.jpg", "inner/b.jpg", "images/inner/b.jpg", "c.jpg"])
    assert all(picture.path.is_file() for picture in datasets.read(tmp_path))


def test_a_file_that_is_listed_twice_is_one_picture(tmp_path, save):
    save("a.jpg")
    table_of(tmp_path, ["a.jpg", "a.jpg"], [(0, [10, 10, 20, 20]), (1, [100, 50, 30, 30])])
    (picture,) = datasets.read(tmp_path)  # or each would have the other's instrument for background
    assert [region.box for region in picture.regions] == [(10, 10, 30, 30), (100, 50, 130, 80)]
    table_of(tmp_path, ["a.jpg", "a.jpg"], [(0, [10, 10, 20, 20]), (1, [10, 10, 20, 20]), (1, [100, 50, 30, 30])])
    assert datasets.read(tmp_path) == [picture]  # or one of two boxes of one instrument would never be found


def test_a_table_of_boxes_is_read_as_such_among_folders_of_another_format(tmp_path, save):
    save("images/a.jpg")
    table_of(tmp_path, ["a.jpg"], [(0, [10, 10, 50, 50])])
    (picture,) = datasets.read(tmp_path, "mimo")  # of another program: the format that was named counts
    assert picture.regions == (Region(Label("images")),)
    content = json.loads((tmp_path / "annotations.json").read_text(encoding="utf-8-sig"))
    content["images"][0]["sources"] = []  # restyled copies of a museum's photographs
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    (picture,) = datasets.read(tmp_path, "mimo")
    assert picture.regions == (Region(Label("Violin", 3573), (10, 10, 60, 60)),)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("turned", [1, 3, 6, 8])
def test_boxes_are_those_of_the_picture_as_exif_turns_it(tmp_path, suffix, turned):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turned
    size = (200, 120) if turned in (1, 3) else (120, 200)
    lying = size if turned in (1, 3) else size[::-1]
    Image.new("RGB", lying, "#806040").save(tmp_path / f"a.{suffix}", exif=exif)
    assert open_rgb(tmp_path / f"a.{suffix}").shape[1::-1] == size_of(tmp_path / f"a.{suffix}") == size
    x, y = size[0] - 30, size[1] - 30
    table_of(tmp_path, [f"a.{suffix}"], [(0, [x, y, 60, 20])])
    (picture,) = datasets.read(tmp_path)
    assert [region.box for region in picture.regions] == [(x, y, size[0], y + 20)]


def test_the_object_of_a_museum_s_photograph_that_exif_turns(tmp_path):
    upright = np.full((400, 200, 3), 255, np.uint8)
    upright[250:390, 60:140] = [120, 60, 20]
    (tmp_path / "violin").mkdir()
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "violin/a.jpg", exif=exif)
    (picture,) = datasets.read(tmp_path, "mimo")
    assert [region.box for region in picture.regions] == [pytest.approx((60, 250, 140, 390), abs=4)]


def test_files_of_two_collections_with_one_name_are_two_objects(tmp_path, save):
    for collection in ("museum", "other"):
        for name in ("harp/1.jpg", "harp/2.jpg"):
            save(f"{collection}/{name}")
    every = [picture for collection in ("museum", "other") for picture in datasets.read(tmp_path / collection)]
    assert len({picture.group for picture in every}) == 4


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
