"""The demo's pictures, drawn by us: instruments in a few painterly styles, with the truth about where they are.

They show newcomers the whole way without any download. They are no measure of quality: the networks have seen
photographs and paintings of instruments, not these drawings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from shapely import affinity
from shapely.geometry import LineString, Polygon, box
from shapely.ops import unary_union

SIDE = 1000  # pixels of a picture's sides
FINE = 2  # drawn this many times larger, then shrunk, so that edges are smooth
LIGHT = -35  # degrees: where it comes from
SEED = 7  # the same pictures each time

Colour = tuple[int, int, int]
WOOD, DARK_WOOD, EBONY, IVORY, BRASS, STEEL = (
    (172, 96, 40),
    (96, 48, 20),
    (28, 22, 20),
    (240, 232, 214),
    (214, 164, 52),
    (205, 205, 210),
)


@dataclass(frozen=True)
class Part:
    """A painted shape of an instrument, in a square of side 1 with its origin at the top-left."""

    shape: Polygon
    colour: Colour


def _blob(points: Sequence[tuple[float, float]]) -> Polygon:
    """A closed smooth curve through points (Catmull-Rom)."""
    corners = np.array(points)
    t = np.linspace(0, 1, 16, endpoint=False)[:, None]
    curve = []
    for i in range(len(corners)):
        a, b, c, d = (corners[(i + k) % len(corners)] for k in (-1, 0, 1, 2))
        curve.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return Polygon(np.concatenate(curve)).buffer(0)


def _line(points: Sequence[tuple[float, float]], width: float, *, pointed: bool = False) -> Polygon:
    return LineString(points).buffer(width / 2, cap_style="flat" if pointed else "round")


def _disc(x: float, y: float, radius: float) -> Polygon:
    return affinity.scale(LineString([(x, y), (x, y + 1e-6)]).buffer(radius), 1, 1)


def _mirrored(right: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [*right, *((1 - x, y) for x, y in reversed(right))]


def violin() -> list[Part]:
    """A violin, upright."""
    body = _blob(
        _mirrored(
            [
                (0.53, 0.44),
                (0.62, 0.46),
                (0.645, 0.53),
                (0.59, 0.60),
                (0.585, 0.67),
                (0.64, 0.74),
                (0.67, 0.83),
                (0.62, 0.93),
                (0.53, 0.96),
            ]
        )
    )
    inner = affinity.scale(body, 0.93, 0.95)
    holes = [
        _line([(x, 0.63), (x + bend, 0.65), (x - bend, 0.74), (x, 0.76)], 0.012)
        for x, bend in ((0.435, 0.012), (0.565, -0.012))
    ]
    strings = [_line([(x, 0.13), (x, 0.80)], 0.003) for x in (0.488, 0.496, 0.504, 0.512)]
    pegs = [_line([(0.44, y), (0.56, y)], 0.014) for y in (0.07, 0.10)]
    return [
        Part(body, DARK_WOOD),
        Part(inner, WOOD),
        Part(_line([(0.5, 0.45), (0.5, 0.12)], 0.045, pointed=True), DARK_WOOD),
        *[Part(peg, EBONY) for peg in pegs],
        Part(_disc(0.5, 0.045, 0.028), DARK_WOOD),
        Part(_line([(0.5, 0.63), (0.5, 0.12)], 0.036, pointed=True), EBONY),
        *[Part(hole, EBONY) for hole in holes],
        Part(box(0.455, 0.70, 0.545, 0.712), IVORY),
        Part(Polygon([(0.482, 0.80), (0.518, 0.80), (0.525, 0.91), (0.475, 0.91)]), EBONY),
        *[Part(string, STEEL) for string in strings],
    ]


def guitar() -> list[Part]:
    """An acoustic guitar, upright."""
    body = _blob(
        _mirrored(
            [
                (0.53, 0.46),
                (0.63, 0.48),
                (0.655, 0.56),
                (0.61, 0.64),
                (0.63, 0.71),
                (0.70, 0.79),
                (0.68, 0.91),
                (0.58, 0.965),
                (0.52, 0.97),
            ]
        )
    )
    frets = [_line([(0.472, y), (0.528, y)], 0.004) for y in np.linspace(0.13, 0.52, 14)]
    strings = [_line([(x, 0.09), (x, 0.82)], 0.003) for x in np.linspace(0.477, 0.523, 6)]
    pegs = [_disc(x, y, 0.011) for x in (0.445, 0.555) for y in (0.03, 0.055, 0.08)]
    return [
        Part(body, DARK_WOOD),
        Part(affinity.scale(body, 0.94, 0.96), (222, 168, 96)),
        Part(_disc(0.5, 0.63, 0.062), DARK_WOOD),
        Part(_disc(0.5, 0.63, 0.052), EBONY),
        *[Part(peg, IVORY) for peg in pegs],
        Part(box(0.46, 0.01, 0.54, 0.105), DARK_WOOD),
        Part(box(0.468, 0.10, 0.532, 0.57), EBONY),
        *[Part(fret, STEEL) for fret in frets],
        Part(box(0.42, 0.81, 0.58, 0.835), DARK_WOOD),
        *[Part(string, IVORY) for string in strings],
    ]


def harp() -> list[Part]:
    """A concert harp, its column at the left."""
    column = _line([(0.24, 0.93), (0.22, 0.10)], 0.05)
    neck = _line([(0.22, 0.10), (0.34, 0.09), (0.46, 0.17), (0.60, 0.20), (0.72, 0.15), (0.78, 0.19)], 0.055)
    soundboard = Polygon([(0.74, 0.18), (0.82, 0.19), (0.42, 0.94), (0.24, 0.94)])
    strings = []
    for share in np.linspace(0.05, 0.93, 26):
        top = (0.24 + 0.50 * share, 0.10 + 0.09 * np.sin(share * 3.0))
        bottom = (top[0] - 0.005, 0.92 - 0.72 * share * 1.0)
        if bottom[1] > top[1] + 0.03:
            strings.append(_line([top, bottom], 0.0035))
    return [
        Part(soundboard, WOOD),
        *[Part(string, IVORY) for string in strings],
        Part(neck, BRASS),
        Part(column, BRASS),
        Part(_disc(0.22, 0.08, 0.045), BRASS),
        Part(Polygon([(0.16, 0.93), (0.46, 0.93), (0.50, 0.985), (0.12, 0.985)]), DARK_WOOD),
    ]


def drum() -> list[Part]:
    """A side drum, seen a little from above."""
    oval = affinity.scale(_disc(0.5, 0.34, 0.34), 1, 0.36)
    shell = unary_union([box(0.16, 0.34, 0.84, 0.80), affinity.scale(_disc(0.5, 0.80, 0.34), 1, 0.36)])
    hoops = [affinity.translate(oval.buffer(0.02).difference(oval), 0, shift) for shift in (0.0, 0.44)]
    front = [hoop.intersection(box(0, 0.34 + shift, 1, 1)) for hoop, shift in zip(hoops, (0.0, 0.44), strict=True)]
    cords = []
    for x in np.linspace(0.2, 0.74, 8):
        dip = 0.12 * np.sqrt(max(0.0, 1 - ((x + 0.03 - 0.5) / 0.34) ** 2))
        cords += [_line([(x, 0.36 + dip), (x + 0.035, 0.79 + dip), (x + 0.07, 0.36 + dip)], 0.01)]
    sticks = [_line([(0.30, 0.16), (0.62, 0.36)], 0.022), _line([(0.70, 0.14), (0.42, 0.38)], 0.022)]
    return [
        Part(shell, (150, 32, 30)),
        *[Part(cord, IVORY) for cord in cords],
        Part(hoops[0], BRASS),
        Part(oval, (236, 226, 200)),
        *[Part(hoop, BRASS) for hoop in front if isinstance(hoop, Polygon)],
        *[Part(stick, WOOD) for stick in sticks],
    ]


def piano() -> list[Part]:
    """An upright piano from the front."""
    white = [box(0.12 + i * 0.038, 0.50, 0.156 + i * 0.038, 0.60) for i in range(20)]
    black = [box(0.146 + i * 0.038, 0.50, 0.166 + i * 0.038, 0.56) for i in range(19) if i % 7 not in (2, 6)]
    return [
        Part(box(0.08, 0.12, 0.92, 0.92), DARK_WOOD),
        Part(box(0.06, 0.10, 0.94, 0.14), EBONY),
        Part(box(0.13, 0.18, 0.46, 0.42), WOOD),
        Part(box(0.54, 0.18, 0.87, 0.42), WOOD),
        Part(box(0.08, 0.47, 0.92, 0.64), EBONY),
        *[Part(key, IVORY) for key in white],
        *[Part(key, EBONY) for key in black],
        Part(box(0.13, 0.68, 0.87, 0.88), WOOD),
        Part(box(0.08, 0.60, 0.12, 0.96), EBONY),
        Part(box(0.88, 0.60, 0.92, 0.96), EBONY),
        *[Part(box(x, 0.90, x + 0.03, 0.93), BRASS) for x in (0.45, 0.52)],
    ]


def trumpet() -> list[Part]:
    """A trumpet, its bell at the right."""
    bell = _blob([(0.66, 0.40), (0.80, 0.36), (0.93, 0.24), (0.95, 0.42), (0.93, 0.60), (0.80, 0.48), (0.66, 0.44)])
    tubes = [
        _line([(0.05, 0.42), (0.70, 0.42)], 0.028),
        _line(
            [
                (0.28, 0.42),
                (0.22, 0.46),
                (0.22, 0.55),
                (0.28, 0.59),
                (0.66, 0.59),
                (0.72, 0.55),
                (0.72, 0.47),
                (0.66, 0.42),
            ],
            0.03,
        ),
    ]
    valves = [box(x, 0.36, x + 0.05, 0.66) for x in (0.40, 0.47, 0.54)]
    return [
        Part(tubes[1], BRASS),
        Part(tubes[0], (232, 188, 80)),
        Part(bell, (226, 178, 66)),
        Part(affinity.scale(_disc(0.935, 0.42, 0.17), 0.14, 1), (120, 82, 20)),
        *[Part(valve, (238, 200, 104)) for valve in valves],
        *[Part(_line([(x + 0.025, 0.36), (x + 0.025, 0.31)], 0.014), STEEL) for x in (0.40, 0.47, 0.54)],
        *[Part(box(x - 0.006, 0.295, x + 0.056, 0.31), IVORY) for x in (0.40, 0.47, 0.54)],
        Part(Polygon([(0.03, 0.395), (0.06, 0.41), (0.06, 0.43), (0.03, 0.445)]), STEEL),
    ]


INSTRUMENTS: dict[str, tuple[int, Callable[[], list[Part]]]] = {
    "Violin": (3573, violin),
    "Guitar": (3237, guitar),
    "Harp": (3285, harp),
    "Drum": (2585, drum),
    "Pianoforte": (2299, piano),
    "Trumpet": (4446, trumpet),
}


def _place(parts: Sequence[Part], x: float, y: float, size: float, degrees: float) -> list[Part]:
    """Parts in pixels of the picture: the unit square at (x, y), ``size`` wide, turned about its centre."""
    placed = []
    for part in parts:
        shape = affinity.rotate(part.shape, degrees, origin=(0.5, 0.5))
        placed.append(Part(affinity.affine_transform(shape, [size, 0, 0, size, x, y]), part.colour))
    return placed


def _ground(random: np.random.Generator) -> Image.Image:
    """A room: a wall that grows darker to one side, and a table."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    wall = np.array(random.uniform([70, 60, 45], [150, 130, 110]))
    table = np.array(random.uniform([70, 40, 25], [120, 75, 45]))
    light = (1.25 - 0.7 * x)[..., None]
    edge = random.uniform(0.68, 0.8)
    colour = np.where((y > edge)[..., None], table, wall) * light
    colour += random.normal(0, 3, (SIDE, SIDE, 1))
    return Image.fromarray(np.clip(colour, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1.5))


