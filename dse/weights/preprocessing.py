"""How an image becomes the numbers that a network takes: the rule, without arrays.

A weights file carries its rule, so that whoever scores images with it feeds them as they
were fed in training. `dse.data.decode` applies the part on pixels (resize, crop),
`dse.training.predict` the part on numbers (order, scale, mean, std).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from dse.text import shape_text

ChannelOrder = Literal["gray", "rgb", "bgr"]
Resize = Literal["exact", "shorter"]
Size = tuple[int, int]
"""(height, width) in pixels."""


SIDE_MOST_PX = 4096
"""Of an image that a network takes: a file must not ask for all memory."""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """One rule from any image to the input of a network.

    Attributes:
        channel_order: of the numbers, and of `mean` and `std`.
        scale: what the brightest pixel is before the mean is taken off: 1 or 255.
        mean: of each channel; taken off.
        std: of each channel; divided by, after the mean is off.
        resize: `exact` gives both sides of `resize_px`, whatever the image's aspect;
            `shorter` keeps the aspect and makes the image just cover `resize_px`: the shorter
            side of a square. Bilinear with antialiasing, as Pillow has it.
        resize_px: (height, width) of the resized image, or what it has to cover.
        crop_px: (height, width) of the middle that is cut out: the network's input. Where
            what is left over is odd, the middle is the one nearer the top left.
        upright: images are turned as their EXIF data says, as in training; ImageNet
            evaluations pass over it.
        draft: JPEGs may be decoded at 1/2, 1/4 or 1/8 where that is still twice `resize_px`:
            fast, as in training; ImageNet evaluations do without.
    """

    channel_order: ChannelOrder
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Resize
    resize_px: Size
    crop_px: Size
    upright: bool = False
    draft: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be applied.

        Raises:
            ValueError: naming the attribute, what it is and what it must be.
        """
        if self.channel_order not in get_args(ChannelOrder):
            raise ValueError(f"channel_order is {self.channel_order!r}, but must be gray, rgb, bgr")
        if self.resize not in get_args(Resize):
            raise ValueError(f"resize is {self.resize!r}, but must be exact or shorter")
        if not (_is_number(self.scale) and self.scale > 0):
            raise ValueError(f"scale is {self.scale!r}, but must be a number above 0")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != self.channels_count or not all(map(_is_number, values)):
                raise ValueError(f"{name} is {values}, but must be {self.channels_count} number(s)")
        for name, flag in (("upright", self.upright), ("draft", self.draft)):
            if not isinstance(flag, bool):
                raise ValueError(f"{name} is {flag!r}, but must be true or false")
        if min(self.std) <= 0:
            raise ValueError(f"std is {self.std}, but must be above 0")
        for name, size in (("resize_px", self.resize_px), ("crop_px", self.crop_px)):
            if len(size) != 2 or not all(
                type(side) is int and 0 < side <= SIDE_MOST_PX for side in size
            ):
                raise ValueError(
                    f"{name} is {size}, but must be two whole numbers from 1 to {SIDE_MOST_PX:,}"
                )
        if self.crop_px[0] > self.resize_px[0] or self.crop_px[1] > self.resize_px[1]:
            raise ValueError(f"crop_px {self.crop_px} is larger than resize_px {self.resize_px}")

    @property
    def channels_count(self) -> int:
        """1 for gray, else 3."""
        return 1 if self.channel_order == "gray" else 3

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of what the network gets."""
        return (*self.crop_px, self.channels_count)

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON."""
        return asdict(self)


PREPROCESSINGS: dict[str, Preprocessing] = {
    # BVLC Caffe's models: the mean of the ImageNet training images, pixels from 0 to 255.
    "caffe": Preprocessing(
        channel_order="bgr",
        scale=255.0,
        mean=(104.0, 117.0, 123.0),
        std=(1.0, 1.0, 1.0),
        resize="exact",
        resize_px=(256, 256),
        crop_px=(227, 227),
    ),
    # torchvision's models; it rounds the longer side down and this rounds it to the nearest,
    # which is one pixel of that side at most.
    "torchvision": Preprocessing(
        channel_order="rgb",
        scale=1.0,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        resize="shorter",
        resize_px=(256, 256),
        crop_px=(224, 224),
    ),
}
"""The rules of published networks by name."""


def trained_preprocessing(
    input_shape: Sequence[int], mean: Sequence[float], std: Sequence[float]
) -> Preprocessing:
    """The rule of a network that `dse` trained.

    Args:
        input_shape: (height, width, channels) of the training images; 1 or 3 channels.
        mean: of each channel over the training images, as numbers in [0, 1].
        std: standard deviation of the same.

    Raises:
        ValueError: another number of channels, or numbers that cannot be applied.
    """
    height, width, channels = input_shape
    if channels not in (1, 3):
        raise ValueError(f"images have 1 or 3 channels, but these have {channels}")
    return Preprocessing(
        channel_order="gray" if channels == 1 else "rgb",
        scale=1.0,
        mean=tuple(map(float, mean)),
        std=tuple(map(float, std)),
        resize="shorter",
        resize_px=(height, width),
        crop_px=(height, width),
        upright=True,
        draft=True,
    )


def preprocessing_from_dict(values: Mapping[str, Any]) -> Preprocessing:
    """The inverse of `Preprocessing.to_dict`.

    Raises:
        ValueError, TypeError, AttributeError: it is not what `to_dict` writes.
    """
    plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Preprocessing(**plain)


def describe_preprocessing(rule: Preprocessing) -> str:
    """The rule in one line, with its name where it has one."""
    name = next((name for name, preset in PREPROCESSINGS.items() if preset == rule), None)
    resized, cropped = shape_text(rule.resize_px), shape_text(rule.crop_px)
    parts = [f"{rule.channel_order.upper()} from 0 to {rule.scale:g}"]
    parts.append(f"less ({', '.join(f'{value:.4g}' for value in rule.mean)})")
    if set(rule.std) != {1.0}:
        parts.append(f"over ({', '.join(f'{value:.4g}' for value in rule.std)})")
    parts.append(f"resized to {'cover ' if rule.resize == 'shorter' else ''}{resized}")
    if rule.resize == "shorter" or rule.crop_px != rule.resize_px:
        parts.append(f"middle {cropped}")
    if rule.upright:
        parts.append("turned as EXIF says")
    return (f"{name}: " if name else "") + ", ".join(parts)
