"""Images for networks that start from given weights: fed as the weights say."""

from __future__ import annotations

from dataclasses import replace

from dse.data.prepare import LOCATE
from dse.data.spec import DataSpec, cache_root
from dse.errors import DataError
from dse.text import shape_text
from dse.weights.given import GivenWeights


def spec_for(spec: DataSpec, given: GivenWeights) -> DataSpec:
    """The same images by the preprocessing of weights to start from.

    A folder's images get the size of the weights, or that which the user wants. The built-in
    images keep theirs, and take the weights' scale, mean and deviation alone.

    Raises:
        DataError: images with another number of channels.
    """
    if spec.source == "folder":
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
