"""Weights that a training starts from: a file of any classes, checked before it is believed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dse.architecture import FAMILIES, Architecture, Candidate, make_candidate
from dse.errors import WeightsError
from dse.text import shape_text, some_of
from dse.weights.metadata import WeightsMetadata, described_architecture
from dse.weights.preprocessing import Preprocessing
from dse.weights.safetensors import flat, load_weights, read_metadata

TIMES_IN_MEMORY = 8
"""Of a file's bytes, what reading, inheriting and training take at least."""


@dataclass(frozen=True, eq=False)
class GivenWeights:
    """A network with its weights, to start others from.

    Attributes:
        path: the file.
        digest: SHA-256 of its bytes, hexadecimal.
        metadata: what it says of itself.
        architecture: its network.
        arrays: float32 by parameter path.
    """

    path: Path
    digest: str
    metadata: WeightsMetadata
    architecture: Architecture
    arrays: dict[str, np.ndarray]

    def preprocessing(self, image_size: int | tuple[int, int] | None = None) -> Preprocessing:
        """How images are fed to networks that start from them.

        As the weights say, but turned as the EXIF data says; at another size resize and crop
        keep their ratio.

        Args:
            image_size: side in pixels, or (height, width); None is that of the weights.
        """
        rule = replace(self.metadata.preprocessing, upright=True, draft=True)
        if image_size is None:
            return rule
        crop_px = (image_size, image_size) if isinstance(image_size, int) else image_size
        resized = [
            max(wanted, round(wanted * side / crop))
            for wanted, side, crop in zip(crop_px, rule.resize_px, rule.crop_px, strict=True)
        ]
        return replace(rule, resize_px=(resized[0], resized[1]), crop_px=crop_px)

    @property
    def candidate(self) -> Candidate:
        """Their own network, with the family's default in what is the head's alone."""
        return with_new_head(self.metadata.candidate)

    def check_suits(self, candidate: Candidate) -> None:
        """Refuse to start a network of another family.

        Raises:
            WeightsError: naming both.
        """
        if candidate.family != self.metadata.family:
            raise WeightsError(
                f"--init {self.path} holds a {self.metadata.family}, which gives nothing to a "
                f"{candidate.family}; take a network of the same family, or train from scratch "
                "without --init"
            )

    def check_teaches(self, input_shape: Sequence[int], classes: Sequence[str]) -> None:
        """Refuse a teacher that cannot score the images as they are prepared.

        Raises:
            WeightsError: naming what differs.
        """
        if tuple(input_shape) != tuple(self.metadata.input_shape):
            raise WeightsError(
                f"--teacher {self.path} takes {shape_text(self.metadata.input_shape)}, but the "
                f"images are {shape_text(tuple(input_shape))}: give the --init or --image-size "
                "that the teacher was trained with"
            )
        if tuple(classes) != tuple(self.metadata.classes):
            raise WeightsError(
                f"--teacher {self.path} tells {len(self.metadata.classes):,} classes apart "
                f"({some_of(self.metadata.classes)}), but the images have {len(classes):,} "
                f"({some_of(classes)}): train one on them first, with dse train --init"
            )

    def knows(self, classes: Sequence[str]) -> bool:
        """Whether all of these are classes that the weights tell apart themselves."""
        known = {name.casefold() for name in (*self.metadata.classes, *self.metadata.class_ids)}
        return {name.casefold() for name in classes} <= known


def with_new_head(candidate: Candidate) -> Candidate:
    """The candidate with the family's default in every metaparameter of its head."""
    known = FAMILIES[candidate.family].metaparameters
    defaults = {name: one.default for name, one in known.items() if one.of_head}
    return make_candidate(candidate.family, candidate.metaparameters | defaults)


def read_given(path: Path, option: str = "--init") -> GivenWeights:
    """Read a weights file to start, or to learn, from.

    Args:
        path: of the file.
        option: that named it, for messages.

    Raises:
        WeightsError: no such file, damaged, no network is like that, values that are not
            finite, norms that were folded, or more than there is memory for.
    """
    metadata = read_metadata(path)
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    architecture = described_architecture(path, metadata)
    needed = TIMES_IN_MEMORY * 4 * sum(parameter.size for parameter in architecture.parameters)
    if needed > available:
        raise WeightsError(
            f"{option} {path}: starting from these weights takes about {needed / 1e6:,.0f} MB of "
            f"memory, but {available / 1e6:,.0f} MB are free; take a smaller network"
        )
    params, statistics, _ = load_weights(path, architecture)
    arrays = flat(params, statistics)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise WeightsError(f"{option} {path}: {name} has values that are not finite")
    norms = {name: array for name, array in arrays.items() if name.endswith(("/mean", "/variance"))}
    if norms and all((a == (0 if n.endswith("mean") else 1)).all() for n, a in norms.items()):
        raise WeightsError(
            f"{option} {path}: the norms of these weights were folded when they were compressed, "
            "so they cannot be trained; give the weights file that the .dsz was made of"
        )
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return GivenWeights(path, digest, metadata, architecture, arrays)
