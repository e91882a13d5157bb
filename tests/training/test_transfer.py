"""Where stages start from: given weights, and what an earlier model could name."""

import keras
import numpy as np
import pytest
from PIL import Image

from annotator.errors import AnnotatorError, ExitCode
from annotator.models.bundle import Label
from tests.conftest import SHARED
from training import transfer

HARP, SUN = Label("Harp", 3285), Label("Sun")


def test_given_weights_are_those_of_keras_applications(gallery):
    weights = SHARED / "data/vgg16_notop.weights.h5"
    if not weights.exists():
        pytest.skip("needs the weights of VGG16 beside the project")
    model = transfer.start("vgg16", str(weights), [HARP, SUN])
    assert model.labels == (HARP, SUN)
    oracle = keras.applications.VGG16(weights=None, include_top=False)
    oracle.load_weights(weights)
    with Image.open(gallery / "violin_in_oil.png") as picture:
        pixels = np.asarray(picture.convert("RGB").resize((96, 64)))[None]
    wanted = oracle.predict_on_batch(keras.applications.vgg16.preprocess_input(pixels.astype(np.float32)))
    trunk = keras.Model(model.network.input, model.network.get_layer("head").input)
    np.testing.assert_allclose(trunk.predict_on_batch(pixels), wanted, rtol=1e-4, atol=1e-3)
    assert wanted.std() > 1
    with pytest.raises(AnnotatorError, match="of vgg19 cannot be had") as caught:
        transfer.start("vgg19", str(weights), [HARP, SUN])
    assert caught.value.code is ExitCode.BAD_MODEL


@pytest.mark.parametrize(
    ("backbone", "weights", "message", "code"),
    [
        ("resnet51", "random", "No backbone 'resnet51'; there are efficientnet-lite0, resnet50", ExitCode.USAGE),
        ("resnet50", "absent.h5", "'absent.h5' of resnet50 cannot be had.*give as --weights", ExitCode.BAD_MODEL),
        ("efficientnet-lite0", "own.h5", "takes no file such as 'own.h5'. Leave out --weights", ExitCode.USAGE),
    ],
)
def test_what_cannot_be_started_from_is_told(backbone, weights, message, code):
    with pytest.raises(AnnotatorError, match=message) as caught:
        transfer.start(backbone, weights, [HARP])
    assert caught.value.code is code
    assert "\n" not in str(caught.value)


def test_a_model_of_other_labels_learns_new_ones_and_keeps_its_own(builtin_model, gallery):
    model = transfer.extended(builtin_model, [HARP, SUN])
    assert model.labels == (*builtin_model.labels, SUN)
    with Image.open(gallery / "violin_in_oil.png") as picture:
        pixels = np.asarray(picture.convert("RGB").resize((96, 64)))[None]
    before, after = (own.network.predict_on_batch(pixels) for own in (builtin_model, model))
    np.testing.assert_allclose(after[..., :-1], before, atol=1e-4)
    assert model.configuration.class_labels[-1] == len(builtin_model.labels)
