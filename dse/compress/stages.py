"""The stages of compression, measured: fewer weights, shared values, coded.

Either a plan names densities and values, or a loss of accuracy is named and the stages go
as far as it allows.

Source: Han, Mao and Dally 2016 (arXiv 1510.00149).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import zstandard

from dse.compress.prune import Arrays, density_of, kernels_of
from dse.compress.quantize import (
    Mixed,
    check_finite,
    exact_bits,
    fold_norms,
    share_by_bits,
    share_by_lambda,
    share_losslessly,
    share_to_fit,
)
from dse.compress.tuner import Sharing, Tuner
from dse.errors import WeightsError
from dse.study.compression_front import Stage
from dse.weights.dsz import Packed, SharedWeights, pack, unpack
from dse.weights.dsz.floats import FloatBits
from dse.weights.dsz.streams import CoderName
from dse.weights.metadata import WeightsMetadata

DENSITIES = (0.7, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.07, 0.05)
"""Shares of all weights that are tried in turn where a loss of accuracy decides."""

LAMBDAS = (0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)
"""Rate-distortion lambdas, in squared weights of a kernel over the number of all weights."""

FIT_ATTEMPTS = 3

ZSTD_LEVEL = 19

OnProgress = Callable[[str, int, int], None]
"""Called with (stage, steps done, steps at most)."""


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

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**self.__dict__, "densities": dict(self.densities)}


@dataclass(frozen=True)
class Compressed:
    """The result: the stages, and the content of the file."""

    stages: tuple[Stage, ...]
    content: bytes


class Compressor:
    """Makes files of a network's arrays, and measures them.

    Args:
        metadata: what the network's weights file says of it.
        tuner: trains between the stages, and scores.
        float_bits: 32 or 16, of codebooks, biases and norms.
        coder: how numbers become bits.
    """

    def __init__(
        self, metadata: WeightsMetadata, tuner: Tuner, float_bits: FloatBits, coder: CoderName
    ) -> None:
        self._metadata, self._tuner = metadata, tuner
        self._float_bits, self._coder = float_bits, coder

    def lossless(self, arrays: Arrays) -> bytes:
        """The file of arrays as they are, to the bit."""
        bits = exact_bits(arrays)
        return pack(Packed(self._metadata, share_losslessly(arrays, bits), bits, self._coder))

    def tuned(self, sharings: Sequence[Sharing]) -> Iterator[bytes]:
        """The files of arrays whose kernels share values, which are trained."""
        return (pack(self.packed(mixed)) for mixed in self._tuner.shared(sharings))

    def unshared(self, arrays: Arrays) -> bytes:
        """The file of arrays as they are, but for the rounding of floats."""
        return pack(self.packed(share_losslessly(arrays, self._float_bits)))

    def packed(self, mixed: Mapping[str, SharedWeights | np.ndarray]) -> Packed:
        """With the norms folded, which needs the values of no kernel."""
        plain = {path: a for path, a in mixed.items() if not isinstance(a, SharedWeights)}
        arrays: Mixed = {**mixed, **fold_norms(plain)}
        return Packed(self._metadata, arrays, self._float_bits, self._coder)

    def scored(self, name: str, content: bytes, *, test: bool = False) -> Stage:
        """What a file takes, and the accuracy of what it holds."""
        stage = self.measured(name, content)[0]
        return self.tested(stage, content) if test else stage

    def measured(self, name: str, content: bytes) -> tuple[Stage, np.ndarray | None]:
        """The same, and on which validation images it is correct; None where there are none."""
        _, values = unpack(content)
        correct = self._tuner.correct(values)
        nonzero_count = sum(int(np.count_nonzero(k)) for k in kernels_of(values).values())
        return Stage(name, nonzero_count, len(content), _accuracy(correct)), correct

    def tested(self, stage: Stage, content: bytes) -> Stage:
        """The stage with its accuracy on the test images, where there are any."""
        correct = self._tuner.correct(unpack(content)[1], test=True)
        return replace(stage, test_accuracy=_accuracy(correct))


def _accuracy(correct: np.ndarray | None) -> float | None:
    return None if correct is None else float(correct.mean())


def compress_network(
    arrays: Arrays,
    metadata: WeightsMetadata,
    plan: CompressionPlan,
    tuner: Tuner,
    *,
    on_stage: Callable[[Stage], None] = lambda stage: None,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> Compressed:
    """Take a network through the stages of a plan.

    Args:
        arrays: its weights, by path.
        metadata: what its weights file says of it.
        plan: what is to be done.
        tuner: what stands between the stages.
        on_stage: told of each stage that is done.
        on_progress: told how far the search for values that fit a target is.

    Raises:
        WeightsError: the target cannot be reached.
        DivergenceError: training failed.
    """
    return _Compression(
        plan=plan,
        tuner=tuner,
        compressor=Compressor(metadata, tuner, plan.float_bits, plan.coder),
        on_stage=on_stage,
        on_progress=on_progress,
    ).run(arrays)


@dataclass(kw_only=True)
class _Compression:
    plan: CompressionPlan
    tuner: Tuner
    compressor: Compressor
    on_stage: Callable[[Stage], None]
    on_progress: OnProgress
    stages: list[Stage] = field(default_factory=list)

    def run(self, arrays: Arrays) -> Compressed:
        plan = self.plan
        content = self.compressor.lossless(arrays)
        given = self.compressor.scored("given", content, test=True)
        self._keep(given)
        if plan.lossless or (plan.target_bytes or 0) >= len(content):
            return Compressed(tuple(self.stages), content)
        check_finite(arrays)
        if plan.max_loss is not None:
            content = self._within(arrays, given.validation_accuracy or 0.0, plan.max_loss)
        else:
            content = self._as_planned(arrays)
        # The test images are scored with the result alone: the last stage that was kept.
        last = max(index for index, stage in enumerate(self.stages) if stage.kept)
        self.stages[last] = self.compressor.tested(self.stages[last], content)
        return Compressed(tuple(self.stages), content)

    def _as_planned(self, arrays: Arrays) -> bytes:
        plan = self.plan
        densities = dict(plan.densities)
        if plan.density is not None:
            densities = self.tuner.densities(arrays, plan.density) | densities
        if densities:
            arrays = self.tuner.sparse("sparse", arrays, densities)
            name = f"density {density_of(arrays):.3g}"
            self._keep(self.compressor.scored(name, self.compressor.unshared(arrays)))
        if plan.target_bytes is not None:
            return self._to_fit(arrays, plan.target_bytes)
        assert plan.bits is not None
        sharing = ("shared", arrays, share_by_bits(arrays, plan.bits))
        (content,) = self.compressor.tuned([sharing])
        self._keep(self.compressor.scored(f"{max(round(2**plan.bits), 1)} values", content))
        return content

    def _to_fit(self, arrays: Arrays, target_bytes: int) -> bytes:
        """Training changes values, and with them the bytes: what they grew by is taken off."""
        name, aim = f"at most {target_bytes:,} bytes", target_bytes
        for attempt in range(FIT_ATTEMPTS):
            packed, _ = share_to_fit(
                arrays, aim, self.compressor.packed, on_step=partial(self.on_progress, name)
            )
            sharing = (f"target {attempt}", arrays, dict(packed.arrays))
            (content,) = self.compressor.tuned([sharing])
            if len(content) <= target_bytes:
                self._keep(self.compressor.scored(name, content))
                return content
            aim -= 2 * (len(content) - target_bytes)
        raise WeightsError(
            f"a target of {target_bytes:,} bytes was missed {FIT_ATTEMPTS} times: training the "
            f"shared values makes the file larger ({len(content):,} bytes at last); try a larger "
            "target, or go without --data"
        )

    def _within(self, arrays: Arrays, accuracy: float, max_loss: float) -> bytes:
        """First as few weights as half of the loss allows, then as few bits as all of it does."""
        best, sparse = self.compressor.unshared(arrays), arrays

        def prune_to(density: float) -> bool:
            nonlocal best, sparse
            name = f"density {density:.3g}"
            found = self.tuner.sparse(name, sparse, self.tuner.densities(sparse, density))
            content = self.compressor.unshared(found)
            stage = self.compressor.scored(name, content)
            if not self._keep(stage, at_least=accuracy - max_loss / 2):
                return False
            best, sparse = content, found
            return True

        def share_at(rate_lambda: float) -> bool:
            nonlocal best
            name = f"lambda {rate_lambda:.3g}"
            mixed = share_by_lambda(sparse, rate_lambda / weights_count)
            (content,) = self.compressor.tuned([(name, sparse, mixed)])
            if not self._keep(self.compressor.scored(name, content), at_least=accuracy - max_loss):
                return False
            best = content
            return True

        weights_count = sum(kernel.size for kernel in kernels_of(arrays).values())
        present = density_of(arrays)
        _descend([d for d in DENSITIES if d < 0.9 * present], present, prune_to)
        _descend(LAMBDAS, LAMBDAS[0] / 4, share_at)
        return best

    def _keep(self, stage: Stage, *, at_least: float = 0.0) -> bool:
        kept = (stage.validation_accuracy or 0.0) >= at_least
        self.stages.append(replace(stage, kept=kept))
        self.on_stage(self.stages[-1])
        return kept


def _descend(ladder: Sequence[float], start: float, step: Callable[[float], bool]) -> None:
    """Take steps until one fails, then one more, half as far on a logarithmic scale."""
    last = start
    for value in ladder:
        if not step(value):
            step(math.sqrt(last * value))
            return
        last = value


def float32_bytes(arrays: Arrays) -> int:
    """All arrays as they are."""
    return sum(4 * array.size for array in arrays.values())


def baselines_bytes(arrays: Arrays) -> dict[str, int]:
    """What general compressors make of the same weights: the figures to beat.

    Bytes of gzip -9 and zstd -19 of the float32 arrays, and of zstd -19 of int8 kernels: 127
    steps to each side of zero, up to each kernel's largest magnitude; what is no kernel stays
    float32, and what is no number counts as 0.
    """
    plain = {path: np.ascontiguousarray(array, "<f4").tobytes() for path, array in arrays.items()}
    integers = dict(plain)
    for path, kernel in kernels_of(arrays).items():
        finite = np.where(np.isfinite(kernel), kernel, 0)
        step = max(float(np.abs(finite).max(initial=0)) / 127, 1e-30)
        integers[path] = np.rint(finite / step).astype(np.int8).tobytes()
    zstd = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
    gzip = zlib.compressobj(9, wbits=31)
    content = b"".join(plain.values())
    return {
        "gzip": len(gzip.compress(content)) + len(gzip.flush()),
        "zstd": len(zstd.compress(content)),
        "int8 + zstd": len(zstd.compress(b"".join(integers.values()))),
    }
