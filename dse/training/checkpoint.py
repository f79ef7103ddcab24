"""A training run on disk, from which it resumes as if it had never paused.

A digest covers all of it: a run with a flipped bit would be trained on, and its end recorded. Of
another version of dse or jax it would not be the run that this one makes. Either counts as absent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from dse import __version__
from dse.files import replacing
from dse.training.step import TrainState
from dse.training.trainer import Run

_HEADER, _DIGEST = "dse:run", "dse:digest"


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
    text = json.dumps(facts | {"versions": _versions()})
    with replacing(path) as file:
        file.write(save(leaves, metadata={_HEADER: text, _DIGEST: _digest(text, leaves)}))


def load_run(path: Path, state_shape: TrainState, about: Mapping[str, str]) -> Run | None:
    """The run in a file, or None where there is none that belongs to `about`.

    A file that is damaged, of something else or of another version of dse or jax costs the
    epochs in it and nothing more, so it is as good as absent.

    Args:
        path: the file.
        state_shape: tree of the state with shapes and types (`Trainer.state_shape`).
        about: as it was given to `save_run`.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = json.loads(header[_HEADER])
        if header[_DIGEST] != _digest(header[_HEADER], tensors):
            return None
        if (facts["about"], facts["versions"]) != (dict(about), _versions()):
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
    except (OSError, SafetensorError, ValueError, LookupError, TypeError, ArithmeticError):
        return None


def _versions() -> dict[str, str]:
    return {"dse": __version__, "jax": jax.__version__}


def _digest(text: str, leaves: Mapping[str, np.ndarray]) -> str:
    """Of what the header says, and of names, types, shapes and bytes of all arrays."""
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name, leaf in sorted(leaves.items()):
        digest.update(f"\n{name} {leaf.dtype.str} {leaf.shape}\n".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return json.dumps(digest.hexdigest())  # JSON, as everything in the header


def _named_leaves(tree: object) -> list[tuple[str, jax.Array]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in leaves]
