"""Training that compression asks for: with fewer weights, then with shared values.

Both stages are ordinary runs of a `Trainer` over a parametrization, so they are kept and
resumed like any other.

Source: Han, Mao and Dally 2016 (arXiv 1510.00149); Zhu and Gupta 2017 (arXiv 1710.01878).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dse.architecture import Architecture
from dse.compress.prune import gradual_density, magnitude_mask
from dse.data import Dataset
from dse.errors import TrainingError
from dse.training.checkpoint import load_run, save_run
from dse.training.parametrization import Relative, kernels_shared, masks_of, shared_of
from dse.training.recipe import Recipe
from dse.training.trainer import OnEpoch, Run, Seed, Trainer
from dse.weights.dsz import SharedWeights
from dse.weights.safetensors import flat, nested

Tree = Any
"""A nested dictionary of arrays keyed by layer names."""

PRUNING_SHARE = 0.5
"""Share of the epochs in which weights are taken away; in the others those left recover."""


def pruning_recipe(recipe: Recipe, epochs: int) -> Recipe:
    """How a trained network is trained further while it loses weights: smaller steps."""
    return replace(recipe, learning_rate=0.2 * recipe.learning_rate, epochs=epochs)


def sharing_recipe(recipe: Recipe, epochs: int, *, relative: bool = False) -> Recipe:
    """How shared values are trained.

    The gradient of a value is a sum over its weights, hundreds in one cluster and two in
    another, so each gets steps of its own size: AdamW.

    Args:
        recipe: of the network.
        epochs: of this training.
        relative: steps are relative to magnitudes, as for weights that started from others: few
            images change these for the worse in larger steps.
    """
    rate = 1.5e-4 if relative else 5e-4
    return replace(recipe, optimizer="adamw", learning_rate=rate, weight_decay=0.0, epochs=epochs)


def retrain(
    trainer: Trainer,
    weights: tuple[Tree, Tree],
    *,
    seed: Seed,
    checkpoint: Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> Run:
    """Train all weights further.

    Args:
        trainer: of `Relative` parameters.
        weights: (params, statistics) to start from.
        seed: of all random draws.
        checkpoint: file that keeps the run after each epoch, as for `retrain_sparse`.
        on_epoch: told of each completed epoch.

    Raises:
        DivergenceError: the loss became NaN or infinite.
        TrainingError: the run cannot be kept (full disk, folder gone).
    """
    params, statistics = weights
    facts = _about("all", trainer.dataset, trainer.recipe, seed, {}, params, statistics)
    trained, fixed = Relative.start(params, (), {})
    begin = partial(trainer.begin_from, trained, statistics, fixed)
    return _trained(trainer, begin, seed, checkpoint, facts, on_epoch)


def retrain_sparse(
    trainer: Trainer,
    weights: tuple[Tree, Tree],
    densities: Mapping[str, float],
    *,
    seed: Seed,
    checkpoint: Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> Run:
    """Take weights away over the first half of the epochs, and train the others further.

    Before each epoch the smallest magnitudes of each kernel go, down to the density that the
    gradual schedule names; a weight that is gone stays zero.

    Args:
        trainer: of `MaskedKernels`, or `Relative` to them; one serves any densities, as the masks
            are given to it.
        weights: (params, statistics) to start from.
        densities: share of the weights to keep in the end, by kernel path.
        seed: of all random draws.
        checkpoint: file that keeps the run after each epoch, to be resumed; what it keeps of
            other weights, options or images is passed over.
        on_epoch: told of each completed epoch.

    Raises:
        DivergenceError: the loss became NaN or infinite.
        TrainingError: the run cannot be kept (full disk, folder gone).
    """
    params, statistics = weights
    dataset, recipe = trainer.dataset, trainer.recipe
    facts = _about("sparse", dataset, recipe, seed, densities, params, statistics)
    masks = masks_of(params)
    firsts = {path: float(np.mean(mask)) for path, mask in flat(masks).items()}
    last = max(1, round(PRUNING_SHARE * recipe.epochs))
    trained, fixed = Relative.start(params, masks, {}) if trainer.is_relative else (params, masks)

    def prune(run: Run) -> Run:
        progress = (run.epochs + 1) / last
        wanted = {
            path: gradual_density(progress, min(densities.get(path, 1.0), first), first=first)
            for path, first in firsts.items()
        }
        kernels = flat(trainer.params_of(run))
        masks, *units = run.state.fixed if trainer.is_relative else (run.state.fixed,)
        masks = nested(
            {
                path: np.asarray(mask) & magnitude_mask(np.asarray(kernels[path]), wanted[path])
                for path, mask in flat(masks).items()
            }
        )[0]
        fixed = (masks, *units) if units else masks
        return replace(run, state=run.state._replace(fixed=fixed))

    begin = partial(trainer.begin_from, trained, statistics, fixed)
    return _trained(trainer, begin, seed, checkpoint, facts, on_epoch, prune)


def retrain_shared(
    architecture: Architecture,
    dataset: Dataset,
    recipe: Recipe,
    weights: tuple[Tree, Tree],
    kernels: Mapping[str, SharedWeights],
    *,
    seed: Seed,
    relative: bool = False,
    teacher: np.ndarray | None = None,
    checkpoint: Path | None = None,
    on_epoch: OnEpoch | None = None,
) -> tuple[Trainer, Run, dict[str, SharedWeights | np.ndarray]]:
    """Train the values that weights share; which weight has which value stays as it is.

    Args:
        architecture: of the network.
        dataset: prepared images.
        recipe: of this training; at least one epoch.
        weights: (params, statistics) to start from; kernels are taken from `kernels`.
        kernels: by path.
        seed: of all random draws.
        relative: steps are relative to the magnitude of each array.
        teacher: scores (image, class) of the training images to learn from, where the recipe
            distils.
        checkpoint: file that keeps the run after each epoch, to be resumed; what it keeps of
            other weights, options or images is passed over.
        on_epoch: told of each completed epoch.

    Returns:
        The trainer, the run at its end, and all arrays, kernels as they share their new values.

    Raises:
        DivergenceError: the loss became NaN or infinite.
        TrainingError: the run cannot be kept (full disk, folder gone).
    """
    params, statistics = weights
    parametrization, trained, fixed = shared_of(kernels, params)
    facts = _about("shared", dataset, recipe, seed, {}, trained, statistics, fixed)
    if relative:
        trained, fixed = Relative.start(trained, fixed, {})
    trainer = Trainer(
        architecture,
        dataset,
        recipe,
        Relative(parametrization) if relative else parametrization,
        teacher=teacher,
    )
    begin = partial(trainer.begin_from, trained, statistics, fixed)
    run = _trained(trainer, begin, seed, checkpoint, facts, on_epoch)
    trained, fixed = trainer.trained_of(run), run.state.fixed
    if relative:
        trained, fixed = Relative.end(trained, fixed)
    others = flat(trained, trainer.statistics_of(run))
    return (
        trainer,
        run,
        {p: np.asarray(a) for p, a in others.items()} | kernels_shared(trained, fixed),
    )


def _trained(
    trainer: Trainer,
    begin: Callable[[], Run],
    seed: Seed,
    checkpoint: Path | None,
    about: Mapping[str, str],
    on_epoch: OnEpoch | None,
    before_epoch: Callable[[Run], Run] = lambda run: run,
) -> Run:
    """Train over all epochs, from where the checkpoint stands; each epoch is kept."""
    run = load_run(checkpoint, trainer.state_shape, about) if checkpoint else None
    run = run or begin()
    while run.epochs < trainer.recipe.epochs:
        for grown in trainer.epochs(before_epoch(run), seed, run.epochs + 1):
            run = grown
        if checkpoint:
            try:
                save_run(checkpoint, run, about)
            except OSError as error:
                raise TrainingError(
                    f"{checkpoint}: the run cannot be kept: {error.strerror or error}"
                ) from error
        if on_epoch:
            on_epoch(run.epochs, run.loss)
    return run


def _about(
    stage: str,
    dataset: Dataset,
    recipe: Recipe,
    seed: Seed,
    densities: Mapping[str, float],
    *start: Tree,
) -> dict[str, str]:
    """All that a run follows from: a kept one of anything else is another run."""
    digest = hashlib.sha256()
    for tree in start:
        for path, array in sorted(flat(tree).items()):
            digest.update(path.encode() + np.ascontiguousarray(array).tobytes())
    return {
        "stage": stage,
        "start": digest.hexdigest(),
        "densities": json.dumps(dict(densities), sort_keys=True),
        "data_fingerprint": dataset.fingerprint,
        "recipe": json.dumps(recipe.to_dict()),
        "seed": f"{seed.study},{seed.replicate}",
    }
