"""How well the dense scan stands for the crops that a window-by-window scan would score."""

import numpy as np

from annotator.detection import detector, windows
from annotator.models import builtin
from benchmarks import accuracy
from training.evaluate import read_shrunk

WINDOWS = 1500  # half of them the best candidates of their picture, half drawn from all windows
CONTEXTS = (0, 1, 2, 3, 5, detector.CROP_CONTEXT)  # cells of the real picture around a crop


def run() -> dict[str, object]:
    """Correlation of P(any instrument), dense against crops with so much of the real picture around them."""
    if not accuracy.ARTWORKS.exists():
        return {"skipped": "the artworks do not lie beside the project"}
    model = builtin.load()
    class_labels = np.array(model.configuration.class_labels)
    random = np.random.default_rng(0)
    rows = accuracy.rows("images.csv")
    share = WINDOWS // 2 // len(rows)
    dense: list[np.ndarray] = []
    crops: list[list[np.ndarray]] = [[] for _ in CONTEXTS]
    for row in rows:
        image, _, _ = read_shrunk(accuracy.ARTWORKS / "images" / row["file"])
        levels = detector.scan(model, image)
        best = windows.score_windows(levels, class_labels)
        strongest = np.argsort(-best.probabilities.sum(axis=1))[:share]
        pairs = [(int(best.levels[i]), best.cells[i]) for i in strongest]
        every = [windows.window_cells(*level.logits.shape[:2]) for level in levels]
        for _ in range(share):
            level = int(random.integers(len(levels)))
            pairs.append((level, every[level][random.integers(len(every[level]))]))
        chosen = [
            np.array([own for level, own in pairs if level == position], int).reshape(-1, 4)
            for position in range(len(levels))
        ]
        scored = windows.score_cells(levels, chosen, class_labels)
        dense.append(scored.probabilities.sum(axis=1))
        pictures = [picture for picture, _, _ in detector.level_pictures(model, image)]
        for context, found in zip(CONTEXTS, crops, strict=True):
            found.append(detector.score_as_crops(model, pictures, scored, context).probabilities.sum(axis=1))
    scores = np.concatenate(dense)
    result: dict[str, object] = {"windows": len(scores), "mean_dense_score": round(float(scores.mean()), 3)}
    for context, found in zip(CONTEXTS, crops, strict=True):
        own = np.concatenate(found)
        correlation = float(np.corrcoef(scores, own)[0, 1])
        result[f"context_{context}"] = {"correlation": round(correlation, 4), "mean_score": round(float(own.mean()), 3)}
    return result
