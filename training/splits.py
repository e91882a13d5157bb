"""Part labelled pictures into training, development and test so that nothing seen in one is judged in another.

Pictures of one artwork or museum object stay together, and so do near-duplicates (a museum's and a Flickr copy of one
painting), which a perceptual hash finds. What a model was tested on stays test for every model that starts from it, and
what it learnt from or was chosen by is learnt from or chooses again.
"""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from PIL import Image
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from annotator.errors import AnnotatorError, ExitCode
from annotator.pictures import open_rgb
from training.datasets.pictures import PARTS, Picture

FOLDS = 10  # of which one is for development and two are for the test
NEAR = 4  # bits, of 64, in which the hashes of near-duplicates differ at the most
CHUNK = 512  # pictures that are compared with all others at a time: all pairs at once take too much memory


@dataclass(frozen=True)
class Fingerprint:
    """What tells a picture from others.

    Attributes:
        sha256: twelve hexadecimal digits of the file's SHA-256.
        perceptual: 64 bits that hardly change when the picture is resized, re-compressed or slightly recoloured.
    """

    sha256: str
    perceptual: int


@dataclass(frozen=True)
class Split:
    """Pictures by what they are for; no group and no near-duplicate is in two of them."""

    training: tuple[Picture, ...]
    development: tuple[Picture, ...]
    test: tuple[Picture, ...]

    def only(self, chosen: Collection[Picture]) -> Split:
        """Some of the pictures, each for what it was.

        Raises:
            AnnotatorError: (USAGE) none of them is for one of the three.
        """
        kept = set(chosen)
        parts = {name: tuple(one for one in getattr(self, name) if one in kept) for name in PARTS}
        for name, some in parts.items():
            if not some:
                raise AnnotatorError(
                    f"None of the {len(kept)} pictures whose labels have enough objects is for {name}. Add pictures of "
                    "these, take out those of others, or give another seed.",
                    ExitCode.USAGE,
                )
        return Split(**parts)


