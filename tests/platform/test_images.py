import io

import numpy as np
import pytest
from PIL import Image

from annotator.errors import AnnotatorError, ExitCode
from annotator.platform import images
from annotator.platform.connection import Connection
from annotator.platform.images import ProjectImage, choose_images, decode, fetch_pixels, fetch_rectangle


@pytest.fixture
def connection(server):
    return Connection(server.access.host, server.access.public_key, server.access.private_key)


def encoded(picture, kind="PNG", **options):
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def fetch(connection, project, number, largest=1000):
    return fetch_pixels(connection, choose_images(connection, project.id, (number,))[0], largest)


def test_pixels_come_in_one_bounded_request(connection, project, picture):
    pixels = fetch(connection, project, project.add_image(picture), 150)
    assert pixels.shape == (100, 150, 3)
    np.testing.assert_allclose(pixels[5, 5], [254, 0, 0], atol=8)  # red at the top-left
    np.testing.assert_allclose(pixels[-5, 5], [0, 0, 254], atol=8)


RAMP = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (100, 1)))
SIDEWAYS = Image.Exif()
SIDEWAYS[0x0112] = 6
PICTURES = {
    "grey.png": (RAMP, {}),
    "palette.gif": (RAMP.convert("P"), {}),
    "alpha.png": (RAMP.convert("RGBA"), {}),
    "deep.png": (Image.fromarray(np.tile(np.arange(200, dtype=np.uint16) * 257, (100, 1))), {}),
    "deep.tif": (Image.fromarray(np.tile(np.arange(200, dtype=np.uint16) * 257, (100, 1))), {}),
    "inks.jpg": (RAMP.convert("RGB").convert("CMYK"), {"quality": 95}),
    "sideways.jpg": (RAMP.convert("RGB").transpose(Image.Transpose.ROTATE_90), {"exif": SIDEWAYS, "quality": 95}),
    "web.webp": (RAMP.convert("RGB"), {"quality": 95}),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_kind_of_picture_comes_upright_as_rgb(connection, project, tmp_path, name):
    picture, options = PICTURES[name]
    picture.save(tmp_path / name, **options)
    pixels = fetch(connection, project, project.add_image(tmp_path / name))
    assert pixels.shape == (100, 200, 3)
    slope = np.polyfit(np.arange(200), pixels.mean(axis=(0, 2)), 1)[0]
    assert 0.8 < slope < 1.3  # grows from left to right as it was drawn (inks are not exact)


def test_a_square_picture_is_turned_as_its_file_says():
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    square = RAMP.resize((100, 100))
    content = encoded(square.convert("RGB").transpose(Image.Transpose.ROTATE_180), "JPEG", exif=exif, quality=95)
    pixels = decode(content, ProjectImage(1, "a.jpg", 100, 100, None))
    np.testing.assert_allclose(pixels[..., 0], np.asarray(square), atol=8)


def test_a_picture_is_turned_also_where_the_rest_of_its_exif_is_damaged():
    sideways = b"\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"
    width_as_a_byte = b"\x00\x01\x01\x00\x01\x00\x00\x00abc\x00"
    exif = b"Exif\0\0II*\0\x08\x00\x00\x00\x02\x00" + sideways + width_as_a_byte + bytes(4)
    content = encoded(RAMP.convert("RGB").transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)
    pixels = decode(content, ProjectImage(1, "a.jpg", 200, 100, None))
    np.testing.assert_allclose(pixels[..., 0], np.asarray(RAMP), atol=8)


@pytest.mark.parametrize(
    ("preview", "ways"), [("{}/thumb.png", 3), ("https://elsewhere.invalid/a.png", 2), ("{}.elsewhere.invalid/", 2)]
)
def test_a_preview_on_another_host_is_not_asked_for(connection, preview, ways):
    image = ProjectImage(1, "a.png", 10, 10, preview.format(connection.host))
    assert len(images._ways_to_ask(connection, image, 10)) == ways  # a request there would carry a signature


@pytest.mark.parametrize("size", [(1, 1), (20_000, 12), (3, 900)])
def test_extreme_sizes(connection, project, tmp_path, size):
    Image.new("RGB", size, "red").save(tmp_path / "odd.png")
    pixels = fetch(connection, project, project.add_image(tmp_path / "odd.png"))
    assert max(pixels.shape[:2]) == min(1000, max(size))


def test_missing_file_says_so(connection, project, tmp_path, no_pauses):
    number = project.add_image(tmp_path / "gone.jpg", size=(10, 10))
    with pytest.raises(AnnotatorError, match=r"gone\.jpg: .* answered 500"):
        fetch(connection, project, number)


def test_no_size_says_so(connection, project, picture):
    with pytest.raises(AnnotatorError, match=r"corners\.png: the server gives no size"):
        fetch(connection, project, project.add_image(picture, size=(0, 0)))


@pytest.mark.parametrize("missing", [r"thumb\.jpg", r"thumb\.jpg|window"], ids=["window", "preview"])
def test_servers_without_thumbs_of_instances_are_asked_otherwise(connection, project, picture, server, missing):
    number = project.add_image(picture)
    server.fail({"path": missing, "method": "GET", "kind": "status", "value": 404, "times": 9})
    assert fetch(connection, project, number).shape == (200, 300, 3)


@pytest.fixture(scope="module")
def waves(tmp_path_factory):
    """A smooth picture of 901 x 603 pixels that looks different everywhere."""
    y, x = np.mgrid[:603, :901]
    channels = [128 + 100 * np.sin(x / 40) * np.cos(y / 60), x / 901 * 255, y / 603 * 255]
    path = tmp_path_factory.mktemp("waves") / "waves.png"
    Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize("size", [(901, 603), (640, 428), (100, 67)])
@pytest.mark.parametrize("part", [(0, 0, 1, 1), (0.2, 0.3, 0.6, 0.5), (0.7, 0.1, 1, 0.9), (0.5, 0.5, 0.51, 0.52)])
def test_a_rectangle_is_that_part_of_the_image_at_that_scale(connection, project, waves, size, part):
    image = choose_images(connection, project.id, (project.add_image(waves),))[0]
    x0, y0, x1, y1 = (round(share * side) for share, side in zip(part, size * 2, strict=True))
    found = fetch_rectangle(connection, image, size, (x0, y0, x1, y1))
    with Image.open(waves) as picture:
        whole = np.asarray(picture.resize(size, Image.Resampling.LANCZOS), float)
    assert found.shape == (y1 - y0, x1 - x0, 3)
    difference = np.abs(found - whole[y0:y1, x0:x1])
    assert difference.mean() < 2  # JPEG
    assert difference.max() < 20


IMAGE = ProjectImage(1, "x.png", 100, 50, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be decoded"),
        (b"<html>", "cannot be decoded"),
        (encoded(RAMP)[:-200], "cannot be decoded"),
        (encoded(RAMP.convert("RGB"), "JPEG")[:800], "cannot be decoded"),
        (encoded(RAMP.resize((100, 100))), "the shapes differ"),
        (encoded(RAMP.convert("RGB"), "EPS"), "bytes that are no picture"),
        (encoded(RAMP.convert("RGB"), "AVIF").replace(b"pitm", b"free"), "cannot be decoded"),
    ],
)
def test_half_pictures_and_wrong_pictures_are_not_taken(content, message):
    with pytest.raises(AnnotatorError, match=rf"x\.png: .*{message}") as caught:
        decode(content, IMAGE)
    assert caught.value.code is ExitCode.BAD_IMAGE


