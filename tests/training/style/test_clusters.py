import csv

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import adjusted_rand_score, pairwise_distances

from annotator.errors import AnnotatorError
from annotator.pictures import open_rgb
from tests.training.commands import run_here
from training.style import clusters, recolour
from training.style.representation import square, style_network, styles_of


def table(out):
    with (out / "clusters.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def groups(random, sizes=(12, 9), length=40):
    centres = random.normal(size=(len(sizes), length)) * 10
    return np.concatenate(
        [centre + random.normal(size=(size, length)) for centre, size in zip(centres, sizes, strict=True)]
    )


def test_recovers_groups_largest_first_and_their_medoids(random):
    styles = groups(random, (9, 12)).astype(np.float32)
    styles = np.concatenate([styles, random.normal(size=(2, 40)).astype(np.float32) * 60])
    found = clusters.cluster(styles, 0.15)
    assert adjusted_rand_score([0] * 9 + [1] * 12 + [2, 3], found.labels) > 0.85
    assert (found.labels[-2:] == -1).all()
    sizes = np.bincount(found.labels[found.labels >= 0])
    assert (np.diff(sizes) <= 0).all()
    distances = pairwise_distances(styles.astype(float))
    for label, middle in enumerate(found.medoids):
        members = np.flatnonzero(found.labels == label)
        assert middle == members[np.argmin(distances[np.ix_(members, members)].mean(axis=1))]


def test_check_without_a_reach_finds_groups_but_none_in_a_cloud(random):
    assert clusters.without_reach(groups(random, (12, 9)))["clusters"] == 2
    assert clusters.without_reach(random.normal(size=(60, 40))) == {"clusters": 0, "noise": 1.0}
    assert clusters.without_reach(np.ones((6, 3)))["noise"] <= 1


def test_finds_the_styles_that_were_planted(gallery):
    """Drawn pictures with the coarse light and dark of three textures fall into three clusters, one a texture."""
    random = np.random.default_rng(3)
    contents = [square(open_rgb(file)) for file in sorted(gallery.glob("*.png"))][:8]
    contents += [np.ascontiguousarray(picture[:, ::-1]) for picture in contents]
    textures = [
        np.asarray(Image.fromarray(random.integers(0, 255, (cells, cells, 3), np.uint8)).resize((224, 224)))
        for cells in (3, 9, 40)
    ]
    restyled = (recolour.fourier(picture, texture, 0.12) for texture in textures for picture in contents)
    styles = np.concatenate(list(styles_of(style_network("efficientnet-lite0", "imagenet"), restyled)))
    planted = np.repeat(np.arange(3), len(contents))
    assert adjusted_rand_score(planted, clusters.cluster(styles).labels) >= 0.9


def test_curve_is_the_distance_to_the_fourth_neighbour(random):
    styles = random.normal(size=(30, 5))
    plain = np.sort(np.sort(pairwise_distances(styles), axis=1)[:, 4])
    np.testing.assert_allclose(clusters.neighbour_distances(styles), plain)


def test_identical_pictures_are_one_style(random):
    found = clusters.cluster(np.tile(random.normal(size=300).astype(np.float32) * 1e4, (8, 1)))
    assert found.labels.tolist() == [0] * 8
    assert found.medoids.tolist() == [0]


def test_few_pictures_are_no_style(random):
    for count in range(1, clusters.LEAST):
        found = clusters.cluster(random.normal(size=(count, 3)).astype(np.float32))
        assert (found.labels == -1).all()
        assert len(found.medoids) == 0


def test_projection_keeps_distances_and_says_how_well(random, monkeypatch):
    styles = groups(random, (40, 40), 20_000).astype(np.float32)
    batches = [styles[:32], styles[32:64], styles[64:]]
    kept, errors = clusters.gathered(iter(batches), 80)
    assert errors is None
    np.testing.assert_array_equal(kept, styles)
    monkeypatch.setattr(clusters, "EXACT", 1 << 20)
    projected, errors = clusters.gathered(iter(batches), 80)
    assert projected.shape == (80, clusters.DIMENSIONS)
    upper = np.triu_indices(80, 1)
    ratio = pairwise_distances(projected.astype(float))[upper] / pairwise_distances(styles.astype(float))[upper] - 1
    assert np.abs(ratio).max() < 0.2
    np.testing.assert_allclose(np.sort(errors), np.sort(ratio), atol=1e-3)
    again, _ = clusters.gathered(iter(batches), 80)
    np.testing.assert_array_equal(projected, again)


@pytest.fixture(scope="module")
def textures(tmp_path_factory):
    """Six coarse red and six fine grey textures, a file that is no picture, and a hostile name."""
    folder = tmp_path_factory.mktemp("textures")
    random = np.random.default_rng(2)
    (folder / "<b>red").mkdir()
    for number in range(6):
        coarse = Image.fromarray(random.integers(0, 255, (6, 6, 3), np.uint8)).resize((90, 70))
        Image.fromarray(np.asarray(coarse) // np.array([1, 3, 3], np.uint8)).save(folder / "<b>red" / f"{number}.png")
        grey = random.integers(0, 255, (60, 80), np.uint8)
        Image.fromarray(grey).save(folder / f"grey\udcf6{number}.png")  # no UTF-8
    (folder / "broken.jpg").write_text("no picture")
    return folder


def test_command(textures, tmp_path):
    result = run_here("style", "cluster", "--images", textures, "--out", tmp_path, "--noise", "0.05")
    assert result.returncode == 0, result.stderr
    assert "'broken.jpg' cannot be read" in result.stderr
    rows = table(tmp_path)
    assert list(rows[0]) == ["file", "cluster", "is_medoid"]
    labels = {row["file"]: row["cluster"] for row in rows}
    assert len(labels) == 12
    assert r"grey\udcf60.png" in labels
    assert adjusted_rand_score(["grey" in name for name in labels], list(labels.values())) > 0.8
    assert sorted(row["cluster"] for row in rows if row["is_medoid"] == "1") == ["0", "1"]
    page = (tmp_path / "index.html").read_text()
    assert "<b>red" not in page
    assert "&lt;b&gt;red/0.png" in page
    assert "HDBSCAN, which needs no reach, finds" in page
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("map.png", "k_distance.png"))


@pytest.mark.parametrize("count", [1, 6])
def test_one_grey_picture_and_identical_ones(count, tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(count):
        Image.new("L", (20, 12), 128).save(tmp_path / "images" / f"{number}.png")
    clusters.run(tmp_path / "images", tmp_path / "out", "efficientnet-lite0", "random", 0.1)
    assert {row["cluster"] for row in table(tmp_path / "out")} == ({"-1"} if count == 1 else {"0"})
    assert (tmp_path / "out" / "index.html").exists()


def test_bad_input(tmp_path):
    with pytest.raises(AnnotatorError, match="no pictures in"):
        clusters.run(tmp_path, tmp_path, "efficientnet-lite0", "random", 0.1)
    with pytest.raises(AnnotatorError, match=r"share of noise of 1\.5"):
        clusters.run(tmp_path, tmp_path, "efficientnet-lite0", "random", 1.5)
    (tmp_path / "a.jpg").write_text("no picture")
    with pytest.raises(AnnotatorError, match="None of the 1 pictures can be read"):
        clusters.run(tmp_path, tmp_path, "efficientnet-lite0", "random", 0.1)
