"""The front of one network's compressions, with scores that are written down beforehand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dse.architecture import build, make_candidate
from dse.compress.front import FLOOR, LAMBDAS, front_of, search_front
from dse.compress.prune import density_of, kernels_of, prune
from dse.compress.stages import CompressionPlan
from dse.compress.tuner import NoImages
from dse.errors import WeightsError
from dse.study.compression_front import FrontSetting
from dse.weights.dsz import unpack
from dse.weights.metadata import WeightsMetadata
from dse.weights.preprocessing import trained_preprocessing

CANDIDATE = make_candidate("squeezenet", {"base_e": 32, "incr_e": 16, "fire_modules": 2})
SHAPE = (8, 8, 1)
METADATA = WeightsMetadata(
    family=CANDIDATE.family,
    metaparameters=CANDIDATE.metaparameters,
    input_shape=SHAPE,
    classes=("a", "b", "c"),
    preprocessing=trained_preprocessing(SHAPE, (0.5,), (0.2,)),
)
GIVEN = 0.9
IMAGES = 100_000


@pytest.fixture(scope="module", autouse=True)
def _half_of_the_lambdas():
    """Each costs the same and shows the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dse.compress.front.LAMBDAS", LAMBDAS[::2])
        yield


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    return random_arrays()


def random_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    parameters = build(CANDIDATE, SHAPE, 3).parameters
    return {p.path: rng.normal(0, 0.1, p.shape).astype(np.float32) for p in parameters}


class Scripted:
    """Scores by the share of weights and the number of values that are left.

    Training the values of a setting gives back `gain`, which shows as one weight of the first
    bias that is set to 7 (kept exactly by float16).
    """

    def __init__(self, accuracy_of, gain: float = 0.0, at_once: int = 1) -> None:
        self.accuracy_of, self.gain, self.at_once = accuracy_of, gain, at_once
        self.pruned, self.trained, self.batches, self.tests_count = [], [], [], 0

    def densities(self, arrays, density: float):
        return NoImages().densities(arrays, density)

    def sparse(self, stage: str, arrays, densities):
        self.pruned.append((stage, density_of(arrays)))
        return prune(arrays, densities)

    def shared(self, sharings):
        self.batches.append(len(sharings))
        for stage, _, mixed in sharings:
            self.trained.append(stage)
            marked = np.array(mixed["conv1/bias"])
            marked[0] = 7.0
            yield {**mixed, "conv1/bias": marked}

    def correct(self, arrays, *, test: bool = False) -> np.ndarray:
        self.tests_count += test
        return np.arange(IMAGES) < round(IMAGES * self.score(arrays))

    def score(self, arrays) -> float:
        kernels = kernels_of(arrays).values()
        values = np.mean([len(np.unique(kernel)) for kernel in kernels])
        trained = self.gain if arrays["conv1/bias"][0] == 7.0 else 0.0
        return self.accuracy_of(density_of(arrays), values) + trained


def smooth(density: float, values: float) -> float:
    """Falls with fewer weights and with fewer values, slowly at first."""
    return GIVEN - 0.02 * (1 - density) ** 2 - 0.1 / values


def found(arrays, tuner, **options):
    values = {"max_loss": 0.01, "trainings": 3} | options
    return search_front(arrays, METADATA, CompressionPlan(), tuner, **values)


@pytest.fixture(scope="module")
def untrained():
    """A tuner, and the front that it was asked to make without training any values."""
    tuner = Scripted(smooth)
    return tuner, found(random_arrays(), tuner, trainings=0)


def test_densities_follow_each_other_and_the_sizes_are_those_of_files(untrained) -> None:
    tuner, result = untrained
    assert [stage for stage, _ in tuner.pruned] == [
        "density 0.7", "density 0.5", "density 0.35", "density 0.25", "density 0.18",
        "density 0.12",
    ]  # fmt: skip
    # Each is made from the one before it.
    assert [round(before, 2) for _, before in tuner.pruned] == [1, 0.7, 0.5, 0.35, 0.25, 0.18]
    for setting, content in zip(result.settings, result.contents, strict=True):
        assert setting.file_bytes == len(content)
        _, values = unpack(content)
        assert density_of(values) <= setting.density  # sharing may set more of them to zero
        assert setting.validation_accuracy == pytest.approx(tuner.score(values), abs=1e-5)


