"""The stages against a tuner whose scores are written down beforehand; no training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from dse.architecture import build, make_candidate
from dse.compress.prune import prune
from dse.compress.stages import CompressionPlan, compress_network
from dse.compress.tuner import ImageTuner, NoImages
from dse.errors import WeightsError
from dse.weights.dsz import SharedWeights, unpack
from dse.weights.metadata import WeightsMetadata
from dse.weights.preprocessing import trained_preprocessing

CANDIDATE = make_candidate("squeezenet", {"base_e": 96, "incr_e": 32, "fire_modules": 2})
SHAPE = (8, 8, 1)
METADATA = WeightsMetadata(
    family=CANDIDATE.family,
    metaparameters=CANDIDATE.metaparameters,
    input_shape=SHAPE,
    classes=("a", "b", "c"),
    preprocessing=trained_preprocessing(SHAPE, (0.5,), (0.2,)),
)


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    parameters = build(CANDIDATE, SHAPE, 3).parameters
    return {p.path: rng.normal(0, 0.1, p.shape).astype(np.float32) for p in parameters}


class Scripted:
    """Scores by how many weights and values are left; counts how often test images are used."""

    def __init__(self, accuracy_of) -> None:
        self.accuracy_of, self.stages, self.tests_count = accuracy_of, [], 0

    def densities(self, arrays, density: float):
        return NoImages().densities(arrays, density)

    def sparse(self, stage: str, arrays, densities: Mapping[str, float]):
        self.stages.append(stage)
        return prune(arrays, densities)

    at_once = 1

    def shared(self, sharings):
        for stage, _, mixed in sharings:
            self.stages.append(stage)
            yield self.trained(mixed)

    def trained(self, mixed):
        return mixed

    def correct(self, arrays, *, test: bool = False) -> np.ndarray:
        self.tests_count += test
        kernels = [a for path, a in arrays.items() if path.endswith("/kernel")]
        density = sum(np.count_nonzero(k) for k in kernels) / sum(k.size for k in kernels)
        accuracy = self.accuracy_of(density, max(len(np.unique(k)) for k in kernels))
        return np.arange(10_000) < round(10_000 * accuracy)


def run(arrays, tuner, **plan):
    return compress_network(arrays, METADATA, CompressionPlan(**plan), tuner)


def names(compressed, *, kept: bool):
    return [stage.name for stage in compressed.stages if stage.kept == kept]


def test_the_ladders_go_as_far_as_the_loss_allows(arrays) -> None:
    # Below a density of 0.28 a point is lost, below 30 values another one.
    tuner = Scripted(lambda d, values: 0.9 - 0.01 * (d < 0.28) - 0.01 * (values < 30))
    compressed = run(arrays, tuner, bits=None, max_loss=0.005)
    assert names(compressed, kept=True)[:5] == [
        "given", "density 0.7", "density 0.5", "density 0.4", "density 0.3",
    ]  # fmt: skip
    # One step further loses too much, and so does the one half as far: sqrt(0.25 * 0.3).
    assert names(compressed, kept=False)[:2] == ["density 0.25", "density 0.274"]
    _, found = unpack(compressed.content)
    counts = [len(np.unique(a)) for path, a in found.items() if path.endswith("/kernel")]
    assert max(counts) >= 30
    kept = [stage for stage in compressed.stages if stage.kept]
    assert len(compressed.content) == kept[-1].file_bytes
    assert kept[-1].name.startswith("lambda")
    assert tuner.tests_count == 2  # the given network and the result, whatever was tried
    assert kept[0].test_accuracy is not None
    assert kept[-1].test_accuracy is not None
    assert all(stage.test_accuracy is None for stage in compressed.stages[1:] if not stage.kept)


def test_where_every_step_loses_too_much_nothing_is_lost(arrays) -> None:
    tuner = Scripted(lambda density, values: 0.9 if density > 0.99 and values > 500 else 0.5)
    compressed = run(arrays, tuner, bits=None, max_loss=0.01)
    assert names(compressed, kept=False)[:2] == ["density 0.7", "density 0.837"]
    _, found = unpack(compressed.content)
    for path, array in arrays.items():  # float16 of what was given
        assert np.array_equal(found[path], array.astype(np.float16).astype(np.float32)), path


def test_densities_that_are_there_already_are_not_tried(arrays) -> None:
    sparse = prune(arrays, dict.fromkeys([p for p in arrays if p.endswith("/kernel")], 0.35))
    tuner = Scripted(lambda density, values: 0.9)
    run(sparse, tuner, bits=None, max_loss=0.01)
    assert tuner.stages[0] == "density 0.3"


def test_a_plan_runs_its_stages_in_order(arrays) -> None:
    tuner = Scripted(lambda density, values: 0.5)
    compressed = run(arrays, tuner, density=0.25, bits=3)
    assert tuner.stages == ["sparse", "shared"]
    assert names(compressed, kept=True) == ["given", "density 0.25", "8 values"]
    assert compressed.stages[1].nonzero_count == pytest.approx(
        0.25 * compressed.stages[0].nonzero_count, abs=2
    )
    sizes = [stage.file_bytes for stage in compressed.stages]
    assert sizes == sorted(sizes, reverse=True)


class Growing(Scripted):
    """Training that gives every weight a value of its own bit pattern: the file grows."""

    def trained(self, mixed):
        found = {}
        for path, array in mixed.items():
            if isinstance(array, SharedWeights):
                noise = np.linspace(1, 1.01, len(array.codebook)).astype(np.float32)
                array = SharedWeights(array.codebook * noise, array.codes)
            else:
                rng = np.random.default_rng(len(path))
                array = array + rng.normal(0, 1e-3, array.shape).astype(np.float32)
            found[path] = array
        return found


def test_a_target_holds_after_training_too(arrays) -> None:
    flat = {p: a if p.endswith("/kernel") else np.zeros_like(a) for p, a in arrays.items()}
    tuner = Growing(lambda density, values: 0.5)
    compressed = run(flat, tuner, bits=None, target_bytes=4000)
    assert len(compressed.content) <= 4000
    assert len(tuner.stages) > 1  # the first attempt was too large


def test_a_target_that_training_cannot_keep_is_an_error(arrays) -> None:
    flat = {p: a if p.endswith("/kernel") else np.zeros_like(a) for p, a in arrays.items()}

    class Fixed(Growing):
        def trained(self, mixed):
            rng = np.random.default_rng(0)
            return {
                p: rng.normal(size=getattr(a, "codes", a).shape).astype(np.float32)
                for p, a in mixed.items()
            }

    with pytest.raises(WeightsError, match=r"missed 3 times|cannot be reached"):
        run(flat, Fixed(lambda density, values: 0.5), bits=None, target_bytes=6000)


def test_without_images_nothing_is_scored(arrays) -> None:
    compressed = run(arrays, NoImages(), density=0.5, bits=4)
    assert [stage.validation_accuracy for stage in compressed.stages] == [None] * 3
    assert [stage.test_accuracy for stage in compressed.stages] == [None] * 3


def test_a_sensitive_layer_keeps_its_weights(arrays) -> None:
    class Measured(ImageTuner):
        def __init__(self) -> None:
            pass

        def _probe_score(self, arrays) -> float:  # only conv1 matters
            kernel = arrays["conv1/kernel"]
            return 0.9 * np.count_nonzero(kernel) / kernel.size

    densities = Measured().densities(arrays, 0.4)
    assert densities["conv1/kernel"] == pytest.approx(1.0)
    sizes = {path: arrays[path].size for path in densities}
    kept = sum(densities[path] * size for path, size in sizes.items())
    assert kept == pytest.approx(0.4 * sum(sizes.values()))
