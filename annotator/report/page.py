"""The page a person looks at: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import jinja2

from annotator.report.coco import Finding, Picture
from annotator.text import printable
from annotator.vocabulary import by_mimo_id

# Told apart also by people who see few colours (Okabe & Ito 2008), bright enough for lines on paintings.
COLOURS = ("#ffb000", "#56b4e9", "#00d69a", "#f0e442", "#ff7a3d", "#e78ac3", "#9fb4ff", "#ffffff")


def write_page(pictures: Sequence[Picture], info: Mapping[str, Any]) -> str:
    """The report as HTML: totals, settings, timings, then each picture with its outlines, terms and scores.

    Args:
        pictures: all of them.
        info: model (name and version), threshold, default_threshold, seconds by stage; where a job went on with others
            also ``earlier``: how many ``images`` they had done, which are not on the page, and the id of the ``job``.
    """
    counts = Counter(finding.instrument for picture in pictures for finding in picture.findings)
    colours = {name: COLOURS[number % len(COLOURS)] for number, (name, _) in enumerate(counts.most_common())}
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=_shown)
    template = environment.from_string(resources.files(__package__).joinpath("page.html.j2").read_text("utf-8"))
    return template.render(
        with_findings=sorted(
            (picture for picture in pictures if picture.findings), key=lambda picture: -picture.findings[0].score
        ),
        without=[picture for picture in pictures if not picture.findings and picture.error is None],
        failed=[picture for picture in pictures if picture.error is not None],
        counts=counts.most_common(),
        colours=colours,
        second=list(colours)[len(COLOURS) :],  # dashed, for they have the same colours again
        info=info,
        total=sum(counts.values()),
        pictures=len(pictures),
        with_nearest=any(finding.nearest for picture in pictures for finding in picture.findings),
        with_evidence=any(finding.evidence for picture in pictures for finding in picture.findings),
        image_data=_data_address,
        corners=_corners,
        classification=_classification,
    )


def _shown(value: object) -> object:
    return printable(value) if isinstance(value, str) else value


def _data_address(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _corners(finding: Finding) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in finding.polygon.exterior.coords[:-1])


def _classification(finding: Finding) -> str:
    """MIMO id and Hornbostel-Sachs notation, as far as they are known."""
    instrument = by_mimo_id().get(finding.mimo_id or -1)
    if instrument is None:
        return ""
    notation = f" · Hornbostel-Sachs {instrument.hornbostel_sachs[0]}" if instrument.hornbostel_sachs else ""
    return f"MIMO {instrument.mimo_id}{notation} · {instrument.family}"
