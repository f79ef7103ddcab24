"""Weights of one network for another: copied where shapes agree, otherwise channels are chosen.

One walk over the graph of the network that inherits. Every map of it is described by the
channels of the giving network that its channels stand for; a convolution chooses the most
important of its own, and takes of its kernel the rows of the channels that it is given.
Channels that an addition ties to each other are scored together and so are kept together.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dse.architecture import Architecture, Node
from dse.architecture.primitives import Add, Conv, Dense, Join

Arrays = Mapping[str, np.ndarray]
"""Arrays by parameter path."""

RIDGE = 1e-4
"""Of least squares, in units of the mean square of what a layer reads."""

NEW = -1
"""Stands for a channel that the giving network has not."""


def inherit(
    target: Architecture,
    initial: Arrays,
    source: Architecture,
    given: Arrays,
    importance: Mapping[str, np.ndarray],
    *,
    keeps_head: bool = False,
    moments: Arrays | None = None,
) -> tuple[dict[str, np.ndarray], frozenset[str]]:
    """Arrays of a network that starts from those of another.

    Layers correspond by name, but for the last, the head, which corresponds to the head. Where
    they have another kernel size, stride aside, nothing is taken. A layer with fewer filters
    takes those of the highest importance, in their order; one with more has its initial filters
    behind them, and whoever reads those starts with zeros there. Slicing keeps the function
    exactly where all that is left out is zero.

    Args:
        target: the network that inherits.
        initial: its initial arrays, for what nothing is taken for.
        source: the network that gives; for images of as many channels.
        given: its arrays.
        importance: of each channel of its convolutions and dense layers, by layer.
        keeps_head: the classes are the same, so the head is inherited too.
        moments: second moments of what layers of the source read, by layer, float64 (row + 1,
            row + 1): rows as the kernel (row, filter) has them, and 1 last. What a layer gave is
            then reproduced from the channels that are left, by least squares.

    Returns:
        All arrays of the target, and the names of the layers that inherit anything.
    """
    ids = channel_ids(source)
    scores: dict[int, float] = {}
    for at, node in enumerate(source.graph, start=1):
        for channel, score in zip(ids[at], importance.get(node.name, ()), strict=False):
            scores[channel] = scores.get(channel, 0.0) + float(score)
    head, other_head = target.kernel_nodes[-1].name, source.kernel_nodes[-1].name
    places = {node.name: at for at, node in enumerate(source.graph, start=1)}
    places.pop(other_head if other_head != head else "", None)
    if keeps_head:
        places[head] = next(
            i for i, node in enumerate(source.graph, start=1) if node.name == other_head
        )
    else:
        places.pop(head, None)
    arrays, heirs = dict(initial), set()
    maps: list[np.ndarray] = [ids[0]]
    for node in target.graph:
        reads = [maps[i] for i in node.inputs]
        if isinstance(node.primitive, Join):
            maps.append(np.concatenate(reads))
        elif isinstance(node.primitive, Conv | Dense):
            at = places.get(node.name, 0)
            other = source.graph[at - 1] if at else None
            if other is None or not _agree(node, other):
                maps.append(np.full(node.output_shape[2], NEW))
                continue
            rows = _rows(ids[other.inputs[0]], reads[0])
            if _is_depthwise(node):
                chosen = rows
            elif node.primitive.groups > 1 if isinstance(node.primitive, Conv) else False:
                is_whole = node.parameters == other.parameters and (rows >= 0).all()
                if not is_whole or (np.diff(rows) != 1).any():
                    maps.append(np.full(node.output_shape[2], NEW))
                    continue
                chosen = np.arange(len(ids[at]))
            else:
                chosen = _chosen(ids[at], scores, node.output_shape[2])
            _take(arrays, given, node, other, rows, chosen)
            if moments is not None and other.name in moments and (rows >= 0).any():
                _make_up(arrays, given, node, other, rows, chosen, moments[other.name])
            heirs.add(node.name)
            maps.append(np.where(chosen >= 0, ids[at][chosen], NEW))
        else:  # what keeps channels as they are; of a sum, both terms stand for the same
            maps.append(reads[0])
    return arrays, frozenset(heirs)


def channel_ids(architecture: Architecture) -> list[np.ndarray]:
    """A number for each channel of each map (0 is the image); tied channels have the same."""
    parents: list[int] = []

    def root(channel: int) -> int:
        while parents[channel] != channel:
            channel = parents[channel]
        return channel

    def fresh(count: int) -> np.ndarray:
        start = len(parents)
        parents.extend(range(start, start + count))
        return np.arange(start, start + count)

    maps = [fresh(architecture.input_shape[2])]
    for node in architecture.graph:
        reads = [maps[i] for i in node.inputs]
        if isinstance(node.primitive, Join):
            maps.append(np.concatenate(reads))
        elif isinstance(node.primitive, Conv | Dense) and not _is_depthwise(node):
            maps.append(fresh(node.output_shape[2]))
        else:
            if isinstance(node.primitive, Add):
                for one, other in zip(*reads, strict=True):
                    parents[root(int(other))] = root(int(one))
            maps.append(reads[0])
    return [np.array([root(int(channel)) for channel in channels]) for channels in maps]


def kernel_importance(architecture: Architecture, arrays: Arrays) -> dict[str, np.ndarray]:
    """Of each filter the L1 norm of its weights, as it acts: times the factor of its norm.

    In units of the layer's mean, so that layers that an addition ties count alike.

    Source: Li et al. 2017 (arXiv 1608.08710), "Pruning filters for efficient convnets".
    """
    found = {}
    for node in architecture.kernel_nodes:
        kernel = arrays[f"{node.name}/kernel"]
        score = np.abs(kernel).reshape(-1, kernel.shape[-1]).sum(0)
        if f"{node.name}/scale" in arrays:
            deviation = np.sqrt(arrays[f"{node.name}/variance"] + 1e-5)
            score = score * np.abs(arrays[f"{node.name}/scale"]) / deviation
        found[node.name] = score / max(float(score.mean()), 1e-30)
    return found


def _is_depthwise(node: Node) -> bool:
    conv = node.primitive
    return isinstance(conv, Conv) and 1 < conv.groups == conv.filters == node.input_shape[2]


def _agree(node: Node, other: Node) -> bool:
    """Whether weights of one can serve in the other, widths aside."""
    one, two = node.primitive, other.primitive
    if isinstance(one, Conv) and isinstance(two, Conv):
        same_groups = one.groups == two.groups or (_is_depthwise(node) and _is_depthwise(other))
        return same_groups and (one.kernel_size, one.norm) == (two.kernel_size, two.norm)
    is_dense = isinstance(one, Dense) and isinstance(two, Dense)
    return is_dense and node.input_shape[:2] == other.input_shape[:2]


def _rows(source_ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each wanted channel stands among those of a map; NEW for nowhere."""
    places = {int(channel): place for place, channel in reversed(list(enumerate(source_ids)))}
    return np.array([places.get(int(channel), NEW) for channel in wanted])


