"""A training run on disk, from which it resumes as if it had never paused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from dse.files import replacing
from dse.training.step import TrainState
from dse.training.trainer import Run

_HEADER = "dse:run"


def save_run(path: Path, run: Run, about: Mapping[str, str]) -> None:
    """Write a run; a reader sees the one before or all of this one.

    Args:
        path: the file.
        run: between two epochs.
        about: what the run belongs to (candidate, recipe, data, seed); `load_run` wants the same.

    Raises:
        OSError: the folder is missing, full or not to be written.
    """
    leaves = {name: np.asarray(value) for name, value in _named_leaves(run.state)}
    facts = {"epochs": run.epochs, "loss": run.loss, "train_s": run.train_s, "about": dict(about)}
    with replacing(path) as file:
        file.write(save(leaves, metadata={_HEADER: json.dumps(facts)}))


def load_run(path: Path, state_shape: TrainState, about: Mapping[str, str]) -> Run | None:
    """The run in a file, or None where there is none that belongs to `about`.

    A file that is damaged or of something else costs the epochs in it and nothing more, so it
    is as good as absent.

    Args:
        path: the file.
        state_shape: tree of the state with shapes and types (`Trainer.state_shape`).
        about: as it was given to `save_run`.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})[_HEADER])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if facts["about"] != dict(about):
            return None
        wanted = _named_leaves(state_shape)
        leaves = [tensors[name] for name, _ in wanted]
        if any(
            leaf.shape != shape.shape or leaf.dtype != shape.dtype
            for leaf, (_, shape) in zip(leaves, wanted, strict=True)
        ):
            return None
        state = jax.tree.unflatten(jax.tree.structure(state_shape), leaves)
        return Run(state, int(facts["epochs"]), float(facts["loss"]), float(facts["train_s"]))
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, OverflowError):
        return None


def _named_leaves(tree: object) -> list[tuple[str, jax.Array]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in leaves]
