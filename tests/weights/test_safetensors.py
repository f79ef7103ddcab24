"""Weights files: round trip, and every way in which a file can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from dse.architecture import Architecture, build, make_candidate
from dse.errors import WeightsError
from dse.networks import build_network, load_network
from dse.weights.metadata import WeightsMetadata
from dse.weights.preprocessing import PREPROCESSINGS, trained_preprocessing
from dse.weights.safetensors import load_weights, read_metadata, save_weights


def small(base_e: int) -> Architecture:
    values = {"base_e": base_e, "incr_e": 4, "squeeze_ratio": 0.5, "norm": "batch"}
    return build(make_candidate("squeezenet", values), (8, 8, 1), 10)


ARCHITECTURE = small(8)
METADATA = WeightsMetadata(
    family="squeezenet",
    metaparameters={"base_e": 8, "pct_3x3": 0.5, "pools": ("conv1", "fire4"), "norm": "batch"},
    input_shape=(8, 8, 1),
    classes=tuple("0123456789"),
    preprocessing=trained_preprocessing((8, 8, 1), (0.25,), (0.1,)),
    class_ids=tuple(f"n{digit}" for digit in range(10)),
    extra={"study": "squeeze_ratio", "note": "umlaut ü"},
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "weights" / "a.safetensors"
    save_weights(path, *build_network(ARCHITECTURE).init(jax.random.key(0)), METADATA)
    return path


def test_round_trip(path: Path) -> None:
    wanted = build_network(ARCHITECTURE).init(jax.random.key(0))
    params, statistics, metadata = load_weights(path, ARCHITECTURE)
    assert metadata == METADATA == read_metadata(path)
    assert jax.tree.structure((params, statistics)) == jax.tree.structure(wanted)
    for found, value in zip(
        jax.tree.leaves((params, statistics)), jax.tree.leaves(wanted), strict=True
    ):
        assert found.dtype == np.float32
        assert (found == np.asarray(value)).all()
    assert set(load_file(path)) == {p.path for p in ARCHITECTURE.parameters}
    assert [p.name for p in path.parent.iterdir()] == ["a.safetensors"]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)


def rewrite(path: Path, **header: str) -> None:
    save_file(load_file(path), path, header)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncate, "not a whole safetensors file"),
        (lambda p: p.write_bytes(b""), "not a whole safetensors file"),
        (lambda p: p.write_text("not weights at all"), "not a whole safetensors file"),
        (flip_a_bit, "digest differs"),
        (lambda p: rewrite(p), "not one that dse wrote"),
        (lambda p: rewrite(p, format_version="3"), "format version 3, but this dse reads 1;"),
        (lambda p: rewrite(p, format_version="1"), r"the header is damaged \(KeyError"),
        (lambda p: rewrite(p, format_version="[" * 100_000), "the header is damaged"),
        (lambda p: rewrite(p, format_version="{"), "the header is damaged"),
        (lambda p: p.unlink(), "no such weights file"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(
    path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    damage(path)
    with pytest.raises(WeightsError, match=reason) as caught:
        load_weights(path)
    assert str(path) in str(caught.value)


def test_weights_of_another_network_are_refused(path: Path) -> None:
    with pytest.raises(WeightsError, match=r"not the weights of this squeezenet: .* 123 more") as e:
        load_weights(path, small(16))
    assert "conv1/kernel has shape (3, 3, 1, 6), not (3, 3, 1, 12)" in str(e.value)


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    target = tmp_path / "file" / "a.safetensors"
    with pytest.raises(WeightsError, match=r"a\.safetensors: the weights cannot be written"):
        save_weights(target, {}, {}, METADATA)


def test_a_failed_write_keeps_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(WeightsError, match="No space left on device"):
        save_weights(path, {"a": {"kernel": np.ones(3)}}, {}, METADATA)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["a.safetensors"]


def header_of(path: Path) -> dict[str, str]:
    length = int.from_bytes(path.read_bytes()[:8], "little")
    return json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"input_shape": "[8, 9, 1]"}, r"\(8, 9, 1\), but the preprocessing gives \(8, 8, 1\)"),
        ({"class_ids": '["n0"]'}, "1 class ids for 10 classes"),
        ({"preprocessing": "{}"}, "TypeError"),
        ({"preprocessing": "null"}, "AttributeError"),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(
    path: Path, changes: dict[str, str], reason: str
) -> None:
    rewrite(path, **header_of(path) | changes)
    with pytest.raises(WeightsError, match=rf"the header is damaged \(.*{reason}"):
        read_metadata(path)


@pytest.fixture
def whole_path(tmp_path: Path) -> Path:
    """A file whose metadata names the network that its arrays belong to."""
    values = dict(ARCHITECTURE.metaparameters)
    metadata = WeightsMetadata(
        family="squeezenet",
        metaparameters=values,
        input_shape=(8, 8, 1),
        classes=METADATA.classes,
        preprocessing=METADATA.preprocessing,
    )
    path = tmp_path / "whole.safetensors"
    save_weights(path, *build_network(ARCHITECTURE).init(jax.random.key(0)), metadata)
    return path


def test_the_network_of_a_file_is_the_one_that_was_saved(whole_path: Path) -> None:
    loaded = load_network(whole_path)
    wanted = build_network(ARCHITECTURE).init(jax.random.key(0))
    assert loaded.network.architecture == ARCHITECTURE
    same = jax.tree.map(lambda a, b: (a == b).all(), (loaded.params, loaded.statistics), wanted)
    assert all(jax.tree.leaves(same))
    assert loaded.metadata.candidate == make_candidate(
        "squeezenet", dict(ARCHITECTURE.metaparameters)
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"family": '"squeezenets"'}, "cannot be built: family 'squeezenets' not found; did you"),
        ({"family": "[]"}, "cannot be built: family .* not found"),
        (
            {"metaparameters": '{"base": 1}'},
            "unknown metaparameter base of squeezenet; did",
        ),
        ({"metaparameters": '{"base_e": 1}'}, "cannot be built: fire2: squeeze_ratio"),
        ({"metaparameters": '{"base_e": [[1]]}'}, "base_e is"),
        ({"classes": "[]", "class_ids": "[]"}, "classes must be a list of names"),
        ({"metaparameters": '{"base_e": 8}'}, "not the weights of this squeezenet: .*mean is not"),
    ],
)
def test_metadata_without_a_network_is_refused(
    whole_path: Path, changes: dict[str, str], reason: str
) -> None:
    rewrite(whole_path, **header_of(whole_path) | changes)
    with pytest.raises(WeightsError, match=reason) as caught:
        load_network(whole_path)
    assert str(whole_path) in str(caught.value)


def test_arrays_of_another_type_are_refused(whole_path: Path) -> None:
    header, arrays = header_of(whole_path), load_file(whole_path)
    arrays["conv10/bias"] = arrays["conv10/bias"].astype(np.float16)
    params: dict[str, np.ndarray] = dict(arrays)
    metadata = read_metadata(whole_path)
    save_weights(whole_path, params, {}, metadata)
    with pytest.raises(WeightsError, match="conv10/bias is float16, not float32"):
        load_network(whole_path)
    assert header["format_version"] == "1"


def test_another_preprocessing_needs_a_network_for_its_images(whole_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"conv1/kernel has shape \(3, 3, 1, 6\), not \(7, 7, 3"):
        load_network(whole_path, preprocessing=PREPROCESSINGS["caffe"])


def test_images_are_turned_where_that_is_asked_for(whole_path: Path) -> None:
    loaded = load_network(whole_path)
    assert loaded.applying_exif_orientation().metadata == loaded.metadata  # its own rule turns them
