"""``python -m benchmarks [NAME ...]``: run all benchmarks, or those named."""

import json
import sys
from collections.abc import Callable

from benchmarks import (
    accuracy,
    adversarial_artworks,
    adversarial_digits,
    adversarial_speed,
    agreement,
    batch,
    before_after,
    chain,
    cluster,
    composites,
    explain,
    forgetting,
    learning_curve,
    loop,
    memory,
    new_terms,
    size,
    speed,
    stops,
    style,
    style_augment,
    style_clusters,
    suppression,
    walls,
)

BENCHMARKS: dict[str, Callable[[], dict[str, object]]] = {
    "speed": speed.run,
    "memory": memory.run,
    "size": size.run,
    "batch": batch.run,
    "cluster": cluster.run,
    "stops": stops.run,
    "suppression": suppression.run,
    "accuracy": accuracy.run,
    "before_after": before_after.run,
    "composites": composites.run,
    "walls": walls.run,
    "agreement": agreement.run,
    "loop": loop.run,
    "forgetting": forgetting.run,
    "learning_curve": learning_curve.run,
    "new_terms": new_terms.run,
    "chain": chain.run,
    "adversarial_digits": adversarial_digits.run,
    "adversarial_artworks": adversarial_artworks.run,
    "adversarial_speed": adversarial_speed.run,
    "style": style.run,
    "style_clusters": style_clusters.run,
    "style_augment": style_augment.run,
    "explain": explain.run,
}

if __name__ == "__main__":
    unknown = set(sys.argv[1:]) - set(BENCHMARKS)
    if unknown:
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    for name in sys.argv[1:] or BENCHMARKS:
        print(name, json.dumps(BENCHMARKS[name]()), flush=True)
