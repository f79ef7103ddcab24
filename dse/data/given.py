"""Images for networks that start from given weights: fed as the weights say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dse.data.prepare import LOCATE
from dse.data.spec import OWN, DataSpec, ImageSize, cache_root, parse_data
from dse.errors import DataError
from dse.text import shape_text
from dse.weights.given import GivenWeights, read_given
from dse.weights.metadata import WeightsMetadata
from dse.weights.preprocessing import Preprocessing


def images_for(
    data: str,
    init: str | Path | None,
    image_size: ImageSize | None,
    train_images: int | None,
    duplicates: str,
) -> tuple[DataSpec, GivenWeights | None]:
    """What images are asked for, and the weights to start from, as commands name them.

    Raises:
        DataError: no such images, or with another number of channels than the weights take.
        WeightsError: the weights cannot be read or trained.
    """
    spec = parse_data(data, image_size=image_size, train_limit=train_images, duplicates=duplicates)
    if init is None:
        return spec, None
    given = read_given(Path(init))
    return spec_for(spec, given), given


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

    Own images get the size of the weights, or that which the user wants. The built-in
    images keep theirs, and take the weights' scale, mean and deviation alone.

    Raises:
        DataError: images with another number of channels.
    """
    if spec.source in OWN:
        return replace(spec, image_size=None, preprocessing=given.preprocessing(spec.image_size))
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