def _paint(ground: Image.Image, parts: Sequence[Part]) -> Image.Image:
    """Parts over a ground, shaded as if light came from the upper left, with a shadow on the wall."""
    large = ground.resize((SIDE * FINE, SIDE * FINE))
    whole = unary_union([part.shape for part in parts])
    shadow = Image.new("L", large.size)
    for polygon in getattr(affinity.translate(whole, 18, 14), "geoms", [affinity.translate(whole, 18, 14)]):
        ImageDraw.Draw(shadow).polygon([(px * FINE, py * FINE) for px, py in polygon.exterior.coords], fill=130)
    large.paste((15, 10, 8), (0, 0), shadow.filter(ImageFilter.GaussianBlur(22)))
    for part in parts:
        mask = Image.new("L", large.size)
        for polygon in getattr(part.shape, "geoms", [part.shape]):
            draw = ImageDraw.Draw(mask)
            draw.polygon([(px * FINE, py * FINE) for px, py in polygon.exterior.coords], fill=255)
            for hole in polygon.interiors:
                draw.polygon([(px * FINE, py * FINE) for px, py in hole.coords], fill=0)
        x0, y0, x1, y1 = (round(side * FINE) for side in part.shape.bounds)
        width, height = max(1, x1 - x0), max(1, y1 - y0)
        gy, gx = np.mgrid[:height, :width] / max(width, height)
        turn = np.deg2rad(LIGHT)
        slope = 1.22 - 0.5 * (gx * np.cos(turn) - gy * np.sin(turn))
        fill = np.clip(np.array(part.colour) * slope[..., None], 0, 255).astype(np.uint8)
        large.paste(Image.fromarray(fill), (x0, y0), mask.crop((x0, y0, x0 + width, y0 + height)))
    return large.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def oil(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Short brush strokes along the edges of the picture, from coarse to fine."""
    canvas = picture.filter(ImageFilter.GaussianBlur(6))
    grey = np.asarray(picture.convert("L").filter(ImageFilter.GaussianBlur(2)), np.float32)
    down, across = np.gradient(grey, axis=0), np.gradient(grey, axis=1)
    colours = np.asarray(picture)
    for length, count in ((26, 5000), (12, 16000), (6, 26000)):
        draw = ImageDraw.Draw(canvas)
        y, x = random.integers(0, SIDE, (count, 2)).T
        steep = np.abs(down[y, x]) + np.abs(across[y, x]) > 1
        angles = np.where(steep, np.arctan2(across[y, x], -down[y, x]), 0.4)
        dx, dy = length / 2 * np.cos(angles), length / 2 * np.sin(angles)
        tints = random.integers(-7, 8, (count, 1))
        fills = np.clip(colours[y, x] + tints, 0, 255).tolist()
        for line, fill in zip(np.stack([x - dx, y - dy, x + dx, y + dy], axis=1).tolist(), fills, strict=True):
            draw.line(line, fill=tuple(fill), width=max(2, length // 4))
    return Image.blend(canvas, picture, 0.25)


def engraving(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Lines that swell where the picture is dark, on cream paper."""
    grey = np.asarray(picture.convert("L").filter(ImageFilter.UnsharpMask(4, 150)), np.float32) / 255
    y, x = np.mgrid[:SIDE, :SIDE]
    wave = (np.sin((x * 0.35 + y) * 1.15 + random.uniform(0, 6)) + 1) / 2
    crossed = (np.sin((x - y * 0.4) * 1.0) + 1) / 2
    ink = np.where(wave > grey * 1.35, 0.85, 0.0)
    ink = np.maximum(ink, np.where((grey < 0.28) & (crossed > grey * 2.6), 0.85, 0.0))
    paper = np.array([240, 230, 206]) * (1 - ink[..., None]) + np.array([40, 34, 30]) * ink[..., None]
    return Image.fromarray(paper.astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.8))


