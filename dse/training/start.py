"""Where a training starts that is given weights: layers inherited, and the head fitted first.

Before anything else is trained, the head is: what the other layers give for the training images
is computed once, and a linear classifier fitted to it, which takes seconds and no compiled
training step. A head of random weights would spoil what was inherited in the first steps.

Source: Kumar et al. 2022 (arXiv 2202.10054), "Fine-tuning can distort pretrained features".
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dse.architecture import Architecture, build, make_candidate
from dse.architecture.primitives import Conv, GlobalAveragePool
from dse.data import Dataset
from dse.networks import build_network
from dse.training.predict import program_key, split_batches
from dse.training.scaling import InputScaling
from dse.training.xla import compiler_options, load_or_compile
from dse.weights.given import GivenWeights
from dse.weights.safetensors import flat, nested
from dse.weights.slicing import inherit, kernel_importance

Tree = Any
"""A nested dictionary of arrays keyed by layer names."""

BATCH_COUNT = 32
"""Images whose features are computed at once."""

HEAD_STRENGTH = 0.01
"""Inverse of the classifier's L2 penalty, for features of deviation 1 (scikit-learn's C)."""


NEW_RATE = 5.0
"""Learning rate of layers that inherit nothing, in that of the others."""


def start_from(
    given: GivenWeights,
    architecture: Architecture,
    dataset: Dataset,
    initial: tuple[Tree, Tree],
    on_progress: Callable[[], None] = lambda: None,
) -> tuple[Tree, Tree, dict[str, float]]:
    """Initial weights of which all that fits is inherited, with a head fitted to the images.

    Weights of the same classes keep their own head.

    Args:
        given: weights of a network of the same family.
        architecture: of the network to train.
        dataset: prepared images; the training images are looked at.
        initial: (params, statistics) for what is not inherited.
        on_progress: called now and then.

    Returns:
        (params, statistics) as numpy arrays, and by path how much faster than the others arrays
        are to be trained.
    """
    arrays = {path: np.asarray(array) for path, array in flat(*initial).items()}
    importance = kernel_importance(given.architecture, given.arrays)
    keeps_head = given.metadata.classes == dataset.classes
    arrays, heirs = inherit(
        architecture,
        arrays,
        given.architecture,
        given.arrays,
        importance,
        keeps_head=keeps_head,
    )
    params, statistics = nested(arrays)
    head = architecture.kernel_nodes[-1].name
    features = None
    if not keeps_head:
        features = head_features(architecture, params, statistics, dataset, on_progress)
    if features is not None:
        heirs |= {head}
        kernel, bias = fit_head(features, np.asarray(dataset.train.labels), len(dataset.classes))
        arrays[f"{head}/kernel"] = kernel.reshape(arrays[f"{head}/kernel"].shape)
        arrays[f"{head}/bias"] = bias
    factors = {path: NEW_RATE for path in arrays if path.rpartition("/")[0] not in heirs}
    return *nested(arrays), factors


def head_features(
    architecture: Architecture,
    params: Tree,
    statistics: Tree,
    dataset: Dataset,
    on_progress: Callable[[], None] = lambda: None,
) -> np.ndarray | None:
    """What the head is given for each training image, averaged over the pixels.

    Returns:
        float32 (image, channel); None where scores are no linear function of that.
    """
    at, head = next(
        (at, node)
        for at, node in reversed(list(enumerate(architecture.graph)))
        if node.name == architecture.kernel_nodes[-1].name
    )
    conv = head.primitive
    if isinstance(conv, Conv) and (conv.kernel_size, conv.stride, conv.norm) != (1, 1, "none"):
        return None
    if not all(isinstance(n.primitive, GlobalAveragePool) for n in architecture.graph[at + 1 :]):
        return None
    # The same network whose head gives its input as it is.
    width = head.kernel_shape[-2]
    candidate = make_candidate(architecture.family, dict(architecture.metaparameters))
    network = build_network(build(candidate, architecture.input_shape, width))
    arrays = flat(params)
    arrays[f"{head.name}/kernel"] = np.eye(width, dtype=np.float32).reshape(
        *head.kernel_shape[:-1], width
    )
    arrays[f"{head.name}/bias"] = np.zeros(width, np.float32)
    scaling = InputScaling.of_dataset(dataset)

    def program(params: Tree, statistics: Tree, images: jax.Array) -> jax.Array:
        features, _ = network.apply(params, statistics, scaling.apply(images), train=False)
        return jnp.asarray(features)

    shape = (BATCH_COUNT, *architecture.input_shape)
    compiled = load_or_compile(
        jax.jit(program, keep_unused=True, compiler_options=compiler_options()),
        (
            network.abstract_params(),
            network.abstract_statistics(),
            jax.ShapeDtypeStruct(shape, jnp.uint8),
        ),
        result=0,
        key=f"features {shape} {program_key(network.architecture, scaling)}",
    )
    on_device = jax.device_put((nested(arrays)[0], statistics))
    found = []
    for batch in split_batches(dataset.train, BATCH_COUNT):
        padding = [(0, BATCH_COUNT - len(batch.images)), (0, 0), (0, 0), (0, 0)]
        features = compiled(*on_device, np.pad(batch.images, padding))
        found.append(np.asarray(features)[: len(batch.images)])
        on_progress()
    return np.concatenate(found)


def fit_head(
    features: np.ndarray, labels: np.ndarray, classes_count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (channel, class) and bias (class,) of multinomial logistic regression.

    Args:
        features: float32 (image, channel).
        labels: int (image,), every class among them.
        classes_count: number of classes.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean, deviation = features.mean(0), np.maximum(features.std(0), 1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # near is near enough for a start
        fitted = LogisticRegression(C=HEAD_STRENGTH, max_iter=200).fit(
            (features - mean) / deviation, labels
        )
    coefficients, intercept = fitted.coef_, fitted.intercept_
    if classes_count == 2:  # scikit-learn has one score for two classes
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    kernel = (coefficients / deviation).T
    bias = intercept - mean @ kernel
    return kernel.astype(np.float32), bias.astype(np.float32)