TROUBLE = [
    ({"kind": "truncate"}, "broke"),
    ({"kind": "close"}, "broke"),
    ({"kind": "html"}, "bytes that are no picture"),
    ({"kind": "redirect"}, "redirects to https://elsewhere.invalid/"),
    ({"kind": "status", "value": 403}, "No right to use the pixels"),
    ({"kind": "status", "value": 504}, "answered 504"),
]
KINDS = [f"{rule['kind']}{rule.get('value', '')}" for rule, _ in TROUBLE]


@pytest.mark.parametrize(("rule", "message"), TROUBLE, ids=KINDS)
def test_trouble_with_one_picture_is_that_picture_s(connection, project, picture, server, rule, message, no_pauses):
    number = project.add_image(picture)
    server.fail({"path": r"/thumb|/window", "method": "GET", "times": 99} | rule)
    with pytest.raises(AnnotatorError, match=rf"corners\.png: .*{message}") as caught:
        fetch(connection, project, number)
    assert caught.value.code is ExitCode.BAD_IMAGE


@pytest.mark.parametrize(("rule", "message"), TROUBLE, ids=KINDS)
def test_so_is_trouble_with_a_part_of_it(connection, project, picture, server, rule, message, no_pauses):
    image = choose_images(connection, project.id, (project.add_image(picture),))[0]
    server.fail({"path": "/window-97-47-106-106", "method": "GET", "times": 99} | rule)
    with pytest.raises(AnnotatorError, match=message.replace("the pixels", "its part at 97, 47")) as caught:
        fetch_rectangle(connection, image, (300, 200), (100, 50, 200, 150))
    assert caught.value.code is ExitCode.BAD_IMAGE


@pytest.mark.parametrize(("rule", "_"), TROUBLE, ids=KINDS)
def test_another_path_to_the_picture_is_tried(connection, project, picture, server, rule, _, no_pauses):
    number = project.add_image(picture)
    server.fail({"path": r"/thumb", "method": "GET", "times": 99} | rule)
    assert fetch(connection, project, number).shape == (200, 300, 3)


def test_trouble_with_the_server_is_not_the_picture_s(connection, project, picture, server, no_pauses):
    number = project.add_image(picture)
    image = choose_images(connection, project.id, (number,))[0]
    server.fail({"path": "/api/", "method": "GET", "kind": "close", "times": 99})
    for fetch_some in (
        lambda: fetch_pixels(connection, image, 1000),
        lambda: fetch_rectangle(connection, image, (300, 200), (100, 50, 200, 150)),
    ):
        with pytest.raises(AnnotatorError, match="broke") as caught:
            fetch_some()
        assert caught.value.code is ExitCode.CONNECTION


def test_images_of_blind_projects_have_a_name(connection, project, picture, server):
    number = project.add_image(picture)
    server.store.update("imageinstance", number, instanceFilename=None)
    assert choose_images(connection, project.id, ())[0].name == f"image {number}"


def test_names_are_one_line_of_text(connection, project, picture, server):
    number = project.add_image(picture)
    server.store.update("imageinstance", number, instanceFilename="../a\n2026-01-01 INFO all is well\x1b[2J.png")
    assert choose_images(connection, project.id, (number,))[0].name == "../a?2026-01-01 INFO all is well?[2J.png"


@pytest.mark.parametrize(("wanted", "message"), [((999_999,), "has no image 999999"), ((), "has no images")])
def test_unknown_images_and_empty_projects(connection, project, wanted, message):
    with pytest.raises(AnnotatorError, match=message):
        choose_images(connection, project.id, wanted)
