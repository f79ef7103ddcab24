"""Training from images that are decoded on the way is training from images in memory."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np

from dse.architecture import build, make_candidate
from dse.data import parse_data, prepare_data
from dse.data.batches import Streamed
from dse.data.packing import pack_folder
from dse.training import Recipe, trainer
from dse.training.trainer import Seed, Trainer
from tests.data.trees import write_classes

RECIPE = Recipe(batch_size=8, epochs=2, crop_px=1, alternates_flip=True, crop_area=0.3)


def trained(data, monkeypatch, *, call_steps: int = 4):
    """(measurement, weights, trainer); so many steps in a call of the program."""
    monkeypatch.setattr(trainer, "STREAM_BYTES", call_steps * 8 * 10 * 14 * 3)
    small = {"base_e": 4, "incr_e": 4, "fire_modules": 1, "norm": "batch"}
    architecture = build(make_candidate("squeezenet", small), (10, 14, 3), 2)
    made = Trainer(architecture, data, RECIPE)
    found = made.train(Seed(3))
    times = {"train_s": 0.0, "compile_s": 0.0, "images_per_s": 0.0}
    return replace(found.measurement, **times), found.params, made


def test_the_numbers_are_those_of_images_in_memory(tmp_path, monkeypatch):
    write_classes(tmp_path / "photos", {"ant": 24, "bee": 24}, shape=(10, 14, 3), extension="jpg")
    folder, out = f"folder:{tmp_path / 'photos'}", tmp_path / "photos.pack"
    pack_folder(parse_data(folder), out, short_side=160)
    kept = prepare_data(
        parse_data(f"pack:{out}", image_size="10x14"), cache_directory=tmp_path / "kept"
    )
    monkeypatch.setenv("DSE_STREAM_GB", "0")
    data = prepare_data(
        parse_data(f"pack:{out}", image_size="10x14"), cache_directory=tmp_path / "streamed"
    )
    assert isinstance(data.train.images, Streamed)
    assert not isinstance(kept.train.images, Streamed)
    measured, weights, in_memory = trained(kept, monkeypatch)
    for decoders, call_steps in (("1", 4), ("4", 4), ("4", 3)):  # 4 steps an epoch, or 3 and 1
        monkeypatch.setenv("DSE_DECODERS", decoders)
        again = prepare_data(
            parse_data(f"pack:{out}", image_size="10x14"), cache_directory=tmp_path / "streamed"
        )
        ours, params, _ = trained(again, monkeypatch, call_steps=call_steps)
        assert ours == measured
        for one, other in zip(jax.tree.leaves(params), jax.tree.leaves(weights), strict=True):
            np.testing.assert_array_equal(one, other)
    # In memory, a second between any two looks at the clock: begun, asked, given, asked again and
    # ended make four, of which one was waiting for the one call of an epoch.
    clock = iter(range(100))
    monkeypatch.setattr(trainer.time, "perf_counter", lambda: float(next(clock)))
    (run,) = in_memory.epochs(in_memory.begin(Seed()), Seed(), 1)
    assert (run.train_s, run.wait_s) == (4.0, 1.0)