def test_lambdas_between_the_given_ones_lead_nearly_to_a_wanted_size(arrays) -> None:
    options = {"trainings": 0, "densities": (), "lambdas": (0.02, 1.28)}
    large, small = sorted(
        (s.file_bytes for s in found(arrays, Scripted(smooth), **options).settings), reverse=True
    )
    within = (large + small) // 2
    result = found(arrays, Scripted(smooth), within=within, **options)
    between = [s.file_bytes for s in result.settings if small < s.file_bytes <= within]
    assert any(0.95 * 0.99 * within <= size <= 0.99 * within for size in between)


def test_a_network_that_is_small_anyway_gets_finer_values(arrays) -> None:
    options = {"trainings": 0, "densities": ()}
    (wanted,) = found(arrays, Scripted(smooth), lambdas=(0.08,), **options).settings
    within = round(wanted.file_bytes / 0.98)
    result = found(arrays, Scripted(smooth), lambdas=(0.32, 1.28), within=within, **options)
    finer = [s.file_bytes for s in result.settings if s.rate_lambda < 0.32]
    assert any(0.95 * 0.99 * within <= size <= 0.99 * within for size in finer)


def test_what_is_to_fit_is_trained_first_as_long_as_there_is_time(arrays, untrained) -> None:
    settings = untrained[1].settings
    small = sorted(setting.file_bytes for setting in settings)[len(settings) // 3]
    fitting = [s for s in settings if s.file_bytes <= 0.99 * small]
    best = max(fitting, key=lambda s: (s.validation_accuracy, s.file_bytes))
    asked = []

    def allows(what: str) -> bool:
        asked.append(what)
        return asked.count("values") <= 1

    tuner = Scripted(smooth)
    result = found(arrays, tuner, within=small, trainings=5, allows=allows)
    assert tuner.trained == [f"density {best.density:.3g}, lambda {best.rate_lambda:.3g}"]
    assert asked == ["density"] * 6 + ["values"] * 2
    assert sum(setting.values_trained for setting in result.settings) == 1
    all_of_them = Scripted(smooth)
    found(arrays, all_of_them, within=small, trainings=99)
    names = {f"density {s.density:.3g}, lambda {s.rate_lambda:.3g}" for s in fitting}
    assert set(all_of_them.trained) <= names, "larger ones are of no use"


def as_tried(settings):
    return sorted(settings, key=lambda s: (-s.density, s.rate_lambda))


def test_a_larger_lambda_makes_a_smaller_file(untrained) -> None:
    settings = untrained[1].settings
    for _, group in itertools.groupby(as_tried(settings), key=lambda s: s.density):
        sizes = [setting.file_bytes for setting in group]
        assert sizes == sorted(sizes, reverse=True)


def test_the_chosen_file_is_the_smallest_within_the_loss_and_alone_is_tested(arrays) -> None:
    tuner = Scripted(smooth)
    result = found(arrays, tuner)
    able = [s for s in result.settings if s.difference_low >= -0.01]
    least = result.given.validation_accuracy - 0.01
    measured = [s for s in result.settings if s.validation_accuracy >= least]
    assert 0 < len(able) < len(measured)  # some are only luckily within it
    chosen = result.settings[result.chosen]
    assert chosen.file_bytes == min(s.file_bytes for s in able)
    assert tuner.tests_count == 2  # the network as it came, and the chosen one
    assert [s.test_accuracy is not None for s in result.settings].count(True) == 1
    assert chosen.test_accuracy is not None


def test_training_goes_to_the_front_and_no_setting_gets_it_twice(arrays) -> None:
    tuner = Scripted(smooth, gain=0.005, at_once=3)
    result = found(arrays, tuner, trainings=4)
    assert tuner.batches == [3, 1]
    untrained = [s for s in result.settings if not s.values_trained]
    on_front = {(untrained[i].density, untrained[i].rate_lambda) for i in front_of(untrained)}
    trained = [s for s in result.settings if s.values_trained]
    assert len(tuner.trained) == len(set(tuner.trained)) == len(trained) == 4
    assert {(s.density, s.rate_lambda) for s in trained} <= on_front
    for setting in trained:
        (before,) = [
            s
            for s in untrained
            if (s.density, s.rate_lambda) == (setting.density, setting.rate_lambda)
        ]
        gained = setting.validation_accuracy - before.validation_accuracy
        assert gained == pytest.approx(0.005, abs=2e-5)


def test_training_ends_when_the_front_is_trained(arrays) -> None:
    tuner = Scripted(smooth)
    result = found(arrays, tuner, trainings=1000)
    untrained = [s for s in result.settings if not s.values_trained]
    floor = FLOOR * result.given.validation_accuracy
    able = [i for i in front_of(untrained) if untrained[i].validation_accuracy >= floor]
    assert len(tuner.trained) == len(able)


def test_what_breaks_the_network_is_followed_no_further(arrays) -> None:
    tuner = Scripted(lambda d, values: GIVEN if d > 0.3 and values > 20 else 0.1)
    result = found(arrays, tuner, trainings=1000)
    assert tuner.pruned[-1][0] == "density 0.25"
    assert all(s.density > 0.3 for s in result.settings)
    for _, group in itertools.groupby(
        as_tried(s for s in result.settings if not s.values_trained), key=lambda s: s.density
    ):
        broken = [s.validation_accuracy < 0.5 for s in group]
        assert not any(broken[:-1])
    assert all(s.validation_accuracy > 0.5 for s in result.settings if s.values_trained)


def test_nothing_is_chosen_where_all_lose_too_much(arrays) -> None:
    # Whatever is shared loses five points; the network as it came has all its values.
    all_of_them = np.mean([kernel.size for kernel in kernels_of(arrays).values()])
    tuner = Scripted(lambda d, values: GIVEN if values == all_of_them else GIVEN - 0.05)
    result = found(arrays, tuner, max_loss=0.049, trainings=0)
    assert result.given.validation_accuracy == pytest.approx(GIVEN)
    assert result.chosen is None
    assert tuner.tests_count == 1
    assert found(arrays, tuner, max_loss=0.052, trainings=0).chosen is not None


def test_without_images_there_is_no_front(arrays) -> None:
    with pytest.raises(WeightsError, match="takes images"):
        found(arrays, NoImages())


def test_weights_that_are_no_numbers_are_refused(arrays) -> None:
    arrays["conv1/kernel"][0, 0, 0, 0] = np.nan
    with pytest.raises(WeightsError, match="conv1/kernel has 1 values that are not finite"):
        found(arrays, Scripted(smooth))


def test_the_front_is_that_of_all_pairs() -> None:
    rng = np.random.default_rng(1)
    settings = [
        FrontSetting(
            density=1.0,
            rate_lambda=0.1,
            values_trained=False,
            nonzero_count=0,
            file_bytes=int(size),
            validation_accuracy=accuracy,
            difference_low=0.0,
            test_accuracy=None,
            on_front=False,
            chosen=False,
        )
        for size, accuracy in zip(
            rng.integers(1, 40, 60), rng.integers(0, 20, 60) / 20, strict=True
        )
    ]

    def beats(a: FrontSetting, b: FrontSetting) -> bool:
        one, other = (a.file_bytes, -a.validation_accuracy), (b.file_bytes, -b.validation_accuracy)
        return one != other and one[0] <= other[0] and one[1] <= other[1]

    slow = {
        (s.file_bytes, s.validation_accuracy)
        for s in settings
        if not any(beats(other, s) for other in settings)
    }
    rows = front_of(settings)
    assert {(settings[i].file_bytes, settings[i].validation_accuracy) for i in rows} == slow
    sizes = [settings[i].file_bytes for i in rows]
    assert sizes == sorted(sizes)
