"""Reading a weights file's header: what the file's own writer wrote, and nothing else."""

from __future__ import annotations

import contextlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from dse.architecture import Architecture, build, make_candidate
from dse.errors import DseError, WeightsError
from dse.weights.preprocessing import trained_preprocessing
from dse.weights.safetensors import read_network

CANDIDATE = make_candidate("squeezenet", {"base_e": 8, "incr_e": 8, "pools": ("conv1",)})
ARCHITECTURE = build(CANDIDATE, (8, 9, 1), 3)
METADATA: dict[str, Any] = {
    "format_version": 1,
    "family": "squeezenet",
    "metaparameters": CANDIDATE.metaparameters,
    "input_shape": [8, 9, 1],
    "classes": ["a", "b", "c"],
    "preprocessing": trained_preprocessing((8, 9, 1), (0.5,), (0.2,)).to_dict(),
    "extra": {},
}


NO_NETWORK = "it names a network that cannot be built: "
NOT_WHOLE = "not a whole safetensors file: "


def write(
    path: Path, metadata: dict[str, Any] = METADATA, architecture: Architecture = ARCHITECTURE
) -> Path:
    arrays = {p.path: np.zeros(p.shape, np.float32) for p in architecture.parameters}
    save_file(arrays, path, {name: json.dumps(value) for name, value in metadata.items()})
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "weights.safetensors")


def test_the_header_says_which_network_it_is(file: Path) -> None:
    found, architecture = read_network(file)
    assert found.candidate == CANDIDATE
    assert (found.input_shape, len(found.classes)) == ((8, 9, 1), 3)
    assert architecture == ARCHITECTURE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"family": "squeezent"},
            f"{NO_NETWORK}family 'squeezent' not found; did",
        ),
        (
            {"metaparameters": {"base_e": 0}},
            f"{NO_NETWORK}base_e is 0, but",
        ),
        ({"metaparameters": []}, "the header is damaged (AttributeError"),
        ({"input_shape": [8, 9]}, "the header is damaged (ValueError"),
        ({"input_shape": [8, 0, 1]}, "the header is damaged (ValueError: input_shape is (8, 0, 1"),
        ({"input_shape": [8, True, 1]}, "the header is damaged (ValueError: input_shape is"),
        ({"classes": []}, "the header is damaged (ValueError: classes must be a list of names)"),
        (
            {"classes": ["a", "b"]},
            "not the weights of this squeezenet: conv10/kernel has shape (1, 1, 32, 3), not "
            "(1, 1, 32, 2); conv10/bias has shape (3,), not (2,)",
        ),
        (
            {"metaparameters": CANDIDATE.metaparameters | {"bypass": "complex"}},
            "not the weights of this squeezenet: fire2/bypass/bias is missing; "
            "fire2/bypass/kernel is missing; fire4/bypass/bias is missing and 5 more",
        ),
    ],
)
def test_a_header_that_does_not_fit_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "w.safetensors", METADATA | change)
    with pytest.raises(WeightsError) as caught:
        read_network(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_files_that_are_something_else(tmp_path: Path, file: Path) -> None:
    content = file.read_bytes()
    cases = {
        b"": f"{NOT_WHOLE}0 bytes cannot hold a header of 0",
        b"\xff" * 100: f"{NOT_WHOLE}100 bytes cannot hold a header of 18,446,",
        (3).to_bytes(8, "little") + b"[1]": f"{NOT_WHOLE}its header is no JSON object",
        (4).to_bytes(8, "little") + b"{\xff\xff}": f"{NOT_WHOLE}its header is no JSON",
        (9**5).to_bytes(8, "little") + b"[" * 9**5: f"{NOT_WHOLE}its header is no JSON",
        (2).to_bytes(8, "little") + b"{}": "a safetensors file, but not one that dse wrote",
        content[:-1]: f"{NOT_WHOLE}{len_arrays() - 1:,} bytes of arrays, but the header speaks of",
        content
        + b"x": f"{NOT_WHOLE}{len_arrays() + 1:,} bytes of arrays, but the header speaks of",
    }
    for start, message in cases.items():
        path = tmp_path / "other.safetensors"
        path.write_bytes(start)
        with pytest.raises(WeightsError) as caught:
            read_network(path)
        assert str(caught.value).startswith(f"{path}: {message}")
    with pytest.raises(WeightsError, match="gone: no such weights file"):
        read_network(tmp_path / "gone")


def len_arrays() -> int:
    return 4 * sum(p.size for p in ARCHITECTURE.parameters)


def test_2000_mutated_headers_are_read_or_refused(tmp_path: Path, file: Path) -> None:
    content = file.read_bytes()
    header_end = 8 + int.from_bytes(content[:8], "little")
    path = tmp_path / "mutated.safetensors"
    draw = random.Random(0)
    read_count = 0
    for _ in range(2000):
        mutated = bytearray(content)
        for _ in range(draw.randint(1, 3)):
            mutated[draw.randrange(header_end)] = draw.choice(b'0123456789"{}[],:ae\x00\xff')
        path.write_bytes(mutated)
        with contextlib.suppress(DseError):
            read_network(path)
            read_count += 1
    assert read_count < 1000
