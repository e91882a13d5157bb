"""The model that works before any training: EfficientNet-Lite0's own ImageNet head, read through our vocabulary."""

from __future__ import annotations

from annotator.models import efficientnet_lite0
from annotator.models.backbones import build_network
from annotator.models.bundle import Configuration, Label, Model, version_of
from annotator.vocabulary import imagenet_instruments

NAME = "imagenet-efficientnet-lite0"
# See README, "How the default threshold was chosen".
THRESHOLD = 0.5


def load() -> Model:
    """The built-in model: ImageNet's classes of instruments summed into our labels, all others "no instrument"."""
    labels: list[Label] = []
    class_labels = [-1] * 1000
    for instrument in imagenet_instruments():
        for position in instrument.imagenet_classes:
            class_labels[position] = len(labels)
        labels.append(Label(instrument.name, instrument.mimo_id))
    configuration = Configuration(
        name=NAME,
        backbone="efficientnet-lite0",
        labels=tuple(labels),
        class_labels=tuple(class_labels),
        temperature=1.0,
        threshold=THRESHOLD,
        lineage=("ImageNet-1k",),
    )
    network = build_network(configuration.backbone, len(class_labels))
    efficientnet_lite0.load_imagenet_weights(network)
    network.get_layer("head").set_weights(efficientnet_lite0.imagenet_head())
    return Model(configuration, network, version_of(configuration, efficientnet_lite0.WEIGHTS_SHA256))
