"""Networks with fewer filters that start as what they were cut out of, as nearly as can be.

Which filters go, and what becomes of the others, follows from the second moments of what each
layer reads, over some training images: one pass over them serves every smaller network.

Source: He, Zhang and Sun 2017 (arXiv 1707.06168), "Channel pruning for accelerating very deep
neural networks"; Hassibi and Stork 1992, "Second order derivatives for network pruning: Optimal
Brain Surgeon"; Yang et al. 2018 (arXiv 1804.03230), "NetAdapt".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count

import jax
import jax.numpy as jnp
import numpy as np

from dse.architecture import FAMILIES, Architecture, Candidate, Node, build, cost, make_candidate
from dse.architecture.primitives import Conv, Dense, Shape
from dse.compress.prune import Arrays
from dse.data.batches import Batches
from dse.errors import ArchitectureError, ConfigError, SpaceError
from dse.networks.build import build_network, maps_of
from dse.training.predict import program_key
from dse.training.scaling import InputScaling
from dse.training.xla import compiler_options, load_or_compile
from dse.weights.safetensors import nested
from dse.weights.slicing import channel_ids, inherit

IMAGES_COUNT = 64
"""Images whose second moments are taken, at most."""

BATCH_COUNT = 8

SMALLEST_SHARE = 0.35
"""Of the parameters that a step keeps at least."""


def second_moments(
    architecture: Architecture, arrays: Arrays, images: Batches, scaling: InputScaling
) -> dict[str, np.ndarray]:
    """Sums of products of all that a layer's filter reads, over images and places.

    Args:
        architecture: of the network.
        arrays: of it, by path.
        images: uint8 (image, height, width, channel), evenly spread ones of which are used.
        scaling: of the network's input.

    Returns:
        By layer float64 (row + 1, row + 1), means over places: rows in the order of the kernel,
        1 behind them. Grouped convolutions have none.
    """
    network = build_network(architecture)
    nodes = [n for n in architecture.kernel_nodes if not (_groups(n) > 1)]

    def program(params: object, statistics: object, images: jax.Array) -> list[jax.Array]:
        maps = maps_of(network, params, statistics, scaling.apply(images))  # type: ignore[arg-type]
        found = []
        for node in nodes:
            rows = _rows_read(maps[node.inputs[0]], node)
            rows = jnp.concatenate([rows, jnp.ones((len(rows), 1))], 1)
            found.append(rows.T @ rows / len(rows))
        return found

    batch_count = min(BATCH_COUNT, len(images))
    shape = (batch_count, *architecture.input_shape)
    compiled = load_or_compile(
        jax.jit(program, keep_unused=True, compiler_options=compiler_options()),
        (
            network.abstract_params(),
            network.abstract_statistics(),
            jax.ShapeDtypeStruct(shape, jnp.uint8),
        ),
        result=[0] * len(nodes),
        key=f"second moments {shape} {program_key(architecture, scaling)}",
    )
    some = images[:: max(1, len(images) // IMAGES_COUNT)]
    starts = range(0, min(len(some), IMAGES_COUNT) - batch_count + 1, batch_count)
    totals = [np.zeros((1, 1))] * len(nodes)
    for start in starts:
        batch = np.asarray(some[start : start + batch_count])
        sums = compiled(*nested(arrays), batch)
        totals = [
            total + np.asarray(one, np.float64) for total, one in zip(totals, sums, strict=True)
        ]
    return {node.name: total / len(starts) for node, total in zip(nodes, totals, strict=True)}


def _groups(node: Node) -> int:
    return node.primitive.groups if isinstance(node.primitive, Conv) else 1


def _rows_read(x: jax.Array, node: Node) -> jax.Array:
    """All that the filters of a layer read, (place, kernel row)."""
    conv = node.primitive
    if not isinstance(conv, Conv):
        return x.reshape(x.shape[0], -1)
    pad, size, stride = conv.padding, conv.kernel_size, conv.stride
    x = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height, width, _ = node.output_shape
    windows = [
        x[:, i : i + stride * (height - 1) + 1 : stride, j : j + stride * (width - 1) + 1 : stride]
        for i in range(size)
        for j in range(size)
    ]
    return jnp.concatenate(windows, 3).reshape(-1, size * size * x.shape[3])


def channel_importance(
    architecture: Architecture, arrays: Arrays, moments: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """What it costs to leave a channel out, of each layer's filters.

    That is the error of all that read it, after they made the best of the others (least squares),
    as a share of the variance of what they give.
    """
    ids = channel_ids(architecture)
    scores: dict[int, float] = {}
    for node in architecture.kernel_nodes:
        if node.name not in moments:
            continue
        raw = moments[node.name]
        covariance = raw[:-1, :-1] - np.outer(raw[:-1, -1], raw[-1, :-1])
        kernel = arrays[f"{node.name}/kernel"].reshape(len(covariance), -1).astype(np.float64)
        energy = max(float(np.sum(kernel * (covariance @ kernel))), 1e-30)
        ridge = 1e-4 * max(float(np.diag(covariance).mean()), 1e-30)
        inverse = np.linalg.inv(covariance + ridge * np.eye(len(covariance)))
        channels = node.input_shape[2]
        for channel, number in enumerate(ids[node.inputs[0]]):
            rows = np.arange(channel, len(kernel), channels)
            part = kernel[rows]
            lost = np.sum(part * np.linalg.solve(inverse[np.ix_(rows, rows)], part))
            scores[int(number)] = scores.get(int(number), 0.0) + float(lost) / energy
    return {
        node.name: np.array([scores.get(int(number), 0.0) for number in ids[at]])
        for at, node in enumerate(architecture.graph, start=1)
        if isinstance(node.primitive, Conv | Dense)
    }


def narrowed(
    target: Architecture,
    source: Architecture,
    arrays: Arrays,
    moments: Mapping[str, np.ndarray],
    importance: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray] | None:
    """A smaller network cut out of another: its arrays; None where a layer inherits nothing."""
    initial = {p.path: np.zeros(p.shape, np.float32) for p in target.parameters}
    found, heirs = inherit(
        target, initial, source, arrays, importance, keeps_head=True, moments=moments
    )
    is_whole = heirs >= {node.name for node in target.kernel_nodes}
    is_whole &= all(np.any(found[node.parameters[0].path]) for node in target.kernel_nodes)
    return found if is_whole else None


def smaller_candidates(
    candidate: Candidate, input_shape: Shape, classes_count: int, *, share: float
) -> Iterator[tuple[str, Candidate]]:
    """Candidates with about this share of the parameters, each by one metaparameter.

    Args:
        candidate: where they start.
        input_shape: of the images.
        classes_count: number of classes.
        share: of its parameters, which is kept at most.

    Yields:
        The metaparameter's name, and the candidate whose value of it is the largest that is
        small enough; those with less than `SMALLEST_SHARE` are left out.
    """
    before = cost(build(candidate, input_shape, classes_count)).params_count
    for name, known in FAMILIES[candidate.family].metaparameters.items():
        value = candidate.metaparameters[name]
        if known.of_head or known.kind not in ("int", "float") or isinstance(value, str | tuple):
            continue
        for step in count(1):
            lower: float = round(value * 0.95**step, 4) if known.kind == "float" else value - step
            try:
                values = dict(candidate.metaparameters) | {name: lower}
                changed = make_candidate(candidate.family, values)
                found = cost(build(changed, input_shape, classes_count)).params_count
            except (ArchitectureError, ConfigError, SpaceError):
                break  # below what it can be
            if found <= share * before:
                if found >= SMALLEST_SHARE * before:
                    yield name, changed
                break
            if found > before or lower <= 0:
                break
