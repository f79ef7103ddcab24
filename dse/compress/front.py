"""Accuracy against bytes of one network: which densities and values are worth training.

A setting is a density (the share of all weights to keep, shared out over the layers by
sensitivity) and a rate-distortion lambda (which decides the values of each layer, and so its
bits). The densities are trained one after the other, each from the one before. The bytes of
every setting are then exact and cost next to nothing, and its accuracy, before its values are
trained, costs one pass over the validation images: that is the lower rung. Training the values
is what costs, so who gets it is decided as for the candidates of a search: the member of the
front that adds most hypervolume to those trained before it (`dse.stats.pareto.most_wanted`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np

from dse.compress.prune import Arrays, density_of, kernels_of
from dse.compress.quantize import Mixed, check_finite, share_by_lambda
from dse.compress.stages import CompressionPlan, Compressor
from dse.compress.tuner import Tuner
from dse.errors import WeightsError
from dse.stats.intervals import paired_lower_bound
from dse.stats.pareto import front, most_wanted
from dse.study.compression_front import FrontSetting, Stage
from dse.weights.dsz import pack, unpack
from dse.weights.metadata import WeightsMetadata

DENSITIES = (0.7, 0.5, 0.35, 0.25, 0.18, 0.12)
"""Shares of all weights that are trained in turn."""

LAMBDAS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)
"""Rate-distortion lambdas, in squared weights of a kernel over the number of all weights."""

FLOOR = 0.9
"""Share of the given accuracy below which a setting, or a density, is followed no further."""

TRAININGS = 8

FITTING_SHARE = 0.99
"""Of a wanted size, what a file may take before its values are trained, which changes its bytes."""

NEARLY = 0.95
"""Of that, what a file takes at least that fits well."""

FINER = 8.0
"""Times that a lambda may be below all of a front's, to fill what a file may take."""

FITTING_STEPS = 5


@dataclass(frozen=True)
class CompressionFront:
    """Everything that was tried.

    Attributes:
        given: the network as it came, stored to the bit.
        densities: the network at each density, before values are shared.
        settings: each without trained values, and those that were trained once more; by rising
            bytes. The chosen one is the smallest that loses no more than was allowed at 95%
            confidence.
        contents: their files.
        merits: by which settings were told apart: accuracies, or estimates of them.
    """

    given: Stage
    densities: tuple[Stage, ...]
    settings: tuple[FrontSetting, ...]
    contents: tuple[bytes, ...]
    merits: tuple[float, ...]

    @property
    def chosen(self) -> int | None:
        """Index of the chosen setting; None where each loses too much."""
        return next((row for row, setting in enumerate(self.settings) if setting.chosen), None)


def front_of(settings: Sequence[FrontSetting]) -> list[int]:
    """Indices of the settings that no other is both smaller than and as accurate as."""
    if not settings:
        return []
    points = np.array([(s.file_bytes, -s.validation_accuracy) for s in settings], dtype=float)
    return sorted(map(int, front(points)), key=lambda row: settings[row].file_bytes)


