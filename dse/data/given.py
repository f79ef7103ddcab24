"""Images for networks that start from given weights: fed as the weights say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from dse.data.headers import shorter_sides
from dse.data.packfile import open_pack
from dse.data.prepare import LOCATE
from dse.data.source import StreamSource, silent
from dse.data.spec import OWN, DataSpec, ImageSize, cache_root, parse_data
from dse.errors import DataError
from dse.text import shape_text
from dse.weights.given import GivenWeights, read_given
from dse.weights.metadata import WeightsMetadata
from dse.weights.preprocessing import Preprocessing

ENLARGED = 2.0
"""Times that images are made larger for weights that take larger ones still."""

SEEN_COUNT = 100
"""Images whose size is looked at for that."""


def images_for(
    data: str,
    init: str | Path | None,
    image_size: ImageSize | None,
    train_images: int | None,
    duplicates: str,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[DataSpec, GivenWeights | None]:
    """What images are asked for, and the weights to start from, as commands name them.

    `say` is told where the images get another size than the weights take.

    Raises:
        DataError: no such images, or with another number of channels than the weights take.
        WeightsError: the weights cannot be read or trained.
    """
    spec = parse_data(data, image_size=image_size, train_limit=train_images, duplicates=duplicates)
    if init is None:
        return spec, None
    given = read_given(Path(init))
    fed, theirs = spec_for(spec, given), given.preprocessing().crop_px
    rule = fed.preprocessing
    if rule and image_size is None and spec.source in OWN and rule.crop_px != theirs:
        say(
            f"note: the images are small: they are enlarged to "
            f"{shape_text(rule.crop_px)} pixels, {ENLARGED:g} times as large, and not "
            f"to the {shape_text(theirs)} that the weights take, which trains longer; --image-size "
            "sets another size"
        )
    return fed, given


def as_fed(spec: DataSpec, rule: Preprocessing) -> DataSpec:
    """The same images as a network takes them, where they come in any size from a pack."""
    return replace(spec, image_size=None, preprocessing=rule) if spec.source == "pack" else spec


def as_trained(spec: DataSpec, metadata: WeightsMetadata) -> DataSpec:
    """The same images as weights were trained with that started from others."""
    if "init" not in metadata.extra:
        return spec
    return replace(spec, image_size=None, preprocessing=metadata.preprocessing)


def spec_for(spec: DataSpec, given: GivenWeights) -> DataSpec:
    """The same images by the preprocessing of weights to start from.

    Own images get the size of the weights, or that which the user wants; small ones are made
    at most `ENLARGED` times as large. The built-in images keep theirs, and take the weights'
    scale, mean and deviation alone.

    Raises:
        DataError: images with another number of channels.
    """
    if spec.source in OWN:
        size = spec.image_size or _size_of_small(spec, given.preprocessing().crop_px)
        return replace(spec, image_size=None, preprocessing=given.preprocessing(size))
    known = LOCATE[spec.source](spec, cache_root()).description
    assert known is not None  # of all but folders
    height, width, channels = known.input_shape
    rule = given.preprocessing()
    if channels != rule.channels_count:
        raise DataError(
            f"--init {given.path}: the weights take {shape_text(rule.input_shape)}, but the images "
            f"of {spec.source} are {shape_text(known.input_shape)}"
        )
    size = (height, width)
    return replace(spec, preprocessing=replace(rule, resize_px=size, crop_px=size))


def _size_of_small(spec: DataSpec, wanted: tuple[int, int]) -> tuple[int, int] | None:
    """(height, width) of what small images are enlarged to; None for what the weights take."""
    # With a size, as few headers as tell colour from gray are read.
    source = LOCATE[spec.source](replace(spec, image_size=wanted), cache_root()).open(silent)
    assert isinstance(source, StreamSource)  # as folders and packs are
    origin = source.origin
    if origin.kind == "pack":
        pack = open_pack(origin.path)
        shorter = np.minimum(pack.columns["height"], pack.columns["width"])
        shorter = shorter[shorter > 0]
    else:
        shorter = shorter_sides(origin.files[:: max(1, len(origin.files) // SEEN_COUNT)])
    times = ENLARGED * float(np.median(shorter)) / min(wanted)
    return None if times >= 1 else (round(times * wanted[0]), round(times * wanted[1]))
