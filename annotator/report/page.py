"""The page a person looks at: one HTML file that needs nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from annotator.report.coco import Finding, Picture
from annotator.report.template import filled
from annotator.vocabulary import by_mimo_id

# Told apart also by people who see few colours (Okabe & Ito 2008), bright enough for lines on paintings.
COLOURS = ("#ffb000", "#56b4e9", "#00d69a", "#f0e442", "#ff7a3d", "#e78ac3", "#9fb4ff", "#ffffff")
LINES = ("", "second", "third")  # drawn through, dashed, dotted: further instruments have the same colours again
HIGHEST = 60  # of a picture, in heights of a letter: hanging scrolls may be twenty times as high as wide
THUMBNAIL_SIDE, SMALL_SIDE = 900, 320  # pixels of a picture on it; the small ones are those without findings
QUALITY = 82  # of the JPEG files in which it holds them
MOST_BYTES = 50 << 20  # of pictures on a page: a browser must still open it


def thumbnail_side(findings: Sequence[Finding]) -> int:
    """Pixels of the longest side of a picture's thumbnail, by what was found in it."""
    return THUMBNAIL_SIDE if findings else SMALL_SIDE


def write_page(pictures: Sequence[Picture], info: Mapping[str, Any]) -> str:
    """The report as HTML: totals, settings, timings, then each picture with its outlines, terms and scores.

    Args:
        pictures: all of them; where theirs take more than `MOST_BYTES`, those with the best findings are shown.
        info: model (name and version), threshold, default_threshold, seconds by stage; where each instrument has a
            threshold also ``thresholds``, by name; where a job went on with others also ``earlier``: how many
            ``images`` they had done, which are not on the page, and the id of the ``job``; where some were left out
            before, ``left_out``: how many.
    """
    every, pictures = len(pictures), _fitting(pictures)
    counts = Counter(finding.instrument for picture in pictures for finding in picture.findings)
    ranks = {name: number for number, (name, _) in enumerate(counts.most_common())}
    return filled(
        __package__,
        "page.html.j2",
        with_findings=[picture for picture in pictures if picture.findings],
        without=[picture for picture in pictures if not picture.findings and picture.error is None],
        failed=[picture for picture in pictures if picture.error is not None],
        counts=counts.most_common(),
        colours={name: COLOURS[rank % len(COLOURS)] for name, rank in ranks.items()},
        lines={name: LINES[min(rank // len(COLOURS), len(LINES) - 1)] for name, rank in ranks.items()},
        highest=HIGHEST,
        info=info,
        left_out=info.get("left_out", 0) + every - len(pictures),
        total=sum(counts.values()),
        pictures=len(pictures),
        with_nearest=any(finding.nearest for picture in pictures for finding in picture.findings),
        with_evidence=any(finding.evidence for picture in pictures for finding in picture.findings),
        corners=_corners,
        classification=_classification,
    )


def _fitting(pictures: Sequence[Picture]) -> list[Picture]:
    """Those that failed, and of the others the ones with the best findings, as many as `MOST_BYTES` hold."""
    ordered = sorted(pictures, key=lambda picture: (picture.error is None, -picture.best))
    totals = accumulate(picture.weight for picture in ordered)
    return [picture for picture, total in zip(ordered, totals, strict=True) if total <= MOST_BYTES]


def _corners(finding: Finding) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in finding.polygon.exterior.coords[:-1])


def _classification(finding: Finding) -> str:
    """MIMO id and Hornbostel-Sachs notation, as far as they are known."""
    instrument = by_mimo_id().get(finding.mimo_id or -1)
    if instrument is None:
        return ""
    notation = f" · Hornbostel-Sachs {instrument.hornbostel_sachs[0]}" if instrument.hornbostel_sachs else ""
    return f"MIMO {instrument.mimo_id}{notation} · {instrument.family}"
