import keras
import numpy as np
import pytest
from PIL import Image

from annotator.models.backbones import BACKBONES, STRIDE, build_network
from annotator.models.box_head import BOX_STRIDE, WINDOW
from annotator.models.preprocessing import Preprocessing
from annotator.vocabulary import by_mimo_id
from tests.conftest import SHARED

PIXELS = np.random.default_rng(0).integers(0, 255, (2, 64, 96, 3), np.uint8)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_gives_logits_at_stride_32(backbone):
    network = build_network(backbone, classes=3)
    assert network.predict_on_batch(PIXELS).shape == (2, 64 // STRIDE, 96 // STRIDE, 3)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_takes_a_box_head(backbone):
    network = build_network(backbone, classes=3, boxes=True)
    logits, boxes = network.predict_on_batch(PIXELS)
    assert logits.shape == (2, 2, 3, 3)
    assert boxes.shape == (2, 64 // BOX_STRIDE, 96 // BOX_STRIDE, 5)
    # Untrained, each cell offers its own window, and hardly believes in it.
    np.testing.assert_allclose(boxes[..., 1:], np.broadcast_to([-1, -1, 1, 1], (2, 4, 6, 4)) * WINDOW / 2)


def test_what_the_box_head_says_moves_with_the_picture():
    """It reads no mean over the map, so a shift by whole cells of the deepest map only shifts its answer."""
    network = build_network("efficientnet-lite0", classes=2, boxes=True)
    pixels = np.random.default_rng(0).integers(0, 255, (1, 960, 960, 3), np.uint8)
    whole, moved = (network.predict_on_batch(image)[1][0] for image in (pixels, pixels[:, 64:, 32:]))
    cells = np.s_[20:36, 20:36]  # too far from the border for its zeros to reach
    np.testing.assert_allclose(moved[cells], whole[4:, 2:][cells], atol=1e-3)


@pytest.mark.parametrize(
    ("backbone", "application"), [("resnet50", keras.applications.resnet50), ("vgg19", keras.applications.vgg19)]
)
def test_preprocessing_is_that_of_keras_applications(backbone, application):
    ours = BACKBONES[backbone].preprocessing(keras.ops.cast(PIXELS, "float32"))
    np.testing.assert_allclose(ours, application.preprocess_input(PIXELS.astype(np.float32)), atol=1e-4)


def test_grey_becomes_about_zero_in_both_channel_orders():
    for channels in ("RGB", "BGR"):
        preprocessing = Preprocessing((100.0, 150.0, 200.0), (2.0, 2.0, 2.0), channels)
        pixel = np.array(preprocessing.grey, np.float32)[None, None, None]
        np.testing.assert_allclose(preprocessing(keras.ops.convert_to_tensor(pixel)), 0, atol=1e-6)


def test_unknown_names_are_told():
    with pytest.raises(ValueError, match="unknown backbone 'resnet51', known are efficientnet-lite0, resnet50, vgg16"):
        build_network("resnet51", classes=2)
    with pytest.raises(ValueError, match='channels must be "RGB" or "BGR", got \'GBR\''):
        Preprocessing((0, 0, 0), (1, 1, 1), "GBR")


def test_builtin_model_names_photographs(builtin_model):
    """The reader, the layer order, the padding and the preprocessing are right, or this is near chance (4 %)."""
    folder = SHARED / "data/photographs"
    if not folder.exists():
        pytest.skip("needs the photographs beside the project")
    wanted = {"violin": 3573, "harp": 3285, "accordion": 3732, "banjo": 3226, "guitar": 3237, "saxophone": 4346}
    right = total = 0
    for name, mimo_id in wanted.items():
        paths = sorted((folder / name).iterdir())[:8]
        pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
        logits = builtin_model.network.predict_on_batch(pixels).mean(axis=(1, 2))
        for best in logits.argmax(axis=1):
            position = builtin_model.configuration.class_labels[best]
            right += position >= 0 and builtin_model.labels[position].mimo_id == mimo_id
            total += 1
    assert right / total > 0.8


def test_builtin_model_knows_what_imagenet_knows(builtin_model):
    assert len(builtin_model.labels) == 23
    assert builtin_model.configuration.class_labels.count(-1) == 1000 - 25
    assert all(by_mimo_id()[label.mimo_id].name == label.name for label in builtin_model.labels)
