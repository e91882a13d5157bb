"""Evidence for what a job found: a picture for each annotation, and the report on the job's page."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from annotator.detection import Detections, Finer
from annotator.explain import neighbours
from annotator.explain.crops import crop_explainer_of, explain_crops
from annotator.models.bundle import Model
from annotator.pictures import jpeg
from annotator.platform.images import ProjectImage
from annotator.report.coco import Finding, Neighbour, Picture, alternatives_text
from annotator.report.heat import evidence_picture
from annotator.report.page import MOST_BYTES, QUALITY, thumbnail_side, write_page

REPORTED = 200  # images on the report, those with the best detections: a browser must still open it


class Evidence:
    """Explains detections image by image, and remembers them for the report; several threads may ask.

    Args:
        model: that detects.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._explaining = crop_explainer_of(model)
        self._describing = neighbours.describer_of(model)
        self._pictures: dict[int, Picture] = {}
        self._left_out = 0
        self._lock = threading.Lock()

    def of(
        self, image: ProjectImage, pixels: np.ndarray, detections: Detections, finer: Finer | None = None
    ) -> list[bytes]:
        """What speaks for each detection in an image.

        Args:
            image: which.
            pixels: (h, w, 3) uint8 RGB.
            detections: in these pixels.
            finer: larger levels of the image, where they were looked at too.

        Returns:
            A JPEG for each: the crop, and over it VisualBackProp's mask and that of its label.

        Raises:
            AnnotatorError: (BAD_IMAGE) the pixels of a larger level cannot be had.
        """
        names = [label.name for label in self._model.labels]
        with self._lock:
            found = explain_crops(self._model, self._explaining, pixels, detections.boxes, detections.labels, finer)
            alike = self._nearest(found.crops)
        shown = [
            evidence_picture(crop, mask, class_mask, names[label])
            for crop, mask, class_mask, label in zip(*found, detections.labels, strict=True)
        ]
        height, width = pixels.shape[:2]
        full = detections.scaled(image.width / width, image.height / height)
        findings = [
            Finding(
                names[label],
                self._model.labels[label].mimo_id,
                float(score),
                outline,
                alternatives_text(names, also),
                evidence,
                nearest,
            )
            for label, score, outline, also, evidence, nearest in zip(
                full.labels, full.scores, full.outlines, full.alternatives, shown, alike, strict=True
            )
        ]
        picture = Picture(
            image.name,
            image.width,
            image.height,
            findings,
            _thumbnail(pixels, thumbnail_side(findings)),
        )
        with self._lock:
            self._pictures[image.id] = picture
            while len(self._pictures) > REPORTED or sum(one.weight for one in self._pictures.values()) > MOST_BYTES:
                self._left_out += 1
                del self._pictures[min(self._pictures, key=lambda number: self._pictures[number].best)]
        return shown

    def _nearest(self, crops: np.ndarray) -> list[list[Neighbour]]:
        """For each crop the examples of the model that it is most like; none where the model has none."""
        examples = self._model.examples
        if examples is None:
            return [[] for _ in crops]
        places, cosines = neighbours.nearest(neighbours.described(self._describing, crops), examples)
        return [
            [
                Neighbour(examples.names[place], examples.sources[place], cosine, examples.crops[place])
                for place, cosine in zip(own_places, own_cosines, strict=True)
            ]
            for own_places, own_cosines in zip(places.tolist(), cosines.tolist(), strict=True)
        ]

    def report(self, images: Sequence[ProjectImage], failures: Mapping[int, str], info: Mapping[str, Any]) -> str:
        """The page, see `annotator.report.page.write_page`; of an image that failed it says why."""
        pictures = [picture for number, picture in self._pictures.items() if number not in failures]
        failed = [
            Picture(image.name, image.width, image.height, error=failures[image.id])
            for image in images
            if image.id in failures
        ]
        return write_page([*pictures, *failed], {**info, "left_out": self._left_out})


def _thumbnail(pixels: np.ndarray, side: int) -> bytes:
    small = Image.fromarray(pixels)
    small.thumbnail((side, side))
    return jpeg(small, QUALITY)
