"""The source `pack:FILE`: what `dse pack` made of a folder, divided as that folder would be."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from dse.data.decode import Rule, fit, shown
from dse.data.folder import FolderSource
from dse.data.headers import rule_of_sizes
from dse.data.packfile import Pack, open_pack
from dse.data.source import Origin, Progress, SourceHandle
from dse.data.spec import DataSpec
from dse.data.splits import SplitName
from dse.errors import DataError
from dse.weights.preprocessing import Preprocessing


@dataclass(frozen=True)
class _Paths(Sequence[str]):
    """Paths of a part's images as `FolderSource` names them, made when they are asked for."""

    pack: Pack
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, at: int) -> str:  # type: ignore[override]
        return f"{self.pack.path}/{self.pack.image_name(int(self.places[at]))}"


def locate_pack(spec: DataSpec, cache: Path) -> SourceHandle:
    """Read the index of a pack; no image is decoded.

    Raises:
        DataError: missing, no pack, of another version, cut short or damaged.
    """
    assert spec.path is not None  # DataSpec sees to it
    pack = open_pack(spec.path)

    def open_source(progress: Progress) -> FolderSource:
        kept = pack.columns["size"] > 0
        heights, widths = (pack.columns[name][kept].tolist() for name in ("height", "width"))
        if not heights:
            raise DataError(f"{pack.path} holds no images")
        sizes = list(dict.fromkeys(zip(widths, heights, strict=True)))
        given = spec.preprocessing
        rule, warnings = rule_of_sizes(sizes, pack.channels, spec.image_size)
        if given and given.channels_count < pack.channels:
            raise DataError(
                f"{pack.path} holds images in colour, but the given weights take gray ones"
            )
        used: Rule | Preprocessing = given or rule
        shape = given.input_shape if given else rule.shape
        places, listed, first = np.arange(len(pack)), {}, 0
        dropped: dict[SplitName, Sequence[int]] = {}
        for split, count in pack.counts.items():
            here = slice(first, first + count)
            listed[split] = _Paths(pack, places[here]), pack.columns["label"][here]
            dropped[split] = np.flatnonzero(~kept[here]).tolist()
            first += count
        mapped = pack.mapped(rule.shape) if given is None else None
        source = FolderSource(
            pack.path,
            dict.fromkeys(listed, str(pack.path)),
            pack.classes,
            listed,
            spec,
            shape,
            lambda path, place: fit(image_of(pack, place), used),
            Origin("pack", pack.path, pack.digest, used, mapped is not None),
            warnings,
            dropped=dropped,
        )
        assert source.members  # too few images are told of at once
        return source

    return SourceHandle(shown(os.path.basename(pack.name) or "pack"), pack.digest, open_source)


def image_of(pack: Pack, place: int) -> Image.Image:
    """A packed image, gray or RGB."""
    pixels = pack.pixels(place)
    return Image.fromarray(pixels[:, :, 0] if pack.channels == 1 else pixels)