def fresco(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """Pale colours on rough plaster."""
    coarse = Image.fromarray(random.integers(0, 255, (90, 90), np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    plaster = (np.asarray(coarse, np.float32)[..., None] - 128) * 0.10 + random.normal(0, 6, (SIDE, SIDE, 1))
    pale = np.asarray(picture, np.float32) * 0.72 + np.array([70, 62, 50]) + plaster
    return Image.fromarray(np.clip(pale, 0, 255).astype(np.uint8))


STYLES: tuple[Callable[[Image.Image, np.random.Generator], Image.Image], ...] = (oil, fresco, engraving)

# Name of the picture, style, and its instruments: name, x, y, size (shares of the side), turn in degrees.
SCENES: tuple[tuple[str, int, tuple[tuple[str, float, float, float, float], ...]], ...] = (
    ("violin_in_oil", 0, (("Violin", 0.10, 0.08, 0.82, 24),)),
    ("guitar_fresco", 1, (("Guitar", 0.08, 0.05, 0.88, -12),)),
    ("harp_in_oil", 0, (("Harp", 0.12, 0.06, 0.84, 0),)),
    ("drum_engraved", 2, (("Drum", 0.20, 0.20, 0.62, 0),)),
    ("piano_fresco", 1, (("Pianoforte", 0.08, 0.08, 0.84, 0),)),
    ("trumpet_in_oil", 0, (("Trumpet", 0.10, 0.12, 0.80, 8),)),
    ("duo_in_oil", 0, (("Violin", -0.02, 0.10, 0.56, 10), ("Guitar", 0.44, 0.08, 0.60, -8))),
    ("empty_room", 0, ()),
)


def draw_gallery(folder: Path) -> dict[str, object]:
    """Draw the pictures and write them with their truth.

    Args:
        folder: where PNG files and ``truth.json`` (COCO: bbox and segmentation in pixels, origin top-left) go.

    Returns:
        The content of ``truth.json``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = sorted(INSTRUMENTS)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number, (name, style, instruments) in enumerate(SCENES, start=1):
        random = np.random.default_rng([SEED, number])
        picture = _ground(random)
        for instrument, x, y, size, degrees in instruments:
            mimo_id, parts = INSTRUMENTS[instrument]
            placed = _place(parts(), x * SIDE, y * SIDE, size * SIDE, degrees)
            picture = _paint(picture, placed)
            outline = _outline(placed)
            x0, y0, x1, y1 = outline.bounds
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": names.index(instrument) + 1}
                | {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": outline.area, "iscrowd": 0, "mimo_id": mimo_id}
                | {"segmentation": [[coordinate for point in outline.exterior.coords[:-1] for coordinate in point]]}
            )
        STYLES[style](picture, random).save(folder / f"{name}.png")
        images.append({"id": number, "file_name": f"{name}.png", "width": SIDE, "height": SIDE})
    categories = [
        {"id": i, "name": name, "mimo_id": str(INSTRUMENTS[name][0])} for i, name in enumerate(names, start=1)
    ]
    truth: dict[str, object] = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "truth.json").write_text(json.dumps(truth, indent=1), encoding="utf-8")
    return truth


def _outline(parts: Sequence[Part]) -> Polygon:
    """The outer edge of an instrument inside the picture."""
    whole = unary_union([part.shape for part in parts]).buffer(2).intersection(box(0, 0, SIDE, SIDE))
    largest = max(getattr(whole, "geoms", [whole]), key=lambda shape: shape.area)
    return Polygon(largest.exterior)