def search_front(
    arrays: Arrays,
    metadata: WeightsMetadata,
    plan: CompressionPlan,
    tuner: Tuner,
    *,
    max_loss: float,
    trainings: int = TRAININGS,
    densities: Sequence[float] = DENSITIES,
    lambdas: Sequence[float] = LAMBDAS,
    within: int | None = None,
    share: Callable[[Arrays, float], Mixed] = share_by_lambda,
    merit: Callable[[Arrays], float] | None = None,
    allows: Callable[[str], bool] = lambda what: True,
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
        lambdas: rate-distortion lambdas, rising.
        within: bytes of a file that is wanted: lambdas that lead nearly there are tried too, and
            the values of the best setting that is as small are trained first, however low it
            scores without.
        share: gives kernels values at a rate-distortion lambda.
        merit: estimates an accuracy, by which settings are told apart; None is by that of the
            validation images.
        allows: asked before each training, with `density` or `values`, whether there is time.
        on_stage: told of everything that was measured.

    Raises:
        WeightsError: weights that are no numbers, or a tuner that cannot score.
        DivergenceError: training failed.
    """
    check_finite(arrays)
    compressor = Compressor(metadata, tuner, plan.float_bits, plan.coder)
    content = compressor.lossless(arrays)
    given, correct = compressor.measured("given", content)
    if given.validation_accuracy is None or correct is None:
        raise WeightsError("a front of accuracy takes images to score")
    floor = FLOOR * (given.validation_accuracy if merit is None else merit(arrays))
    given = compressor.tested(given, content)
    on_stage(given)
    search = _FrontSearch(
        compressor=compressor,
        tuner=tuner,
        share=share,
        merit=merit,
        allows=allows,
        on_stage=on_stage,
        correct=correct,
        floor=floor,
        weights_count=sum(kernel.size for kernel in kernels_of(arrays).values()),
    )
    stages = search.share_all(arrays, densities, lambdas)
    if within is not None:
        search.fit(arrays, lambdas, within * FITTING_SHARE)
    search.train_best(trainings, within)
    tried = sorted(search.tried, key=lambda one: one.setting.file_bytes)
    settings = [one.setting for one in tried]
    for row in front_of(settings):
        settings[row] = replace(settings[row], on_front=True)
    able = [row for row, setting in enumerate(settings) if setting.difference_low >= -max_loss]
    if able:
        stage = compressor.tested(tried[able[0]].stage, tried[able[0]].content)
        settings[able[0]] = replace(
            settings[able[0]], chosen=True, test_accuracy=stage.test_accuracy
        )
    contents = tuple(one.content for one in tried)
    merits = tuple(one.merit for one in tried)
    return CompressionFront(given, tuple(stages), tuple(settings), contents, merits)


@dataclass(frozen=True)
class _Tried:
    setting: FrontSetting
    stage: Stage
    content: bytes
    arrays: Arrays  # before values were shared
    merit: float


@dataclass(kw_only=True)
class _FrontSearch:
    """What was tried so far."""

    compressor: Compressor
    tuner: Tuner
    share: Callable[[Arrays, float], Mixed]
    merit: Callable[[Arrays], float] | None
    allows: Callable[[str], bool]
    on_stage: Callable[[Stage], None]
    correct: np.ndarray  # bool (image,), of the network as it came
    floor: float
    weights_count: int
    tried: list[_Tried] = field(default_factory=list)

    def share_all(
        self, arrays: Arrays, densities: Sequence[float], lambdas: Sequence[float]
    ) -> list[Stage]:
        """The lower rung: every lambda at every density, down to where the network breaks."""
        stages = []
        present = density_of(arrays)
        self._share(arrays, lambdas)
        for density in (d for d in densities if d < 0.9 * present):
            if not self.allows("density"):
                break
            name = f"density {density:.3g}"
            arrays = self.tuner.sparse(name, arrays, self.tuner.densities(arrays, density))
            stage = self.compressor.scored(name, self.compressor.unshared(arrays))
            stages.append(stage)
            self.on_stage(stage)
            if (stage.validation_accuracy or 0.0) < self.floor:
                break
            self._share(arrays, lambdas)
        return stages

    def _share(self, arrays: Arrays, lambdas: Sequence[float]) -> None:
        for rate_lambda in lambdas:
            if self._add_shared(arrays, rate_lambda).merit < self.floor:
                break  # a larger lambda would lose more

    def _add_shared(self, arrays: Arrays, rate_lambda: float) -> _Tried:
        mixed = self.share(arrays, rate_lambda / self.weights_count)
        content = pack(self.compressor.packed(mixed))
        return self._add(density_of(arrays), rate_lambda, arrays, content)

    def fit(self, arrays: Arrays, lambdas: Sequence[float], within: float) -> None:
        """Bisect for the lambda whose file takes nearly as many bytes as it may.

        Below all `lambdas` too: a small network may have more values than they give it.
        """
        low, high = lambdas[0] / FINER, lambdas[-1]
        for one in self.tried:
            if one.arrays is arrays and one.setting.file_bytes > within:
                low = max(low, one.setting.rate_lambda)
            elif one.arrays is arrays:
                high = min(high, one.setting.rate_lambda)
        sizes = [one.setting.file_bytes for one in self.tried if one.arrays is arrays]
        for _ in range(FITTING_STEPS):
            if low >= high or any(NEARLY * within <= size <= within for size in sizes):
                return
            middle = float(np.sqrt(low * high))
            sizes = [self._add_shared(arrays, middle).setting.file_bytes]
            low, high = (middle, high) if sizes[0] > within else (low, middle)

    def train_best(self, trainings: int, within: int | None = None) -> None:
        """The upper rung: the values of as many settings as there is time for."""
        rows = self._by_worth(trainings, within)
        while batch := [row for row in islice(rows, self.tuner.at_once) if self.allows("values")]:
            settings = [self.tried[row].setting for row in batch]
            sharings = []
            for row, setting in zip(batch, settings, strict=True):
                arrays = self.tried[row].arrays
                mixed = self.share(arrays, setting.rate_lambda / self.weights_count)
                sharings.append((_name(setting.density, setting.rate_lambda), arrays, mixed))
            found = self.compressor.tuned(sharings)
            for setting, (_, arrays, _), content in zip(settings, sharings, found, strict=True):
                self._add(setting.density, setting.rate_lambda, arrays, content, is_trained=True)

    def _by_worth(self, trainings: int, within: int | None) -> Iterator[int]:
        """Rows of the settings to train; which ones follows from all before any is trained."""
        accuracies = np.array([one.merit for one in self.tried])
        sizes = np.array([[float(one.setting.file_bytes)] for one in self.tried])
        is_taken = accuracies < self.floor
        fits = sizes[:, 0] <= (within or 0) * FITTING_SHARE
        fitting = np.flatnonzero(fits)
        if len(fitting):
            is_taken |= ~fits  # larger ones are of no use to whoever wants one as small
        for training in range(trainings):
            # Volume counts from the floor on: a small file that is no use adds little.
            row = most_wanted(sizes, accuracies - self.floor, is_taken)
            if training == 0 and len(fitting):
                row = int(max(fitting, key=lambda at: (accuracies[at], sizes[at, 0])))
            if row is None:
                return
            is_taken[row] = True
            yield row

    def _add(
        self,
        density: float,
        rate_lambda: float,
        arrays: Arrays,
        content: bytes,
        *,
        is_trained: bool = False,
    ) -> _Tried:
        name = _name(density, rate_lambda) + (", values trained" if is_trained else "")
        stage, correct = self.compressor.measured(name, content)
        assert correct is not None
        assert stage.validation_accuracy is not None
        self.on_stage(stage)
        setting = FrontSetting(
            density=density,
            rate_lambda=rate_lambda,
            values_trained=is_trained,
            nonzero_count=stage.nonzero_count,
            file_bytes=stage.file_bytes,
            validation_accuracy=stage.validation_accuracy,
            difference_low=paired_lower_bound(self.correct, correct),
            test_accuracy=None,
            on_front=False,
            chosen=False,
        )
        merit = setting.validation_accuracy
        if self.merit is not None:
            merit = self.merit(unpack(content)[1])
        self.tried.append(_Tried(setting, stage, content, arrays, merit))
        return self.tried[-1]


def _name(density: float, rate_lambda: float) -> str:
    return f"density {density:.3g}, lambda {rate_lambda:.3g}"
