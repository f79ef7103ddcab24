"""Accuracy against bytes of one network: which densities and values are worth training.

A setting is a density (the share of all weights to keep, shared out over the layers by
sensitivity) and a price of a bit (which decides the values of each layer, and so its bits).
The densities are trained one after the other, each from the one before. The bytes of every
setting are then exact and cost next to nothing, and its accuracy, before its values are
trained, costs one look at the validation images: that is the lower rung. Training the values
is what costs, so who gets it is decided as for the candidates of a search: the member of the
rung's front that adds most hypervolume to those trained before it (`rungs.top_up`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dse.compress.compress import CompressionPlan
from dse.compress.compressor import Compressor, Stage
from dse.compress.pipeline import (
    check_finite,
    density_of,
    kernels_of,
    share_by_price,
)
from dse.compress.tuner import Arrays, Tuner
from dse.errors import WeightsError
from dse.search.rungs import Ladder, Standings, top_up
from dse.stats.intervals import paired_lower_bound
from dse.stats.pareto import front
from dse.weights.dsz import pack
from dse.weights.metadata import WeightsMetadata

DENSITIES = (0.7, 0.5, 0.35, 0.25, 0.18, 0.12)
"""Shares of all weights that are trained in turn."""

PRICES = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)
"""What a bit costs, in squared weights of a kernel over the number of all weights."""

FLOOR = 0.9
"""Share of the given accuracy below which a setting, or a density, is followed no further."""

TRAININGS = 8


@dataclass(frozen=True)
class Setting:
    """One way to compress the network, and what came of it.

    Attributes:
        density: share of the kernels' weights that are not zero.
        price: of a bit; rising prices give fewer values and coarser ones.
        stage: size and accuracy of its file.
        difference_low: what its accuracy less the given one is surely (95%) not under, on the
            validation images; a fraction.
        content: the file.
        is_trained: whether its values were trained after they were shared.
    """

    density: float
    price: float
    stage: Stage
    difference_low: float
    content: bytes
    is_trained: bool = False

    @property
    def accuracy(self) -> float:
        """On the validation images, a fraction."""
        assert self.stage.validation_accuracy is not None
        return self.stage.validation_accuracy


@dataclass(frozen=True)
class CompressionFront:
    """Everything that was tried.

    Attributes:
        given: the network as it came, stored to the bit.
        densities: the network at each density, before values are shared.
        settings: each setting without trained values, and those that were trained once more.
        chosen: index of the smallest setting that surely loses no more than was allowed; None
            where there is none.
    """

    given: Stage
    densities: tuple[Stage, ...]
    settings: tuple[Setting, ...]
    chosen: int | None

    def on_front(self) -> list[int]:
        """Indices of the settings that no other dominates, by rising size."""
        return front_of(self.settings)


def front_of(settings: Sequence[Setting]) -> list[int]:
    """Indices of the settings that no other is both smaller than and as accurate as."""
    if not settings:
        return []
    points = np.array([(s.stage.file_bytes, -s.accuracy) for s in settings], dtype=float)
    rows = [int(row) for row in front(points)]
    return sorted(rows, key=lambda row: settings[row].stage.file_bytes)


def search_front(
    arrays: Arrays,
    metadata: WeightsMetadata,
    plan: CompressionPlan,
    tuner: Tuner,
    *,
    max_loss: float,
    trainings: int = TRAININGS,
    densities: Sequence[float] = DENSITIES,
    prices: Sequence[float] = PRICES,
    on_stage: Callable[[Stage], None] = lambda stage: None,
) -> CompressionFront:
    """Search densities and values of a network for the front of accuracy against bytes.

    Args:
        arrays: its weights, by path.
        metadata: what its weights file says of it.
        plan: coder and bits of floats; what else it says does not count.
        tuner: trains and scores; one with images.
        max_loss: most validation accuracy (a fraction) that the chosen setting may lose, at 95%
            confidence: the smallest of many is often one that was lucky.
        trainings: settings whose values are trained at most.
        densities: shares of all weights, falling.
        prices: of a bit, rising.
        on_stage: told of everything that was measured.

    Raises:
        WeightsError: weights that are no numbers, or a tuner that cannot score.
        DivergenceError: training failed.
    """
    check_finite(arrays)
    return _FrontSearch(metadata, plan, tuner, on_stage).run(
        arrays, max_loss, trainings, densities, prices
    )


class _FrontSearch:
    def __init__(
        self,
        metadata: WeightsMetadata,
        plan: CompressionPlan,
        tuner: Tuner,
        on_stage: Callable[[Stage], None],
    ) -> None:
        self._metadata, self._plan, self._tuner, self._on_stage = metadata, plan, tuner, on_stage
        self._compressor = Compressor(metadata, tuner, plan.float_bits, plan.coder)
        self._settings: list[Setting] = []
        self._sparse: list[Arrays] = []  # of each setting without trained values
        self._floor = 0.0
        self._right = np.zeros(0, dtype=bool)
        self._weights_count = 0

    def run(
        self,
        arrays: Arrays,
        max_loss: float,
        trainings: int,
        densities: Sequence[float],
        prices: Sequence[float],
    ) -> CompressionFront:
        content = self._compressor.lossless(arrays)
        given, right = self._compressor.measured("given", content)
        if given.validation_accuracy is None or right is None:
            raise WeightsError("a front of accuracy takes images to score")
        self._right = right
        self._floor = FLOOR * given.validation_accuracy
        given = self._compressor.tested(given, content)
        self._on_stage(given)
        self._weights_count = sum(kernel.size for kernel in kernels_of(arrays).values())
        stages = self._untrained(arrays, densities, prices)
        self._train(trainings)
        able = [row for row, s in enumerate(self._settings) if s.difference_low >= -max_loss]
        chosen = min(able, key=lambda row: self._settings[row].stage.file_bytes, default=None)
        if chosen is not None:
            self._test(chosen)
        return CompressionFront(given, tuple(stages), tuple(self._settings), chosen)

    def _untrained(
        self, arrays: Arrays, densities: Sequence[float], prices: Sequence[float]
    ) -> list[Stage]:
        """The lower rung: every price at every density, down to where the network breaks."""
        stages = []
        present = density_of(arrays)
        self._share(arrays, prices)
        for density in (d for d in densities if d < 0.9 * present):
            name = f"density {density:.3g}"
            arrays = self._tuner.sparse(name, arrays, self._tuner.densities(arrays, density))
            stage = self._compressor.scored(name, self._compressor.unshared(arrays))
            stages.append(stage)
            self._on_stage(stage)
            if (stage.validation_accuracy or 0.0) < self._floor:
                break
            self._share(arrays, prices)
        return stages

    def _share(self, arrays: Arrays, prices: Sequence[float]) -> None:
        density = density_of(arrays)
        for price in prices:
            mixed = share_by_price(arrays, price / self._weights_count)
            content = pack(self._compressor.packed(mixed))
            setting = self._setting(density, price, content, is_trained=False)
            self._settings.append(setting)
            self._sparse.append(arrays)
            if setting.accuracy < self._floor:
                break  # a higher price would lose more

    def _train(self, trainings: int) -> None:
        """The upper rung: the values of as many settings as there is time for."""
        untrained = tuple(self._settings)
        accuracies = np.full((len(untrained), 2), np.nan)
        accuracies[:, 0] = [setting.accuracy for setting in untrained]
        sizes = np.array([[float(s.stage.file_bytes)] for s in untrained])
        is_open = accuracies[:, 0] >= self._floor
        for _ in range(trainings):
            # Volume counts from the floor on: a small file that is no use adds little.
            standings = Standings(sizes, accuracies - self._floor, is_open)
            row = top_up(Ladder.of_epochs(1, 2), standings)
            if row is None:
                return
            setting, arrays = untrained[row], self._sparse[row]
            name = _name(setting.density, setting.price)
            mixed = share_by_price(arrays, setting.price / self._weights_count)
            content = self._compressor.tuned(name, arrays, mixed)
            trained = self._setting(setting.density, setting.price, content, is_trained=True)
            self._settings.append(trained)
            accuracies[row, 1] = trained.accuracy

    def _setting(
        self, density: float, price: float, content: bytes, *, is_trained: bool
    ) -> Setting:
        name = _name(density, price) + (", values trained" if is_trained else "")
        stage, right = self._compressor.measured(name, content)
        assert right is not None
        self._on_stage(stage)
        low = paired_lower_bound(self._right, right)
        return Setting(density, price, stage, low, content, is_trained)

    def _test(self, row: int) -> None:
        setting = self._settings[row]
        tested = self._compressor.tested(setting.stage, setting.content)
        self._settings[row] = replace(setting, stage=tested)


def _name(density: float, price: float) -> str:
    return f"density {density:.3g}, price {price:.3g}"
