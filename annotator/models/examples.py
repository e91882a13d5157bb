"""Labelled examples that a model learnt from, kept with it for people to compare a detection with."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import safetensors.numpy


@dataclass(frozen=True)
class Examples:
    """Regions that people named.

    Attributes:
        features: (n, channels) float16, what the model's network makes of each, of length 1.
        names: (n,) of what they show.
        sources: (n,) the pictures that they are from, for people.
        crops: (n,) a small JPEG of each.
    """

    features: np.ndarray
    names: tuple[str, ...]
    sources: tuple[str, ...]
    crops: tuple[bytes, ...]

    def __post_init__(self) -> None:
        counts = {len(self.features), len(self.names), len(self.sources), len(self.crops)}
        if self.features.ndim != 2 or len(counts) != 1:
            raise ValueError(f"examples need as many features as names, sources and crops, got {sorted(counts)}")
        if not np.isfinite(self.features).all():
            raise ValueError("the features of examples must be finite")


def to_bytes(examples: Examples) -> bytes:
    """Examples as one safetensors file: numbers, the bytes of the crops, and texts."""
    values: dict[str, np.ndarray] = {
        "features": np.ascontiguousarray(examples.features, np.float16),
        "crops": np.frombuffer(b"".join(examples.crops), np.uint8),
        "ends": np.cumsum([len(crop) for crop in examples.crops], dtype=np.int64),
        "texts": np.frombuffer(json.dumps([examples.names, examples.sources]).encode(), np.uint8),
    }
    return safetensors.numpy.save(values)


def from_bytes(content: bytes) -> Examples:
    """The inverse of `to_bytes`.

    Raises:
        ValueError, KeyError, TypeError, safetensors.SafetensorError: it is no such file.
    """
    values = safetensors.numpy.load(content)
    names, sources = json.loads(values["texts"].tobytes())
    every, ends = values["crops"].tobytes(), values["ends"].tolist()
    if [0, *ends, len(every)] != sorted([0, *ends, len(every)]):
        raise ValueError("the crops of its examples overlap")
    crops = tuple(every[start:end] for start, end in zip([0, *ends], ends, strict=False))
    return Examples(values["features"], tuple(map(str, names)), tuple(map(str, sources)), crops)
