from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
import zstandard

from dse.architecture import build, make_candidate
from dse.compress.prune import prune
from dse.compress.quantize import (
    check_finite,
    exact_bits,
    fold_norms,
    share_by_bits,
    share_by_lambda,
    share_losslessly,
    share_to_fit,
)
from dse.compress.stages import baselines_bytes, float32_bytes
from dse.errors import WeightsError
from dse.weights.dsz import Packed, SharedWeights, unpack
from dse.weights.metadata import WeightsMetadata
from dse.weights.preprocessing import trained_preprocessing

VALUES = {"base_e": 96, "incr_e": 32, "fire_modules": 2, "norm": "batch"}
CANDIDATE = make_candidate("squeezenet", VALUES)
SHAPE, CLASSES = (8, 8, 1), ("a", "b", "c")
METADATA = WeightsMetadata(
    family=CANDIDATE.family,
    metaparameters=CANDIDATE.metaparameters,
    input_shape=SHAPE,
    classes=CLASSES,
    preprocessing=trained_preprocessing(SHAPE, (0.5,), (0.2,)),
)


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    parameters = build(CANDIDATE, SHAPE, len(CLASSES)).parameters
    found = {p.path: rng.normal(0, 0.1, p.shape).astype(np.float32) for p in parameters}
    for path in found:
        if path.endswith(("/variance", "/scale")):
            found[path] = np.abs(found[path]) + np.float32(0.2)
    return found


def kernel_paths(arrays):
    return [path for path in arrays if path.endswith("/kernel")]


def test_pruning_keeps_the_largest_magnitudes(arrays) -> None:
    path = kernel_paths(arrays)[0]
    pruned = prune(arrays, {path: 0.25})
    kept = pruned[path] != 0
    count = round(0.25 * kept.size)
    assert kept.sum() == count
    assert np.array_equal(pruned[path][kept], arrays[path][kept])
    largest = np.sort(np.abs(arrays[path]).reshape(-1))[::-1][:count]
    assert np.array_equal(np.sort(np.abs(pruned[path][kept]))[::-1], largest)
    for other in arrays.keys() - {path}:
        assert pruned[other] is arrays[other]


def test_folded_norms_compute_the_same(arrays) -> None:
    folded = fold_norms(arrays)
    x = np.random.default_rng(1).normal(size=(50, 1))

    def norm(arrays, name):
        scale, bias, mean, variance = (
            arrays[f"{name}/{kind}"] for kind in ("scale", "bias", "mean", "variance")
        )
        return (x - mean) / np.sqrt(variance + 1e-5) * scale + bias

    names = [path.removesuffix("/mean") for path in arrays if path.endswith("/mean")]
    assert len(names) == 7  # conv1, and three in each of two fire modules
    for name in names:
        np.testing.assert_allclose(norm(folded, name), norm(arrays, name), rtol=1e-5, atol=1e-6)
        assert (folded[f"{name}/mean"] == 0).all()
        assert (folded[f"{name}/variance"] == 1).all()
    assert folded["conv4/bias"] is arrays["conv4/bias"]  # no norm behind the last convolution


def test_bits_are_the_logarithm_of_the_number_of_values(arrays) -> None:
    for bits, count in ((1, 2), (2, 4), (2.6, 6), (5.5, 45)):
        shared = share_by_bits(arrays, bits)
        largest = max(kernel_paths(arrays), key=lambda path: arrays[path].size)
        assert len(shared[largest].codebook) == count
        assert shared["conv1/bias"] is arrays["conv1/bias"]


def test_float16_serves_where_it_holds_every_value(arrays) -> None:
    assert exact_bits(arrays) == 32
    rounded = {path: a.astype(np.float16).astype(np.float32) for path, a in arrays.items()}
    assert exact_bits(rounded) == 16
    assert exact_bits({**rounded, "conv1/bias": np.float32([70_000])}) == 32
    assert exact_bits({"x/bias": np.float32([-0.0])}) == 16


def test_weights_that_are_no_numbers_are_refused(arrays) -> None:
    check_finite(arrays)
    broken = arrays["conv1/kernel"].copy()
    broken[0, 0, 0, :2] = np.nan, np.inf
    with pytest.raises(WeightsError, match="conv1/kernel has 2 values that are not finite"):
        check_finite({**arrays, "conv1/kernel": broken})


def test_sharing_losslessly_changes_nothing(arrays) -> None:
    rounded = {
        path: np.round(array, 1) if path in kernel_paths(arrays) else array
        for path, array in arrays.items()
    }
    for path, array in share_losslessly(rounded).items():
        values = array.values if isinstance(array, SharedWeights) else array
        assert np.array_equal(values.view(np.uint32), rounded[path].view(np.uint32))
        assert isinstance(array, SharedWeights) == (path in kernel_paths(arrays))


def largest_error(arrays, mixed) -> float:
    """The largest share of a kernel's squared weights that its errors make up."""
    values = {
        path: mixed[path].values if isinstance(mixed[path], SharedWeights) else mixed[path]
        for path in kernel_paths(arrays)
    }
    return max(
        float(((values[path] - arrays[path]) ** 2).sum() / (arrays[path] ** 2).sum())
        for path in values
    )


def test_a_higher_price_gives_fewer_values_and_more_error(arrays) -> None:
    errors = [largest_error(arrays, share_by_lambda(arrays, p)) for p in (1e-7, 1e-5, 1e-3)]
    assert errors == sorted(errors)
    assert errors[0] < 1e-3
    path = max(kernel_paths(arrays), key=lambda path: arrays[path].size)
    counts = [len(share_by_lambda(arrays, p)[path].codebook) for p in (1e-7, 1e-5, 1e-3)]
    assert counts == sorted(counts, reverse=True)


def test_a_target_is_met_and_used(arrays) -> None:
    def make(mixed):
        return Packed(METADATA, mixed, 16)

    errors = []
    for target in (8000, 5000, 3000):
        _, content = share_to_fit(arrays, target, make)
        assert 0.95 * target < len(content) <= target
        _, found = unpack(content)
        errors.append(largest_error(arrays, found))
    assert errors == sorted(errors)


def test_a_target_that_cannot_be_met_says_what_can(arrays) -> None:
    with pytest.raises(WeightsError, match=r"a target of 100 bytes cannot be reached: .* takes"):
        share_to_fit(arrays, 100, lambda mixed: Packed(METADATA, mixed, 16))


def test_baselines_are_what_the_compressors_give() -> None:
    rng = np.random.default_rng(0)
    kernel = rng.choice(np.float32([0.0, 0.5, -1.0]), (40, 30)).astype(np.float32)
    arrays = {"fc/kernel": kernel, "fc/bias": np.zeros(30, np.float32)}
    assert float32_bytes(arrays) == 4 * (1200 + 30)
    plain = kernel.tobytes() + bytes(120)
    int8 = np.select([kernel == 0.5, kernel == -1], [64, -127]).astype(np.int8).tobytes()
    zstd = zstandard.ZstdCompressor(level=19)
    assert baselines_bytes(arrays) == {
        "gzip": len(gzip.compress(plain, 9)),
        "zstd": len(zstd.compress(plain)),
        "int8 + zstd": len(zstd.compress(int8 + bytes(120))),
    }


def test_metadata_is_json() -> None:
    assert json.loads(json.dumps(METADATA.to_dict()))["classes"] == list(CLASSES)