def _chosen(own: np.ndarray, scores: Mapping[int, float], count: int) -> np.ndarray:
    """Places of the filters that are taken, in their order; NEW for those beyond them."""
    if count >= len(own):
        return np.concatenate([np.arange(len(own)), np.full(count - len(own), NEW)])
    ranked = np.argsort([-scores.get(int(channel), 0.0) for channel in own], kind="stable")
    return np.sort(ranked[:count])


def _take(
    arrays: dict[str, np.ndarray],
    given: Arrays,
    node: Node,
    other: Node,
    rows: np.ndarray,
    chosen: np.ndarray,
) -> None:
    """Put what is taken of a layer in the place of its initial arrays."""
    taken = chosen >= 0
    for parameter in node.parameters:
        path = f"{other.name}/{parameter.kind}"
        value = np.array(arrays[parameter.path])
        if parameter.kind != "kernel":
            value[taken] = given[path][chosen[taken]]
            arrays[parameter.path] = value
            continue
        kernel = given[path].reshape(-1, *_in_out(other))
        result = value.reshape(-1, *_in_out(node))
        if result.shape[1] != len(rows):  # depthwise, or groups taken as they are
            result[:, :, taken] = kernel[:, :, chosen[taken]]
        else:
            known = rows >= 0
            old = np.where(known[:, None], kernel[:, np.where(known, rows, 0)], 0)
            result[:, :, taken] = old[:, :, chosen[taken]]
        arrays[parameter.path] = result.reshape(value.shape)


def _make_up(
    arrays: dict[str, np.ndarray],
    given: Arrays,
    node: Node,
    other: Node,
    rows: np.ndarray,
    chosen: np.ndarray,
    moments: np.ndarray,
) -> None:
    """Change what was taken of a layer so that it gives, in mean square, what the other gave.

    Source: He, Zhang and Sun 2017 (arXiv 1707.06168), section 3.1; a ridge keeps it near.
    """
    taken, known, channels = chosen >= 0, np.flatnonzero(rows >= 0), other.input_shape[2]
    kernel = given[f"{other.name}/kernel"].reshape(-1, other.output_shape[2])
    kernel = kernel[:, chosen[taken]].astype(np.float64)
    windows = np.arange(len(kernel) // channels)[:, None]
    kept = (windows * channels + rows[known]).reshape(-1)
    present = np.append(kept, len(kernel))  # the bias too
    missing = moments[present, :-1] @ kernel - moments[np.ix_(present, kept)] @ kernel[kept]
    among = moments[np.ix_(present, present)]
    ridge = RIDGE * np.diag(among).mean() * np.eye(len(among))
    change = np.linalg.solve(among + ridge, missing)
    own = arrays[f"{node.name}/kernel"]
    value = own.reshape(len(windows), len(rows), -1).copy()
    spread = change[:-1].reshape(len(windows), len(known), -1)
    value[:, known[:, None], np.flatnonzero(taken)] += spread.astype(np.float32)
    arrays[f"{node.name}/kernel"] = value.reshape(own.shape)
    # Without a norm the constant goes to the bias, otherwise off the mean that the norm takes off.
    has_norm = f"{node.name}/mean" in arrays
    shifted = np.array(arrays[path := f"{node.name}/{'mean' if has_norm else 'bias'}"])
    shifted[taken] += (-1 if has_norm else 1) * change[-1]
    arrays[path] = shifted


def _in_out(node: Node) -> tuple[int, int]:
    """(input channels that a filter reads, filters) of a kernel."""
    groups = node.primitive.groups if isinstance(node.primitive, Conv) else 1
    return node.input_shape[2] // groups, node.output_shape[2]
