"""Weights files of every format, and checkpoints."""

from __future__ import annotations

import lzma
import struct
import tempfile
from pathlib import Path
from random import Random

import numpy as np

from dse.architecture import build, make_candidate
from dse.weights.deep_compression import read_deep_compression
from dse.weights.dsz import container
from dse.weights.safetensors import load_weights, read_network
from tests.fuzz.harness import Kind
from tests.fuzz.mutate import flip_bit, mutate_bytes, mutate_json, mutate_safetensors
from tests.training.test_checkpoint import ABOUT, SHAPE, leaves, made_run
from tests.weights.encoder import random_file

_FOLDER = Path(__file__).parents[1] / "fixtures" / "weights"
_SMALL = build(
    make_candidate("squeezenet", {"base_e": 8, "incr_e": 4, "squeeze_ratio": 0.5}), (16, 16, 3), 10
)


def _read(path: Path) -> object:
    _, architecture = read_network(path)
    return load_weights(path, architecture)


def _reads_same(sound: bytes, suffix: str):
    """A reader of one file with a bit flipped: what it gives is what was written."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"sound{suffix}")
        path.write_bytes(sound)
        wanted = _read(path)

    def read(path: Path) -> object:
        found = _read(path)
        for ours, theirs in zip(leaves(found[:2]), leaves(wanted[:2]), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        return found

    return read


def _mutate_dsz(rng: Random, content: bytes) -> bytes:
    """Bytes; or what stands behind the digest, which is made to fit."""
    if rng.random() < 0.2:
        return mutate_bytes(rng, content)
    coder, bits, plain, body = container._open(content, "sound")
    (length,) = struct.unpack_from("<I", plain)
    document, side = plain[4 : 4 + length], plain[4 + length :]
    if (choice := rng.random()) < 0.5:
        document = mutate_json(rng, document)
    elif choice < 0.75:
        side = mutate_bytes(rng, side)
    else:
        body = mutate_bytes(rng, body)
    plain = struct.pack("<I", len(document)) + document + side
    head = lzma.compress(plain, format=lzma.FORMAT_RAW, filters=[container._LZMA])
    if rng.random() < 0.05:
        head = mutate_bytes(rng, head)
    plain_bytes = len(plain) if rng.random() < 0.95 else rng.choice((0, 2**26, 2**32 - 1))
    digest = container._digest(coder, bits, plain_bytes, head, body)
    return container._header(coder, bits, len(head), plain_bytes, digest) + head + body


def _checkpoint() -> bytes:
    from dse.training.checkpoint import save_run

    with tempfile.TemporaryDirectory() as folder:
        save_run(Path(folder, "run"), made_run(1), ABOUT)
        return Path(folder, "run").read_bytes()


def _read_checkpoint(path: Path) -> object:
    from dse.training.checkpoint import load_run

    return load_run(path, SHAPE, ABOUT)


def _read_same_checkpoint(path: Path) -> object:
    run, made = _read_checkpoint(path), made_run(1)
    if run is not None:
        assert (run.epochs, run.loss, run.train_s) == (made.epochs, made.loss, made.train_s)
        for ours, theirs in zip(leaves(run.state), leaves(made.state), strict=True):
            assert ours.tobytes() == theirs.tobytes()
    return run


_SAFETENSORS = tuple(path.read_bytes() for path in sorted(_FOLDER.glob("*.safetensors")))
_DSZ = tuple(path.read_bytes() for path in sorted(_FOLDER.glob("*.dsz")))
_NET = random_file(_SMALL, density=0.3)[0]
_RUN = _checkpoint()

KINDS = (
    Kind("weights.safetensors", _SAFETENSORS, mutate_safetensors, _read, long_count=10_000),
    Kind(
        "flipped.safetensors",
        _SAFETENSORS[:1],
        flip_bit,
        _reads_same(_SAFETENSORS[0], ".safetensors"),
        long_count=2_000,
    ),
    Kind("weights.dsz", _DSZ, _mutate_dsz, _read, long_count=10_000),
    Kind("flipped.dsz", _DSZ[:1], flip_bit, _reads_same(_DSZ[0], ".dsz"), long_count=2_000),
    Kind(
        "deep_compression.net",
        (_NET,),
        mutate_bytes,
        lambda path: read_deep_compression(path, _SMALL),
        long_count=5_000,
    ),
    Kind("checkpoint", (_RUN,), mutate_safetensors, _read_checkpoint, long_count=5_000),
    Kind("flipped-checkpoint", (_RUN,), flip_bit, _read_same_checkpoint, long_count=2_000),
)
