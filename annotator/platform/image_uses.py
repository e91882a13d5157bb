"""What each image of a project is for, training or test: decided once, kept on the server beside the image."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence

from annotator.platform import properties
from annotator.platform.connection import Connection
from annotator.platform.images import ProjectImage

USE = "instrument_use"  # property of an image
USES = TRAINING, TEST = "training", "test"
TEST_SHARE = 1 / 3  # of the artworks of each kind


def recorded(connection: Connection, images: Iterable[ProjectImage]) -> dict[int, str]:
    """What images are for, by id; those of which nothing is recorded are absent."""
    found = {}
    for image in images:
        use = properties.read(connection, properties.IMAGE, image.id, image.name).get(USE)
        if use in USES:
            found[image.id] = use
    return found


def record(connection: Connection, image: ProjectImage, use: str) -> str:
    """Write down what an image is for. Returns what stands there: another job may have been faster."""
    properties.record(connection, properties.IMAGE, image.id, USE, use, image.name)
    return properties.read(connection, properties.IMAGE, image.id, image.name)[USE]


def decide(
    groups: Mapping[int, Hashable], kinds: Mapping[int, Hashable], complete: Sequence[int], before: Mapping[int, str]
) -> dict[int, str]:
    """What images are for; what was decided before stays.

    Of the artworks of each kind a third is for the test, in an order that only their ids decide. Only images that were
    looked through can be, for elsewhere nobody knows what was missed. Images of one artwork share its use; where an
    artwork came apart in earlier decisions, an image that is not for the test is for nothing.

    Args:
        groups: the artwork of each image, by id.
        kinds: what is to be spread evenly, such as whether it shows an instrument, by id of the image.
        complete: ids of images that were looked through.
        before: what was decided earlier, by id.

    Returns:
        TRAINING or TEST by id; images for nothing are absent.
    """
    members: dict[Hashable, list[int]] = {}
    for image, group in groups.items():
        members.setdefault(group, []).append(image)
    use_of: dict[Hashable, str] = {}
    for group, images in members.items():
        uses = {before[image] for image in images if image in before}
        if uses:
            use_of[group] = TEST if TEST in uses else TRAINING
    by_kind: dict[Hashable, list[Hashable]] = {}
    for group, images in members.items():
        if set(images) <= set(complete):
            by_kind.setdefault(kinds[min(images)], []).append(group)
    for own in by_kind.values():
        free = sorted((group for group in own if group not in use_of), key=lambda group: _lot(min(members[group])))
        lacking = math.ceil(TEST_SHARE * len(own)) - sum(use_of.get(group) == TEST for group in own)
        # A kind with one artwork is learnt, not judged.
        lacking = min(lacking, len(own) - 1)
        for group in free[: max(0, lacking)]:
            use_of[group] = TEST
    decided = {}
    for group, images in members.items():
        use = use_of.get(group, TRAINING)
        came_apart = use == TEST and any(before.get(image) == TRAINING for image in images)
        for image in images:
            if use == TRAINING or (image in complete and (not came_apart or before.get(image) == TEST)):
                decided[image] = use
    return decided


def may_teach(image: int) -> bool:
    """Whether an image that nobody has looked through may be learnt from: not the third that `decide` draws first.

    That third is left for the tests to come.
    """
    return int(_lot(image)[:8], 16) >= TEST_SHARE * 16**8


def _lot(image: int) -> str:
    """A number that looks drawn by lot and is the same on every machine."""
    return hashlib.sha256(str(image).encode()).hexdigest()
