"""The published network once more: decoded entry by entry, run layer by layer, all in numpy.

Written from the description of the format and the network alone; shares no code with `dse`.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
from PIL import Image

DATA = Path(__file__).parents[3] / "shared" / "data"
FILE = DATA / "squeezenet_v1.0_deep_compression.net"
IMAGES = DATA / "imagenet-sample"
CLASSES = DATA / "imagenet_classes.csv"

# Input channels, squeeze, expand1x1 and expand3x3 filters of fire2 to fire9.
FIRES = [
    (96, 16, 64, 64),
    (128, 16, 64, 64),
    (128, 32, 128, 128),
    (256, 32, 128, 128),
    (256, 48, 192, 192),
    (384, 48, 192, 192),
    (384, 64, 256, 256),
    (512, 64, 256, 256),
]

Layer = tuple[np.ndarray, np.ndarray]  # weights (out, in, height, width), biases


def slow_decode(content: bytes) -> dict[str, Layer]:
    """Weights and biases by layer name, one entry after the other."""
    shapes = {"conv1": (96, 3, 7, 7)}
    for number, (given, squeeze, left, right) in enumerate(FIRES, start=2):
        shapes[f"fire{number}/squeeze"] = (squeeze, given, 1, 1)
        shapes[f"fire{number}/expand1x1"] = (left, squeeze, 1, 1)
        shapes[f"fire{number}/expand3x3"] = (right, squeeze, 3, 3)
    shapes["conv10"] = (1000, 512, 1, 1)
    counts = struct.unpack_from("<26I", content)
    at = 4 * 26
    layers: dict[str, Layer] = {}
    for (name, shape), count in zip(shapes.items(), counts, strict=True):
        codebook = struct.unpack_from("<256f", content, at)
        at += 1024
        biases = struct.unpack_from(f"<{shape[0]}f", content, at)
        at += 4 * shape[0]
        flat = [0.0] * math.prod(shape)
        position = -1
        for entry in range(count):
            pair = content[at + count + entry // 2]
            position += 1 + (pair >> 4 if entry % 2 else pair & 15)
            flat[position] = codebook[content[at + entry]]
        at += count + (count + 1) // 2
        layers[name] = (np.array(flat).reshape(shape), np.array(biases))
    assert at == len(content)
    return layers


def slow_scores(layers: dict[str, Layer], path: Path) -> np.ndarray:
    """The 1,000 scores of one image, in float64."""
    with Image.open(path) as image:
        resized = image.convert("RGB").resize((256, 256), Image.Resampling.BILINEAR)
    rgb = np.asarray(resized, float)[14:241, 14:241]
    x = (rgb[..., ::-1] - [104, 117, 123]).transpose(2, 0, 1)
    x = pool(conv(x, *layers["conv1"], stride=2))
    for number in range(2, 10):
        squeezed = conv(x, *layers[f"fire{number}/squeeze"])
        left = conv(squeezed, *layers[f"fire{number}/expand1x1"])
        right = conv(np.pad(squeezed, ((0, 0), (1, 1), (1, 1))), *layers[f"fire{number}/expand3x3"])
        x = np.concatenate([left, right])
        if number in (4, 8):
            x = pool(x)
    return conv(x, *layers["conv10"]).mean((1, 2))


def conv(x: np.ndarray, weights: np.ndarray, biases: np.ndarray, stride: int = 1) -> np.ndarray:
    """Cross-correlation of (in, height, width) without padding, bias, ReLU."""
    windows = np.lib.stride_tricks.sliding_window_view(x, weights.shape[2:], (1, 2))
    y = np.einsum("cijkl,ockl->oij", windows[:, ::stride, ::stride], weights, optimize=True)
    return np.maximum(y + biases[:, None, None], 0)


def pool(x: np.ndarray) -> np.ndarray:
    """The maximum of 3x3 every 2 pixels; the last window may hang over the edge."""
    size = math.ceil((x.shape[1] - 3) / 2) + 1
    return np.array(
        [
            [x[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((1, 2)) for j in range(size)]
            for i in range(size)
        ]
    ).transpose(2, 0, 1)
