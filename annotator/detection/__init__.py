"""From an RGB array to detections: pyramid, dense scoring, windows, extent, suppression."""

from annotator.detection.detections import Detections
from annotator.detection.detector import detect
from annotator.detection.pyramid import SCAN_SIDE

__all__ = ["SCAN_SIDE", "Detections", "detect"]