def perceptual_hash(image: np.ndarray) -> int:
    """The signs of a picture's lowest frequencies, 64 bits (Zauner 2010, section 3.2.1: DCT of 32 x 32 grey pixels).

    Args:
        image: (h, w, 3) uint8 RGB.
    """
    grey = np.asarray(Image.fromarray(image).convert("L").resize((32, 32), Image.Resampling.BOX), np.float64)
    low = dctn(grey, norm="ortho")[:8, :8].ravel()
    bits = low > np.median(low[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def fingerprint(picture: Picture) -> Fingerprint:
    """The fingerprint of a picture's file.

    Raises:
        AnnotatorError: (BAD_IMAGE) it cannot be read.
    """
    image = open_rgb(picture.path)
    return Fingerprint(hashlib.sha256(picture.path.read_bytes()).hexdigest()[:12], perceptual_hash(image))


def readable(pictures: Sequence[Picture]) -> dict[Picture, Fingerprint]:
    """The fingerprints of the pictures that can be read; the others are named and left out.

    Raises:
        AnnotatorError: (BAD_IMAGE) none can be read.
    """
    found: dict[Picture, Fingerprint] = {}
    unreadable = 0
    for picture in pictures:
        try:
            found[picture] = fingerprint(picture)
        except AnnotatorError as error:
            unreadable += 1
            if unreadable <= 10:
                print(error, file=sys.stderr)
    if not found:
        raise AnnotatorError(f"None of the {len(pictures)} pictures can be read.", ExitCode.BAD_IMAGE)
    if unreadable:
        print(f"{unreadable} of {len(pictures)} pictures cannot be read and are left out.", file=sys.stderr)
    return found


def alike(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n, m) bool: which of n perceptual hashes, uint64, differ from which of m others in `NEAR` bits or fewer."""
    return np.asarray(np.bitwise_count(first[:, None] ^ second[None]) <= NEAR)


def near_duplicates(fingerprints: Sequence[Fingerprint]) -> np.ndarray:
    """Pairs of positions (k, 2) whose perceptual hashes differ in `NEAR` bits or fewer; the smaller position first."""
    hashes = np.array([one.perceptual for one in fingerprints], np.uint64)
    pairs = [np.zeros((0, 2), int)]
    for start in range(0, len(hashes), CHUNK):
        first, second = np.nonzero(alike(hashes[start : start + CHUNK], hashes))
        keep = first + start < second
        pairs.append(np.stack([first[keep] + start, second[keep]], axis=1))
    return np.concatenate(pairs)


def joined_groups(groups: Sequence[str], pairs: np.ndarray) -> np.ndarray:
    """(n,) int: numbers of groups after those that share a pair of near-duplicates are made one."""
    _, numbers = np.unique(np.array(groups), return_inverse=True)
    count = int(numbers.max()) + 1
    links = coo_array((np.ones(len(pairs)), (numbers[pairs[:, 0]], numbers[pairs[:, 1]])), shape=(count, count))
    return connected_components(links, directed=False)[1][numbers]


def split(
    pictures: Sequence[Picture],
    fingerprints: Sequence[Fingerprint],
    seed: int,
    earlier: Mapping[str, str] = MappingProxyType({}),
) -> Split:
    """Part pictures into about 70 % training, 10 % development and 20 % test, each label alike where possible.

    Pictures whose data set says what they are for (`Picture.part`) are that, and those of an earlier stage what they
    were there, with all of their group; only the others are parted.

    Args:
        pictures: what is parted.
        fingerprints: of each.
        seed: for which groups go where.
        earlier: by SHA-256 digits what pictures were for in an earlier stage, "training", "development" or "test".
            A group of which several are told is test before it is development, and that before it is training.

    Raises:
        AnnotatorError: (USAGE) there are fewer groups than it takes.
    """
    given = {name: tuple(one for one in pictures if one.part == name) for name in PARTS}
    free_prints = [one for one, picture in zip(fingerprints, pictures, strict=True) if not picture.part]
    own = _split([picture for picture in pictures if not picture.part], free_prints, seed, earlier)
    parts = {name: given[name] + getattr(own, name) for name in given}
    for name, some in parts.items():
        if not some:
            raise AnnotatorError(
                f"No picture is for {name}. What the data, or an earlier stage, say that pictures are for they stay: "
                f"give some of each of {', '.join(parts)}, or add pictures that are for nothing yet.",
                ExitCode.USAGE,
            )
    return Split(**parts)


def _split(
    pictures: Sequence[Picture], fingerprints: Sequence[Fingerprint], seed: int, earlier: Mapping[str, str]
) -> Split:
    if not pictures:
        return Split((), (), ())
    groups = joined_groups([picture.group for picture in pictures], near_duplicates(fingerprints))
    of_group: dict[int, str] = {}
    for name in PARTS:  # test last: it has the last word
        of_group |= {
            group: name
            for group, one in zip(groups.tolist(), fingerprints, strict=True)
            if earlier.get(one.sha256) == name
        }
    was = [of_group.get(group, "") for group in groups.tolist()]
    kept = Split(*(tuple(one for one, own in zip(pictures, was, strict=True) if own == name) for name in PARTS))
    free = [number for number, own in enumerate(was) if not own]
    if not free:
        return kept
    objects = len(np.unique(groups[free]))
    if objects < FOLDS and kept.development and kept.test:  # a few new ones: what chooses and judges is there
        return replace(kept, training=kept.training + tuple(pictures[i] for i in free))
    if objects < FOLDS and kept.training and kept.test:  # models made before bundles noted what chose: that is left
        return replace(kept, development=tuple(pictures[i] for i in free))
    if objects < FOLDS:
        raise AnnotatorError(
            f"{len(free)} pictures of {objects} objects are too few to part into training, development and test: "
            f"{FOLDS} objects are the least. Add pictures.",
            ExitCode.USAGE,
        )
    names = [pictures[i].regions[0].label.name if pictures[i].regions else "" for i in free]
    if max(Counter(names).values()) < FOLDS:  # too few of each to spread evenly
        names = [""] * len(names)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(free, names, groups[free])
    fold = np.empty(len(free), int)
    with warnings.catch_warnings():  # of a rare label there is not one for each fold
        warnings.simplefilter("ignore", UserWarning)
        for number, (_, held) in enumerate(folds):
            fold[held] = number

    def chosen(numbers: Collection[int]) -> tuple[Picture, ...]:
        return tuple(pictures[free[i]] for i in np.flatnonzero(np.isin(fold, list(numbers))).tolist())

    # A few test pictures of an earlier stage must not crowd out a test on this stage's own data.
    return Split(kept.training + chosen(range(3, FOLDS)), kept.development + chosen([0]), kept.test + chosen([1, 2]))


def check_leaks(
    parts: Split, fingerprints: Mapping[Picture, Fingerprint], earlier: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Fail loudly where a picture, its near-duplicate or another view of its object is judged and learnt from.

    Args:
        parts: which picture is for what.
        fingerprints: of each.
        earlier: as for `split`.

    Raises:
        AnnotatorError: (USAGE) with the first such pair.
    """
    order = [*parts.training, *parts.development, *parts.test]
    part = np.repeat([0, 1, 2], [len(parts.training), len(parts.development), len(parts.test)])
    seen: dict[str, tuple[int, Picture]] = {}
    for number, picture in zip(part, order, strict=True):
        other_part, other = seen.setdefault(picture.group, (int(number), picture))
        if other_part != number:
            raise _leak(picture, other, "are views of one object")
        own = fingerprints[picture].sha256
        if number == 0 and "test" in {earlier.get(digest) for digest in (own, *picture.sources)}:
            raise AnnotatorError(
                f"Leak: {picture.path.name!r} would be learnt from, but an earlier stage is tested on it, or on a "
                "picture that it was composed of. Give both stages the same data and seed.",
                ExitCode.USAGE,
            )
        if number == 2 and (earlier.get(own) == "training" or "training" in map(earlier.get, picture.sources)):
            raise AnnotatorError(
                f"Leak: {picture.path.name!r} would be judged by, but an earlier stage learnt from it, or from a "
                "picture that it was composed of. Give both stages the same data and seed.",
                ExitCode.USAGE,
            )
    for first, second in near_duplicates([fingerprints[picture] for picture in order]):
        if part[first] != part[second]:
            raise _leak(order[first], order[second], "show nearly the same")
    held = [*parts.development, *parts.test]
    judged = {digest for picture in held for digest in (fingerprints[picture].sha256, *picture.sources)}
    for picture in parts.training:
        if not judged.isdisjoint(picture.sources):
            raise AnnotatorError(
                f"Leak: {picture.path.name!r} would be learnt from, but was made of what is kept to judge by. Make it "
                "again with the seed of this training.",
                ExitCode.USAGE,
            )


def _leak(one: Picture, other: Picture, why: str) -> AnnotatorError:
    return AnnotatorError(
        f"Leak: {str(one.path)!r} and {str(other.path)!r} {why} but are in different splits. Give them one split, or "
        "take one out.",
        ExitCode.USAGE,
    )
