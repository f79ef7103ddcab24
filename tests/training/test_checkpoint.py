from __future__ import annotations

import json
import math
import os

import jax
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from dse.architecture import build, make_candidate
from dse.training import Recipe, checkpoint
from dse.training.checkpoint import load_run, save_run
from dse.training.step import TrainState
from dse.training.trainer import Run, Seed, Trainer

ABOUT = {"candidate": "c", "recipe": "r", "seed": "0,1"}
SEED = Seed(3, 1)
EPOCHS = 4
RECIPES = {
    "sgd": Recipe(
        optimizer="sgd",
        learning_rate=0.02,
        batch_size=16,
        epochs=EPOCHS,
        crop_px=1,
        flip=True,
        cutout_px=2,
        clip_norm=1.0,
    ),
    "adamw": Recipe(
        optimizer="adamw",
        learning_rate=0.01,
        batch_size=16,
        epochs=EPOCHS,
        crop_px=1,
        flip=True,
        label_smoothing=0.1,
    ),
    "muon": Recipe(optimizer="muon", learning_rate=0.02, batch_size=16, epochs=EPOCHS, crop_px=1),
}


def leaves(tree):
    return [np.array(leaf) for leaf in jax.tree.leaves(tree)]


def until(trainer, run, epochs: int):
    for grown in trainer.epochs(run, SEED, epochs):
        run = grown
    return run


@pytest.fixture(scope="module", params=list(RECIPES))
def trainer(request, quarters):
    values = {"base_e": 4, "incr_e": 2, "fire_modules": 1, "norm": "batch", "dropout": 0.5}
    architecture = build(make_candidate("squeezenet", values), (8, 8, 2), 4)
    jax.config.update("jax_disable_most_optimizations", True)  # it would compile for ten seconds
    try:
        return Trainer(architecture, quarters, RECIPES[request.param])
    finally:
        jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def undisturbed(trainer):
    return until(trainer, trainer.begin(SEED), EPOCHS)


@pytest.mark.parametrize("pauses", [(1,), (2, 3), (1, 2, 3)])
def test_a_run_that_paused_is_bit_for_bit_one_that_did_not(trainer, undisturbed, tmp_path, pauses):
    run = trainer.begin(SEED)
    for pause in pauses:
        run = until(trainer, run, pause)
        save_run(tmp_path / "run", run, ABOUT)
        kept = run
        run = load_run(tmp_path / "run", trainer.state_shape, ABOUT)
        assert (run.epochs, run.loss, run.train_s) == (pause, kept.loss, kept.train_s)
    run = until(trainer, run, EPOCHS)
    assert run.epochs == undisturbed.epochs == EPOCHS
    assert run.loss == undisturbed.loss
    for name in ("params", "statistics", "optimizer", "step"):
        ours, theirs = getattr(run.state, name), getattr(undisturbed.state, name)
        assert jax.tree.structure(ours) == jax.tree.structure(theirs)
        for one, other in zip(leaves(ours), leaves(theirs), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other, err_msg=name)
    assert int(run.state.step) == EPOCHS * trainer.steps_per_epoch
    ours = trainer.measure(run, scores_test=False)
    assert ours.validation_correct == trainer.measure(undisturbed).validation_correct
    assert (ours.test_accuracy, ours.test_correct) == (None, "")


def made_run(epochs: int) -> Run:
    """A run that nobody trained: two parameters, a statistic, an optimizer's tuple, a step."""
    kernel = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3) + epochs
    params = {"conv1": {"kernel": kernel, "bias": np.float32([0.5, -0.0, np.nan])}}
    statistics = {"norm": {"mean": np.float32([epochs])}}
    state = TrainState(params, statistics, (np.int32(7), {"trace": kernel}), np.int32(epochs))
    return Run(state, epochs, float("nan") if epochs == 0 else 1 / 3, 0.1 * epochs)


SHAPE = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), made_run(1).state)


@pytest.fixture
def path(tmp_path):
    """A sound file of a run after one epoch."""
    path = tmp_path / "sound" / "run"
    path.parent.mkdir()
    save_run(path, made_run(1), ABOUT)
    assert load_run(path, SHAPE, ABOUT).epochs == 1
    return path


