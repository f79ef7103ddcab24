"""The stages of compression, measured: fewer weights, shared values, coded.

Either a plan names densities and values, or a loss of accuracy is named and the stages go
as far as it allows.

Source: Han, Mao and Dally 2016 (arXiv 1510.00149).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dse.compression import Packed, SharedWeights, pack, unpack
from dse.compression.floats import FloatBits
from dse.compression.pipeline import (
    Mixed,
    even_densities,
    fold_norms,
    kernels_of,
    share_by_bits,
    share_by_price,
    share_losslessly,
    share_to_fit,
)
from dse.compression.streams import CoderName
from dse.metadata import WeightsMetadata
from dse.training.tuner import Arrays, Tuner

DENSITIES = (0.7, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.07, 0.05)
"""Shares of all weights that are tried in turn where a loss of accuracy decides."""

PRICES = (0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)
"""What a bit costs, in squared weights of a kernel over the number of all weights; in turn."""


@dataclass(frozen=True)
class CompressionPlan:
    """What is to be done to the weights.

    Attributes:
        lossless: nothing is changed; the others below do not count.
        density: share of all kernels' weights to keep; None keeps those that are there.
        densities: of single kernels, by path, in place of what follows from `density`.
        bits: each kernel gets 2^bits values; None where one of the next two decides.
        target_bytes: most that the file may take.
        max_loss: most validation accuracy that may be lost; decides over density too.
        float_bits: 32 or 16, of codebooks, biases and norms.
        coder: how numbers become bits.
    """

    lossless: bool = False
    density: float | None = None
    densities: Mapping[str, float] = field(default_factory=dict)
    bits: float | None = 6.0
    target_bytes: int | None = None
    max_loss: float | None = None
    float_bits: FloatBits = 16
    coder: CoderName = "ans"

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**self.__dict__, "densities": dict(self.densities)}


@dataclass(frozen=True)
class Stage:
    """The network behind one stage, as its file holds it.

    Attributes:
        name: `given`, `density 0.4`, `64 values`, ….
        nonzero_count: weights of all kernels that are not zero.
        file_bytes: of a `.dsz` file that holds it.
        validation_accuracy: where there are pictures.
        test_accuracy: of the first and the last, where there are pictures.
        kept: False for a step that lost too much and was taken back.
    """

    name: str
    nonzero_count: int
    file_bytes: int
    validation_accuracy: float | None = None
    test_accuracy: float | None = None
    kept: bool = True


@dataclass(frozen=True)
class Compressed:
    """The result: the stages, and the content of the file."""

    stages: tuple[Stage, ...]
    packed: Packed
    content: bytes


def compress_network(
    arrays: Arrays,
    metadata: WeightsMetadata,
    plan: CompressionPlan,
    tuner: Tuner,
    *,
    on_stage: Callable[[Stage], None] = lambda stage: None,
) -> Compressed:
    """Take a network through the stages of a plan.

    Args:
        arrays: its weights, by path.
        metadata: what its weights file says of it.
        plan: what is to be done.
        tuner: what stands between the stages.
        on_stage: told of each stage that is done.

    Raises:
        WeightsError: the target cannot be reached.
        DivergenceError: training failed.
    """
    return _Compression(metadata, plan, tuner, on_stage).run(arrays)


class _Compression:
    def __init__(
        self,
        metadata: WeightsMetadata,
        plan: CompressionPlan,
        tuner: Tuner,
        on_stage: Callable[[Stage], None],
    ) -> None:
        self._metadata, self._plan, self._tuner = metadata, plan, tuner
        self._on_stage = on_stage
        self._stages: list[Stage] = []

    def run(self, arrays: Arrays) -> Compressed:
        plan = self._plan
        given = Packed(self._metadata, share_losslessly(arrays), 32, plan.coder)
        content = pack(given)
        first = self._scored("given", content, test=True)
        self._keep(first)
        if plan.lossless:
            return Compressed(tuple(self._stages), given, content)
        if plan.max_loss is not None:
            packed, content = self._within(arrays, first.validation_accuracy or 0.0, plan.max_loss)
        else:
            packed, content = self._as_planned(arrays)
        self._test_last(content)
        return Compressed(tuple(self._stages), packed, content)

    def _as_planned(self, arrays: Arrays) -> tuple[Packed, bytes]:
        plan = self._plan
        densities = dict(plan.densities)
        if plan.density is not None:
            densities = even_densities(arrays, plan.density) | densities
        if densities:
            arrays = self._tuner.sparse("sparse", arrays, densities)
            self._keep(self._scored("sparse", pack(self._packed(share_losslessly(arrays)))))
        if plan.target_bytes is not None:
            name = f"at most {plan.target_bytes:,} bytes"
            mixed = dict(share_to_fit(arrays, plan.target_bytes, self._packed)[0].arrays)
        else:
            assert plan.bits is not None
            name = f"{max(round(2**plan.bits), 1)} values"
            mixed = share_by_bits(arrays, plan.bits)
        packed = self._packed(self._tuner.shared("shared", arrays, mixed))
        content = pack(packed)
        self._keep(self._scored(name, content))
        return packed, content

    def _within(self, arrays: Arrays, accuracy: float, max_loss: float) -> tuple[Packed, bytes]:
        """First as few weights as half of the loss allows, then as few bits as all of it does."""
        for density in DENSITIES:
            name = f"density {density:g}"
            found = self._tuner.sparse(name, arrays, even_densities(arrays, density))
            stage = self._scored(name, pack(self._packed(share_losslessly(found))))
            if not self._keep(stage, at_least=accuracy - max_loss / 2):
                break
            arrays = found
        best: tuple[Packed, bytes] | None = None
        weights_count = sum(kernel.size for kernel in kernels_of(arrays).values())
        for price in PRICES:
            name = f"price {price:g}"
            mixed = share_by_price(arrays, price / weights_count)
            packed = self._packed(self._tuner.shared(name, arrays, mixed))
            content = pack(packed)
            if not self._keep(self._scored(name, content), at_least=accuracy - max_loss):
                break
            best = (packed, content)
        if best is None:
            packed = self._packed(share_losslessly(arrays))
            best = (packed, pack(packed))
            self._keep(self._scored("values as they are", best[1]))
        return best

    def _packed(self, mixed: Mapping[str, SharedWeights | np.ndarray]) -> Packed:
        """With the norms folded, which needs the values of no kernel."""
        plain = {path: a for path, a in mixed.items() if not isinstance(a, SharedWeights)}
        shared = {path: a for path, a in mixed.items() if isinstance(a, SharedWeights)}
        arrays: Mixed = {**fold_norms(plain), **shared}
        return Packed(self._metadata, arrays, self._plan.float_bits, self._plan.coder)

    def _scored(self, name: str, content: bytes, *, test: bool = False) -> Stage:
        """What a file takes, and how often what it holds is right."""
        _, values = unpack(content)
        return Stage(
            name,
            sum(int(np.count_nonzero(kernel)) for kernel in kernels_of(values).values()),
            len(content),
            self._tuner.score(values),
            self._tuner.score(values, test=True) if test else None,
        )

    def _keep(self, stage: Stage, *, at_least: float = 0.0) -> bool:
        kept = (stage.validation_accuracy or 0.0) >= at_least
        self._stages.append(replace(stage, kept=kept))
        self._on_stage(self._stages[-1])
        return kept

    def _test_last(self, content: bytes) -> None:
        """Score the test pictures with the result: the last stage that was kept."""
        last = max(index for index, stage in enumerate(self._stages) if stage.kept)
        accuracy = self._tuner.score(unpack(content)[1], test=True)
        self._stages[last] = replace(self._stages[last], test_accuracy=accuracy)
