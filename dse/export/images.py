"""Images that int8 is calibrated on."""

from __future__ import annotations

import os

import numpy as np

from dse.data import parse_data, prepare_data
from dse.data.given import as_fed
from dse.data.layout import find_splits
from dse.data.stream import stream_batches
from dse.data.tree import walk_tree
from dse.errors import DataError
from dse.inference.accuracy import CALIBRATION_COUNT, spread
from dse.text import shape_text
from dse.weights.preprocessing import Preprocessing


def calibration_images(
    data: str, rule: Preprocessing, images_count: int = CALIBRATION_COUNT
) -> np.ndarray:
    """Some of the training images of a source, evenly spaced, as a network takes them.

    Args:
        data: `folder:PATH` (its train folder where it has one, any folders of images else;
            classes do not matter), `digits` or `cifar10`.
        rule: of the network.
        images_count: how many, or as many as there are.

    Returns:
        uint8 (image, height, width, channel), RGB or gray.

    Raises:
        DataError: none can be decoded, or those of the source have another shape.
    """
    spec = parse_data(data)
    if spec.source != "folder" or spec.path is None:
        split = prepare_data(as_fed(spec, rule)).train
        if split.images.shape[1:] != rule.input_shape:
            raise DataError(
                f"{data} has images of {shape_text(split.images.shape[1:])}, but the network "
                f"takes {shape_text(rule.input_shape)}"
            )
        return np.asarray(split.images[spread(len(split), images_count)])
    tree = walk_tree(spec.path)
    files = tree.images(find_splits(tree).get("train", [""])[0])
    paths = [os.path.join(tree.root, files[i].path) for i in spread(len(files), images_count)]
    blocks = stream_batches(((path, 0) for path in paths), rule, batch_count=max(1, len(paths)))
    found = [block.images for block in blocks]
    if not sum(map(len, found)):
        raise DataError(f"{data} holds no images to calibrate on")
    return np.concatenate(found)
