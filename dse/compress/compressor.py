"""A network on its way through compression: what a file of it takes, and how that file scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from dse.compress.pipeline import Mixed, exact_bits, fold_norms, kernels_of, share_losslessly
from dse.compress.tuner import Arrays, Tuner
from dse.weights.dsz import Packed, SharedWeights, pack, unpack
from dse.weights.dsz.floats import FloatBits
from dse.weights.dsz.streams import CoderName
from dse.weights.metadata import WeightsMetadata


@dataclass(frozen=True)
class Stage:
    """The network behind one stage, as its file holds it.

    Attributes:
        name: `given`, `density 0.4`, `64 values`, ….
        nonzero_count: weights of all kernels that are not zero.
        file_bytes: of a `.dsz` file that holds it.
        validation_accuracy: where there are images.
        test_accuracy: of the first and the last, where there are images.
        kept: False for a step that lost too much and was taken back.
    """

    name: str
    nonzero_count: int
    file_bytes: int
    validation_accuracy: float | None = None
    test_accuracy: float | None = None
    kept: bool = True


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

    def tuned(self, stage: str, arrays: Arrays, mixed: Mixed) -> bytes:
        """The file of arrays whose kernels share values as in `mixed`, which are trained."""
        return pack(self.packed(self._tuner.shared(stage, arrays, mixed)))

    def unshared(self, arrays: Arrays) -> bytes:
        """The file of arrays as they are, but for the rounding of floats."""
        return pack(self.packed(share_losslessly(arrays, self._float_bits)))

    def packed(self, mixed: Mapping[str, SharedWeights | np.ndarray]) -> Packed:
        """With the norms folded, which needs the values of no kernel."""
        plain = {path: a for path, a in mixed.items() if not isinstance(a, SharedWeights)}
        shared = {path: a for path, a in mixed.items() if isinstance(a, SharedWeights)}
        arrays: Mixed = {**fold_norms(plain), **shared}
        return Packed(self._metadata, arrays, self._float_bits, self._coder)

    def scored(self, name: str, content: bytes) -> Stage:
        """What a file takes, and how often what it holds is right."""
        return self.measured(name, content)[0]

    def measured(self, name: str, content: bytes) -> tuple[Stage, np.ndarray | None]:
        """The same, and which validation images are right; None where there are none."""
        _, values = unpack(content)
        right = self._tuner.right(values)
        nonzero_count = sum(int(np.count_nonzero(k)) for k in kernels_of(values).values())
        return Stage(name, nonzero_count, len(content), _accuracy(right)), right

    def tested(self, stage: Stage, content: bytes) -> Stage:
        """The stage with its accuracy on the test images, where there are any."""
        right = self._tuner.right(unpack(content)[1], test=True)
        return replace(stage, test_accuracy=_accuracy(right))


def _accuracy(right: np.ndarray | None) -> float | None:
    return None if right is None else float(right.mean())