@pytest.mark.parametrize("epochs", [0, 3])
def test_a_run_comes_back_bit_for_bit(tmp_path, epochs):
    save_run(tmp_path / "run", made_run(epochs), ABOUT)
    run = load_run(tmp_path / "run", SHAPE, ABOUT)
    assert (run.epochs, run.train_s) == (epochs, 0.1 * epochs)
    assert math.isnan(run.loss) if epochs == 0 else run.loss == 1 / 3
    made = made_run(epochs).state
    assert jax.tree.structure(run.state) == jax.tree.structure(made)
    for one, other in zip(leaves(run.state), leaves(made), strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("name", sorted(ABOUT))
def test_a_run_of_something_else_is_none(path, name):
    assert load_run(path, SHAPE, {**ABOUT, name: "other"}) is None
    assert load_run(path, SHAPE, {}) is None


def test_a_damaged_file_is_none(path, tmp_path):
    whole = path.read_bytes()
    damaged = tmp_path / "damaged"
    assert load_run(damaged, SHAPE, ABOUT) is None, "no file"
    assert load_run(tmp_path, SHAPE, ABOUT) is None, "a folder"
    header_bytes = 8 + int.from_bytes(whole[:8], "little")
    for end in (0, 1, 7, 8, header_bytes // 2, header_bytes, len(whole) // 2, len(whole) - 1):
        damaged.write_bytes(whole[:end])
        assert load_run(damaged, SHAPE, ABOUT) is None, end
    damaged.write_bytes(b"\xff" * 100)
    assert load_run(damaged, SHAPE, ABOUT) is None
    damaged.write_bytes(b"{" + whole[1:])
    assert load_run(damaged, SHAPE, ABOUT) is None


def test_a_file_with_a_flipped_bit_is_none(path, tmp_path):
    """A flipped bit in a weight was trained on, and its end recorded as the candidate's."""
    whole, damaged = path.read_bytes(), tmp_path / "damaged"
    for bit in range(0, 8 * len(whole), 37):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        damaged.write_bytes(changed)
        run = load_run(damaged, SHAPE, ABOUT)
        # Blanks that fill the header up may be others; the bytes of the arrays may not.
        assert run is None or (chr(whole[bit // 8]) == " " and run.epochs == 1), bit


@pytest.mark.parametrize("name", ["dse", "jax"])
def test_a_run_of_another_version_is_none(path, monkeypatch, name):
    versions = checkpoint._versions()
    monkeypatch.setattr(checkpoint, "_versions", lambda: versions | {name: "0.0.1"})
    assert load_run(path, SHAPE, ABOUT) is None
    monkeypatch.undo()
    assert load_run(path, SHAPE, ABOUT).epochs == 1


@pytest.mark.parametrize(
    "facts",
    [
        None,
        "no JSON",
        "[]",
        json.dumps({"epochs": 1, "loss": 0.5, "train_s": 1.0}),
        json.dumps({"epochs": None, "loss": 0.5, "train_s": 1.0, "about": ABOUT}),
        json.dumps({"epochs": math.inf, "loss": 0.5, "train_s": 1.0, "about": ABOUT}),
        json.dumps({"epochs": 1, "loss": "x", "train_s": 1.0, "about": ABOUT}),
    ],
)
def test_a_foreign_file_is_none(path, tmp_path, facts):
    foreign = tmp_path / "foreign"
    header = None
    if facts is not None:
        header = {"dse:run": facts, "dse:digest": checkpoint._digest(facts, load_file(path))}
    save_file(load_file(path), foreign, header)
    assert load_run(foreign, SHAPE, ABOUT) is None


def test_tensors_of_another_shape_or_kind_or_number_are_none(path, tmp_path):
    with safe_open(path, framework="numpy") as file:
        facts = file.metadata()["dse:run"]
    tensors = load_file(path)
    name = next(name for name in tensors if tensors[name].ndim == 4)

    def loaded(changed):
        digest = checkpoint._digest(facts, changed)
        save_file(changed, tmp_path / "changed", {"dse:run": facts, "dse:digest": digest})
        return load_run(tmp_path / "changed", SHAPE, ABOUT)

    assert loaded(tensors) is not None
    assert loaded({**tensors, name: tensors[name][:, :1]}) is None
    assert loaded({**tensors, name: tensors[name].astype(np.float64)}) is None
    assert loaded({k: v for k, v in tensors.items() if k != name}) is None


def test_a_write_that_fails_leaves_the_run_before_and_nothing_else(path, tmp_path, monkeypatch):
    kept = tmp_path / "run"
    kept.write_bytes(path.read_bytes())

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    run = made_run(2)
    with pytest.raises(OSError, match="No space left"):
        save_run(kept, run, ABOUT)
    assert sorted(os.listdir(tmp_path)) == ["run", "sound"]
    assert load_run(kept, SHAPE, ABOUT).epochs == 1
    with pytest.raises(FileNotFoundError):
        save_run(tmp_path / "nowhere" / "run", run, ABOUT)
