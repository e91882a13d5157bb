"""From an RGB array to detections: pyramid, dense scoring, windows, extent, suppression."""

from annotator.detection.blocks import Finer, reads
from annotator.detection.detections import Detections
from annotator.detection.detector import detect
from annotator.detection.examination import Examination, examine
from annotator.detection.pyramid import SCAN_SIDE, finer_sizes

__all__ = ["SCAN_SIDE", "Detections", "Examination", "Finer", "detect", "examine", "finer_sizes", "reads"]
