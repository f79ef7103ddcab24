"""Draw a small folder of photos for the tour: four shapes on noisy backgrounds.

    python docs/photos.py photos

writes `photos/circle/000.jpg` … `photos/triangle/249.jpg`. They stand for a reader's own photos
wherever the documents show a command on `folder:photos`; the tests draw the same ones.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("circle", "hexagon", "square", "triangle")
PER_CLASS = 250
SIDE_PX = 64


def draw_photo(shape: str, rng: np.random.Generator) -> Image.Image:
    """One RGB photo of a shape with random place, size, turn and colours."""
    ground, colour = rng.integers(20, 130, 3), rng.integers(110, 236, 3)
    radius = rng.uniform(10, 17)
    x, y = rng.uniform(radius + 2, SIDE_PX - radius - 2, 2)
    canvas = Image.new("RGB", (SIDE_PX, SIDE_PX), tuple(map(int, ground)))
    draw = ImageDraw.Draw(canvas)
    if shape == "circle":
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), tuple(map(int, colour)))
    else:
        sides = {"hexagon": 6, "square": 4, "triangle": 3}[shape]
        turn = float(rng.uniform(0, 360))
        draw.regular_polygon((x, y, radius * 1.2), sides, turn, tuple(map(int, colour)))
    noise = rng.normal(0, 20, (SIDE_PX, SIDE_PX, 3))
    return Image.fromarray((np.asarray(canvas) + noise).clip(0, 255).astype(np.uint8))


def draw_photos(folder: Path, per_class: int = PER_CLASS) -> None:
    """Write `per_class` photos of each class below `folder`."""
    rng = np.random.default_rng(0)
    for shape in CLASSES:
        (folder / shape).mkdir(parents=True)
        for index in range(per_class):
            draw_photo(shape, rng).save(folder / shape / f"{index:03}.jpg", quality=90)


if __name__ == "__main__":
    draw_photos(Path(sys.argv[1]))
