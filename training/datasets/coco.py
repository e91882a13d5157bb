"""Pictures with boxes in COCO's format: what `compose` writes, and what most annotation tools export."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from annotator.errors import AnnotatorError, ExitCode
from annotator.models.bundle import Label
from training.datasets.pictures import PARTS, Picture, Region, group_of_file, label_named
from training.datasets.tables import inside, read_json

ANNOTATIONS = "annotations.json"
IMAGES = "images"


def read(path: Path) -> list[Picture]:
    """The pictures that ``annotations.json`` lists, also those without instruments.

    A file that is listed repeatedly, as where exports were put together, is one picture with the regions of all, each
    once.

    Args:
        path: holds ``annotations.json`` and the images, in it or in ``images/``. Besides COCO's own fields an image may
            have a ``group``, a ``split`` and ``sources`` (see `Picture`), a category a ``mimo_id``, and an annotation
            ``ignore`` (as ``iscrowd``: difficult).

    Raises:
        AnnotatorError: (USAGE) the file is damaged, or names a category or image that it does not list.
    """
    content = read_json(path / ANNOTATIONS)
    try:
        labels = {item["id"]: label_named(str(item["name"]), _mimo_id(item)) for item in content["categories"]}
        regions: dict[Any, list[Region]] = {image["id"]: [] for image in content["images"]}
        for annotation in content["annotations"]:
            x, y, width, height = (float(number) for number in annotation["bbox"])
            difficult = bool(annotation.get("ignore") or annotation.get("iscrowd"))
            region = Region(labels[annotation["category_id"]], (x, y, x + width, y + height), difficult)
            regions[annotation["image_id"]].append(region)
        pictures: dict[Path, Picture] = {}
        for image, own in zip(content["images"], regions.values(), strict=True):
            picture = Picture(
                _file(path, image["file_name"]),
                str(image.get("group") or group_of_file(path, image["file_name"])),
                tuple(own),
                _part(image),
                tuple(str(source) for source in image.get("sources", ())),
            )
            first = pictures.setdefault(picture.path, picture)
            if first is not picture:
                pictures[picture.path] = replace(first, regions=tuple(dict.fromkeys((*first.regions, *own))))
        return list(pictures.values())
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotatorError(
            f"{ANNOTATIONS} is no COCO file: {type(error).__name__} at {error}.", ExitCode.USAGE
        ) from error


def annotation(number: int, image: int, category: int, box: Sequence[float]) -> dict[str, Any]:
    """A box as an entry of ``annotations``.

    Args:
        number: its id, above 0, which pycocotools takes for none.
        image: id of its image.
        category: id of what it shows.
        box: x0, y0, x1, y1 in pixels, top-left origin.
    """
    x0, y0, x1, y1 = box
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
    }


def write(
    path: Path,
    images: Sequence[dict[str, Any]],
    number_of: Mapping[Label, int],
    annotations: Sequence[dict[str, Any]],
) -> None:
    """Write ``annotations.json`` into a folder, as `read` takes it.

    Args:
        path: the folder.
        images: entries of ``images``.
        number_of: id of each label's category.
        annotations: of `annotation`.
    """
    categories = [{"id": number, "name": label.name, "mimo_id": label.mimo_id} for label, number in number_of.items()]
    content = {"images": images, "categories": categories, "annotations": annotations}
    (path / ANNOTATIONS).write_text(json.dumps(content, indent=1), encoding="utf-8")


def is_ours(path: Path) -> bool:
    """Whether a folder holds what `compose` or `stylise` wrote: their images name their sources."""
    try:
        content = read_json(path / ANNOTATIONS)
    except AnnotatorError:
        return False
    images = content.get("images", ()) if isinstance(content, dict) else ()
    return any(isinstance(image, dict) and "sources" in image for image in images)


def _part(image: dict[str, Any]) -> str:
    part = str(image.get("split") or "")
    if part not in ("", *PARTS):
        raise ValueError(f"split {part!r}, wanted {', '.join(PARTS)}")
    return part


def _mimo_id(category: dict[str, Any]) -> int | None:
    number = str(category.get("mimo_id") or "")
    return int(number) if number else None


def _file(path: Path, name: str) -> Path:
    files = [inside(folder, name) for folder in (path / IMAGES, path)]
    return next((file for file in files if file.is_file()), files[0])
