import csv
import shutil

import numpy as np
import pytest
from PIL import Image

from annotator.errors import AnnotatorError
from tests.training.commands import run_here
from training.style import gatys
from training.style.loss import TERMS, loss_network

NETWORK = "efficientnet-lite0"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A disc on plain ground, and stripes."""
    folder = tmp_path_factory.mktemp("pictures")
    y, x = np.mgrid[:140, :180]
    disc = np.where(((y - 70) ** 2 + (x - 90) ** 2 < 2500)[..., None], (200, 120, 40), (230, 230, 225))
    Image.fromarray(disc.astype(np.uint8)).save(folder / "content.png")
    stripes = np.where((np.mgrid[:150, :150].sum(axis=0) // 8 % 2)[..., None], (20, 30, 140), (240, 200, 60))
    Image.fromarray(stripes.astype(np.uint8)).save(folder / "style.png")
    return folder


@pytest.fixture(scope="module")
def network():
    return loss_network(NETWORK, "imagenet")


@pytest.fixture
def built_once(network, monkeypatch):
    """`gatys.run` gets the network that it would build, without waiting for it."""
    monkeypatch.setattr(gatys, "loss_network", lambda *_: network)


def settings(files, **values):
    given = {
        "content": str(files / "content.png"),
        "style": str(files / "style.png"),
        "network": NETWORK,
        "weights": "imagenet",
        "size": 64,
        "steps": 6,
        "start": "content",
        "style_weight": 5.0,
        "variation_weight": 1.0,
        "seed": 7,
    }
    return gatys.Settings(**{**given, **values})


def log(out):
    with (out / gatys.LOG).open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def total(row):
    return sum(row[name] for name in TERMS)


def test_terms_equal_a_plain_version(network, random):
    content, style, pixels = (random.uniform(0, 255, (64, side, 3)).astype(np.float32) for side in (64, 96, 64))
    own, _ = gatys.terms_at(network, content, style, (2.0, 3.0))(pixels[None])
    seen, wanted, kept = ([np.asarray(maps)[0] for maps in network(image[None])] for image in (pixels, style, content))
    assert own[0] == pytest.approx(((seen[-1] - kept[-1]) ** 2).sum() / (kept[-1] ** 2).sum() / 2, rel=1e-4)

    def plain_gram(maps):
        flat = maps.reshape(-1, maps.shape[-1])
        return flat.T @ flat / flat.size

    losses = [
        ((plain_gram(one) - plain_gram(other)) ** 2).sum() / (4 * (plain_gram(other) ** 2).sum())
        for one, other in zip(seen[:-1], wanted[:-1], strict=True)
    ]
    assert own[1] == pytest.approx(2 * np.mean(losses), rel=1e-4)
    variation = (np.diff(pixels, axis=0) ** 2).mean() + (np.diff(pixels, axis=1) ** 2).mean()
    assert own[2] == pytest.approx(3 * variation / 255**2, rel=1e-4)


def test_improves_a_quadratic_to_its_least_value(random):
    wanted = random.uniform(-50, 300, (5, 4, 3)).astype(np.float32)

    def terms(values):
        difference = values[0] - wanted
        return np.array([(difference**2).sum(), 0, 0]), 2 * difference[None]

    found, rows = gatys.improved(terms, np.full((5, 4, 3), 128, np.float32), 30)
    np.testing.assert_allclose(found, wanted, atol=1e-2)
    assert rows.shape == (30, 3)
    assert (np.diff(rows.sum(axis=1)) <= 0).all()


def test_gradient_of_the_terms_equals_finite_differences(network, random):
    content, style, pixels = (random.uniform(50, 200, (64, 64, 3)).astype(np.float32) for _ in range(3))
    terms = gatys.terms_at(network, content, style, (5.0, 1.0))
    values, gradient = terms(pixels[None])
    assert values.shape == (3,)
    direction = gradient / np.linalg.norm(gradient)
    up, down = (terms(pixels[None] + step * direction)[0].sum(dtype=np.float64) for step in (2, -2))
    assert (up - down) / 4 == pytest.approx(float((gradient * direction).sum()), rel=0.05)


@pytest.mark.parametrize(("size", "wanted"), [(512, [128, 256, 512]), (256, [64, 128, 256]), (100, [100]), (64, [64])])
def test_sizes_go_from_coarse_to_fine(size, wanted):
    assert gatys.sizes(size) == wanted


def test_command(files, tmp_path):
    arguments = ("style", "gatys", "--content", files / "content.png", "--style", files / "style.png")
    result = run_here(
        *arguments, "--size", 128, "--steps", 12, "--network", NETWORK, "--start", "noise", "--out", tmp_path / "run"
    )
    assert result.returncode == 0, result.stderr
    picture = np.asarray(Image.open(tmp_path / "run" / "picture.png"))
    assert picture.shape == (100, 128, 3)
    rows = log(tmp_path / "run")
    assert [row["size"] for row in rows] == [64] * 12 + [128] * 12
    for size in (64, 128):
        totals = [total(row) for row in rows if row["size"] == size]
        assert (np.diff(totals) <= 0).all()
        assert totals[-1] < 0.7 * totals[0]
    assert all((tmp_path / "run" / name).stat().st_size > 1000 for name in ("loss.png", "0064_0012.png"))


def test_stopped_and_started_again_ends_alike(files, built_once, tmp_path, monkeypatch):
    monkeypatch.setattr(gatys, "ROUND", 3)
    whole = gatys.run(settings(files), tmp_path / "whole")
    with monkeypatch.context() as stopping:
        stopping.setattr(gatys, "improved", _stopping_after(2))
        with pytest.raises(KeyboardInterrupt):
            gatys.run(settings(files), tmp_path / "parts")
    assert len(log(tmp_path / "parts")) == 3
    np.testing.assert_array_equal(gatys.run(settings(files), tmp_path / "parts"), whole)
    assert (tmp_path / "parts" / gatys.LOG).read_bytes() == (tmp_path / "whole" / gatys.LOG).read_bytes()
    with pytest.raises(AnnotatorError, match="other settings"):
        gatys.run(settings(files, style_weight=1.0), tmp_path / "parts")
    (tmp_path / "parts" / gatys.STATE).write_bytes(b"half")
    with pytest.raises(AnnotatorError, match="cannot go on"):
        gatys.run(settings(files), tmp_path / "parts")


def _stopping_after(rounds):
    improved, done = gatys.improved, []

    def stopping(*arguments):
        done.append(1)
        if len(done) == rounds:
            raise KeyboardInterrupt
        return improved(*arguments)

    return stopping


def test_grey_pictures_stay_finite(files, built_once, tmp_path):
    Image.new("L", (150, 140), 0).save(tmp_path / "black.png")
    for values in ({"style": str(tmp_path / "black.png")}, {"content": str(tmp_path / "black.png")}):
        out = tmp_path / next(iter(values))
        gatys.run(settings(files, steps=2, **values), out)
        assert all(np.isfinite(total(row)) for row in log(out))


def test_bad_input(files, tmp_path):
    Image.new("RGB", (400, 60)).save(tmp_path / "strip.png")
    (tmp_path / "broken.jpg").write_text("no picture")
    for values, message in (
        ({"style": str(tmp_path / "strip.png")}, "'strip.png' is 400 x 60 pixels, fewer than the 132"),
        ({"style": str(tmp_path / "broken.jpg")}, "'broken.jpg' cannot be read"),
        ({"content": str(tmp_path / "missing.jpg")}, "'missing.jpg' cannot be read"),
        ({"size": 20}, "A size of 20: 64 is the least"),
        ({"steps": 0}, "A steps of 0"),
        ({"style_weight": -1.0}, "A style_weight of -1"),
        ({"network": "alexnet"}, "'alexnet'"),
    ):
        with pytest.raises(AnnotatorError, match=message):
            gatys.run(settings(files, **values), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_it_does_not_go_on_with_another_picture_of_the_same_name(files, built_once, tmp_path):
    shutil.copytree(files, tmp_path / "files")
    gatys.run(settings(tmp_path / "files"), tmp_path / "run")
    content = tmp_path / "files" / "content.png"
    with Image.open(content) as picture:
        picture.transpose(Image.Transpose.ROTATE_90).save(content)
    with pytest.raises(AnnotatorError, match="another picture than when it began"):
        gatys.run(settings(tmp_path / "files"), tmp_path / "run")
