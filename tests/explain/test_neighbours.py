"""Labelled examples beside a detection: those that the network takes for most alike."""

import io

import numpy as np
from PIL import Image

from annotator.explain import neighbours
from annotator.explain.crops import crop_around
from annotator.models.backbones import BACKBONES
from annotator.models.examples import Examples


def test_the_nearest_are_those_of_the_largest_cosine(random):
    features = random.normal(size=(5, 7)).astype(np.float32)
    others = random.normal(size=(9, 7)).astype(np.float16)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    others /= np.linalg.norm(others.astype(np.float32), axis=1, keepdims=True).astype(np.float16)
    examples = Examples(others, ("x",) * 9, ("y",) * 9, (b"",) * 9)
    places, cosines = neighbours.nearest(features, examples)
    for own, found, said in zip(features, places, cosines, strict=True):
        slow = [sum(a * b for a, b in zip(own.tolist(), other.tolist(), strict=True)) for other in others]
        wanted = sorted(range(9), key=lambda i: -slow[i])[: neighbours.SHOWN]
        assert found.tolist() == wanted
        np.testing.assert_allclose(said, [slow[i] for i in wanted], atol=1e-5)


def test_few_examples_or_none_are_no_error(random):
    features = random.normal(size=(4, 7)).astype(np.float32)
    for count in (0, 2):
        examples = Examples(np.ones((count, 7), np.float16), ("x",) * count, ("y",) * count, (b"",) * count)
        places, cosines = neighbours.nearest(features, examples)
        assert places.shape == cosines.shape == (4, count)


def test_an_example_is_most_like_itself(builtin_model, small):
    regions = []
    for name in ("harp_in_oil.png", "violin_in_oil.png", "empty_room.png"):
        with Image.open(small / name) as picture:
            image = np.asarray(picture.convert("RGB"))
        regions += [(image, np.array(box, float), name, "gallery") for box in ((10, 20, 90, 120), (40, 0, 128, 60))]
    examples = neighbours.examples_of(builtin_model, regions)
    assert examples.names == tuple(name for _, _, name, _ in regions)
    np.testing.assert_allclose(np.linalg.norm(examples.features.astype(np.float32), axis=1), 1, atol=1e-2)
    for crop in examples.crops:
        with Image.open(io.BytesIO(crop)) as picture:
            assert (picture.format, picture.size) == ("JPEG", (neighbours.EXAMPLE_SIDE,) * 2)
            assert len(crop) < 8000

    grey = BACKBONES[builtin_model.configuration.backbone].preprocessing.grey
    crops = np.array([crop_around(image, box, grey) for image, box, _, _ in regions])
    features = neighbours.described(neighbours.describer_of(builtin_model), crops)
    # By hand: what the head gets, averaged over the cells of each crop.
    by_hand = np.array([_pooled(builtin_model, crop) for crop in crops])
    np.testing.assert_allclose(features, by_hand, atol=1e-4)
    places, cosines = neighbours.nearest(features, examples)
    assert places[:, 0].tolist() == list(range(len(regions)))
    np.testing.assert_allclose(cosines[:, 0], 1, atol=1e-3)


def _pooled(model, crop):
    import keras

    trunk = keras.Model(model.network.input, model.network.get_layer("head").input)
    mean = trunk.predict_on_batch(crop[None])[0].mean(axis=(0, 1))
    return mean / np.linalg.norm(mean)
