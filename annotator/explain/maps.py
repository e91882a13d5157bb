"""Which rectified maps of each backbone VisualBackProp multiplies, and how each was made from the one before.

Bojarski et al. (2018) take the map behind every rectifier of a plain chain of convolutions. What that means for ours:

- VGG: the rectifier is fused into the convolution, so all 16 (VGG16: 13) convolutions, block1_conv1 to block5_conv4. A
  pooling between two of them is a step of its own.
- ResNet50: conv1_relu and the 16 outputs of the blocks, which are rectified after the sum: only there do both branches
  meet. A block counts as one convolution of 3 x 3 with the block's stride; its strided convolution of one pixel would
  by itself leave three quarters of the map empty.
- EfficientNet-Lite0: the outputs of its blocks are not rectified. Rectified are the first map, that behind each
  block's depthwise convolution, the only ones that look at neighbours, and the last: 18.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from annotator.models import efficientnet_lite0


class Step(NamedTuple):
    """The geometry of a convolution or pooling: cell i sees cells stride * i - before, and kernel - 1 more.

    Attributes:
        kernel: cells that one cell sees, along each side; at least the stride.
        stride: between the middles of what neighbours see.
        before: cells of padding at the top and the left, at most kernel - stride.
    """

    kernel: int
    stride: int
    before: int


class RectifiedMap(NamedTuple):
    """A layer whose output is not negative.

    Attributes:
        layer: its name.
        steps: from the map before, or the picture, to it.
    """

    layer: str
    steps: tuple[Step, ...]


def _same(kernel: int, stride: int = 1) -> Step:
    """Padding "same" on a side that the stride divides: the odd cell goes to the right."""
    return Step(kernel, stride, (kernel - stride) // 2)


def _vgg(convolutions: tuple[int, ...]) -> Iterator[RectifiedMap]:
    for block, count in enumerate(convolutions, start=1):
        for number in range(1, count + 1):
            pooling = (Step(2, 2, 0),) if number == 1 and block > 1 else ()
            yield RectifiedMap(f"block{block}_conv{number}", (*pooling, _same(3)))


def _resnet(blocks: tuple[int, ...]) -> Iterator[RectifiedMap]:
    yield RectifiedMap("conv1_relu", (Step(7, 2, 3),))
    for stage, count in enumerate(blocks, start=2):
        for number in range(1, count + 1):
            steps: tuple[Step, ...] = (_same(3),)
            if number == 1:
                steps = (Step(3, 2, 1), _same(3)) if stage == 2 else (Step(3, 2, 1),)  # the first with a pooling
            yield RectifiedMap(f"conv{stage}_block{number}_out", steps)


# For each key of annotator.models.backbones.BACKBONES, shallowest first.
RECTIFIED_MAPS: dict[str, tuple[RectifiedMap, ...]] = {
    "efficientnet-lite0": tuple(
        RectifiedMap(name, (_same(kernel, stride),)) for name, kernel, stride in efficientnet_lite0.RECTIFIED
    ),
    "resnet50": tuple(_resnet((3, 4, 6, 3))),
    "vgg16": tuple(_vgg((2, 2, 3, 3, 3))),
    "vgg19": tuple(_vgg((2, 2, 4, 4, 4))),
}
