import dataclasses
import json
import pickle
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from annotator.errors import AnnotatorError, ExitCode
from annotator.models import bundle, examples
from annotator.models.backbones import build_network
from annotator.models.bundle import CONFIGURATION, EXAMPLES, WEIGHTS, Configuration, Label, Model
from annotator.models.examples import Examples

CONFIGURED = Configuration(
    name="test",
    backbone="efficientnet-lite0",
    labels=(Label("Violin", 3573), Label("Gadulka")),
    class_labels=(-1, 0, 1),
    temperature=1.5,
    threshold=0.4,
    lineage=("ImageNet-1k", "test"),
    metrics={"macro_f1": 0.5},
)


@pytest.fixture(scope="module")
def model():
    return Model(CONFIGURED, build_network("efficientnet-lite0", 3), "unsaved")


@pytest.fixture(scope="module")
def contents(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    bundle.save(model, folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write_zip(path, contents):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("name", ["folder", "model.zip"])
def test_what_is_saved_comes_back(model, tmp_path, name):
    bundle.save(model, tmp_path / name)
    loaded = bundle.load(tmp_path / name)
    assert loaded.configuration == CONFIGURED
    pixels = np.random.default_rng(0).integers(0, 255, (1, 64, 64, 3), np.uint8)
    np.testing.assert_array_equal(loaded.network.predict_on_batch(pixels), model.network.predict_on_batch(pixels))


def test_a_box_head_and_its_score_come_back(tmp_path):
    configuration = dataclasses.replace(CONFIGURED, box_score=(1.5, 0.5, -1.0), thresholds=(0.3, 0.6))
    model = Model(configuration, build_network("efficientnet-lite0", 3, boxes=True), "unsaved")
    bundle.save(model, tmp_path)
    loaded = bundle.load(tmp_path)
    assert loaded.configuration == configuration
    assert loaded.has_boxes
    np.testing.assert_array_equal(loaded.thresholds, [0.3, 0.6])
    pixels = np.random.default_rng(0).integers(0, 255, (1, 64, 64, 3), np.uint8)
    for found, wanted in zip(
        loaded.network.predict_on_batch(pixels), model.network.predict_on_batch(pixels), strict=True
    ):
        np.testing.assert_array_equal(found, wanted)


def kept_examples(channels=1280):
    features = np.random.default_rng(1).normal(size=(3, channels)).astype(np.float16)
    return Examples(features, ("Violin", "Gadulka", "Violin"), ("a.jpg", "ü <b>.png", ""), (b"one", b"", b"three"))


@pytest.mark.parametrize("name", ["folder", "model.zip"])
def test_examples_come_back_and_change_no_version(model, tmp_path, name):
    bundle.save(model, tmp_path / name)
    version = bundle.load(tmp_path / name).version
    bundle.save(dataclasses.replace(model, examples=kept_examples()), tmp_path / name)
    loaded = bundle.load(tmp_path / name)
    assert loaded.version == version
    np.testing.assert_array_equal(loaded.examples.features, kept_examples().features)
    for texts in ("names", "sources", "crops"):
        assert getattr(loaded.examples, texts) == getattr(kept_examples(), texts)
    bundle.save(model, tmp_path / name)
    assert bundle.load(tmp_path / name).examples is None


def test_no_examples_can_be_kept_too():
    none = Examples(np.zeros((0, 8), np.float16), (), (), ())
    back = examples.from_bytes(examples.to_bytes(none))
    assert back.features.shape == (0, 8)
    assert (back.names, back.sources, back.crops) == ((), (), ())


def test_one_threshold_is_that_of_all_labels(model):
    np.testing.assert_array_equal(model.thresholds, [0.4, 0.4])
    with pytest.raises(ValueError, match="2 labels need as many thresholds or none, got 1"):
        dataclasses.replace(CONFIGURED, thresholds=(0.1,))


def test_version_changes_with_configuration_and_with_weights():
    versions = {
        bundle.version_of(CONFIGURED, "a"),
        bundle.version_of(CONFIGURED, "b"),
        bundle.version_of(dataclasses.replace(CONFIGURED, threshold=0.41), "a"),
    }
    assert len(versions) == 3
    assert bundle.version_of(CONFIGURED, "a") in versions


def changed(contents, **fields):
    return contents | {CONFIGURATION: json.dumps(json.loads(contents[CONFIGURATION]) | fields).encode()}


def with_weights(contents, change):
    weights = safetensors.numpy.load(contents[WEIGHTS])
    change(weights)
    return contents | {WEIGHTS: safetensors.numpy.save(weights)}


def with_examples(contents, **values):
    return contents | {
        EXAMPLES: safetensors.numpy.save(safetensors.numpy.load(examples.to_bytes(kept_examples())) | values)
    }


DAMAGES = {
    "cut off": (lambda c: c | {WEIGHTS: c[WEIGHTS][:-100]}, "not fully covered"),
    "no weights": (lambda c: {CONFIGURATION: c[CONFIGURATION]}, "must hold"),
    "a name that climbs out": (lambda c: c | {"../../evil": b"x"}, "must hold"),
    "pickled weights": (lambda c: c | {WEIGHTS: pickle.dumps({"w": 1})}, "deserializing"),
    "no JSON": (lambda c: c | {CONFIGURATION: b"{"}, "Expecting"),
    "JSON of another kind": (lambda c: c | {CONFIGURATION: b"[]"}, "cannot be used"),
    "a later format": (lambda c: changed(c, format=99), "format 99"),
    "unknown backbone": (lambda c: changed(c, backbone="gpt"), "unknown backbone 'gpt'"),
    "unknown field": (lambda c: changed(c, surprise=1), "surprise"),
    "labels that no class has": (lambda c: changed(c, class_labels=[-1, 0, 0]), "class_labels"),
    "no negative class": (lambda c: changed(c, class_labels=[0, 1, 1]), "no instrument"),
    "temperature zero": (lambda c: changed(c, temperature=0), "temperature"),
    "threshold two": (lambda c: changed(c, threshold=2), "threshold"),
    "weights of another network": (lambda c: changed(c, backbone="vgg19"), "not those of the network"),
    "more classes than weights": (lambda c: changed(c, class_labels=[-1, 0, 1, 1]), "shape"),
    "not a number": (lambda c: with_weights(c, lambda w: w["head/bias"].fill(np.nan)), "not finite"),
    "a missing weight": (lambda c: with_weights(c, lambda w: w.pop("head/bias")), "head/bias"),
    "examples that are no numbers": (lambda c: c | {EXAMPLES: pickle.dumps({"w": 1})}, "deserializing"),
    "examples of another network": (lambda c: c | {EXAMPLES: examples.to_bytes(kept_examples(7))}, "7 features"),
    "examples that overlap": (lambda c: with_examples(c, ends=np.array([4, 2, 8])), "overlap"),
    "more examples than texts": (lambda c: with_examples(c, features=np.ones((4, 1280), np.float16)), "as many"),
    "texts of another kind": (lambda c: with_examples(c, texts=np.frombuffer(b"[1, 2]", np.uint8)), "cannot be used"),
    "classes that would take gigabytes": (lambda c: changed(c, class_labels=[-1, 0, 1] + [1] * 100_000), "at most"),
    "a number of an instrument that is a list": (
        lambda c: changed(c, labels=[{"name": "Violin", "mimo_id": [1]}, {"name": "Gadulka", "mimo_id": None}]),
        "not 'list'",
    ),
    "a score that is no number": (lambda c: changed(c, odds_score=[1, float("nan")]), "must be finite"),
    "boxes' score that is no number": (lambda c: changed(c, box_score=[1, float("inf"), 0]), "must be finite"),
    "an infinite temperature": (lambda c: changed(c, temperature=float("inf")), "must be finite"),
    "a configuration of 5 MB": (lambda c: c | {CONFIGURATION: b" " * (5 << 20)}, "larger than"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_and_hostile_bundles_are_refused_in_one_line(contents, tmp_path, damage):
    change, message = DAMAGES[damage]
    write_zip(tmp_path / "model.zip", change(dict(contents)))
    with pytest.raises(AnnotatorError, match=message) as caught:
        bundle.load(tmp_path / "model.zip")
    assert caught.value.code is ExitCode.BAD_MODEL
    assert str(caught.value).startswith("The model 'model.zip' cannot be used: ")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_bytes(b"PK")])
def test_no_bundle_at_all(tmp_path, make):
    make(tmp_path / "model")
    with pytest.raises(AnnotatorError, match="cannot be used"):
        bundle.load(tmp_path / "model")


def test_a_zip_that_unpacks_to_gigabytes_is_not_unpacked(contents, tmp_path, monkeypatch):
    monkeypatch.setitem(bundle.MAXIMUM_BYTES, WEIGHTS, 1 << 20)
    write_zip(tmp_path / "model.zip", contents | {WEIGHTS: bytes(64 << 20)})
    with pytest.raises(AnnotatorError, match=r"weights\.safetensors is larger than 1048576 bytes"):
        bundle.load(tmp_path / "model.zip")


@pytest.mark.parametrize("text", ["5", "null", '"x"', "[" * 9999, '{"format": 1, "class_labels": [Infinity, 0]}'])
def test_a_bundle_whose_description_is_none_is_told(builtin_model, tmp_path, text):
    bundle.save(builtin_model, tmp_path / "model")
    (tmp_path / "model" / "model.json").write_text(text)
    with pytest.raises(AnnotatorError, match="cannot be used"):
        bundle.load(tmp_path / "model")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compressed_bundle_that_is_damaged_is_told(builtin_model, tmp_path, method):
    bundle.save(builtin_model, tmp_path / "model")
    with zipfile.ZipFile(tmp_path / "model.zip", "w", method) as archive:
        for file in sorted((tmp_path / "model").iterdir()):
            archive.write(file, file.name)
        start = archive.getinfo("model.json").header_offset
    content = bytearray((tmp_path / "model.zip").read_bytes())
    for place in range(start + 60, start + 120):
        content[place] ^= 255
    (tmp_path / "model.zip").write_bytes(content)
    with pytest.raises(AnnotatorError, match="cannot be used"):
        bundle.load(tmp_path / "model.zip")
