"""Dominance, the front and the volume that it dominates. Every objective is minimised.

A leaf: numpy only. Who wants an accuracy maximised passes its negative.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dse.errors import ObjectiveError

Points = NDArray[np.float64]

LARGEST_SIZE = 1.1
"""Bound of `added_volume`: a tenth of the range of log sizes beyond the largest."""


def dominates(a: ArrayLike, b: ArrayLike) -> bool:
    """Whether `a` is at least as good as `b` in every objective and better in one.

    Args:
        a: float array (objective,).
        b: float array (objective,).

    Returns:
        False for two equal points: neither dominates the other.

    Raises:
        ObjectiveError: a value is NaN, or the shapes differ.
    """
    first, second = _as_point(a, "the first point"), _as_point(b, "the second point")
    if first.shape != second.shape:
        raise ObjectiveError(
            f"two points must have the same objectives, but the first has {first.size} "
            f"and the second {second.size}"
        )
    return bool((first <= second).all() and (first < second).any())


def front(points: ArrayLike) -> NDArray[np.intp]:
    """Indices of the points that no other point dominates.

    Every copy of a duplicate point is kept, since equal points do not dominate each other.
    Two objectives take one sort; more take one pass over the points for each front point.

    Args:
        points: float array (point, objective); may be empty; infinities are allowed.

    Returns:
        Ascending indices into `points`.

    Raises:
        ObjectiveError: a value is NaN, or the shape is not (point, objective).
    """
    values = _as_points(points)
    if not len(values):
        return np.empty(0, dtype=np.intp)
    # In lexicographic order a point is dominated by earlier ones only. Copies stand next to
    # each other, so the answer is found once for each distinct point and copied.
    order = np.lexsort(values.T[::-1])
    ordered = values[order]
    is_new = np.ones(len(ordered), dtype=bool)
    is_new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    keep = _front_of_sorted(ordered[is_new])[np.cumsum(is_new) - 1]
    return np.sort(order[keep])


def hypervolume(points: ArrayLike, reference_point: ArrayLike) -> float:
    """Volume that `points` dominate, bounded by `reference_point`.

    Every objective is minimised; points that are dominated, that are duplicates or that are
    not better than the reference point in every objective add nothing.

    Args:
        points: float array (point, objective); may be empty.
        reference_point: float array (objective,), the worst acceptable values.

    Returns:
        Volume in the product of the objectives' units; 0.0 for no points.

    Raises:
        ObjectiveError: a value is NaN, the volume would be infinite, or a shape does not match.

    Source: While, Bradstreet and Barone 2012, "A fast way of calculating exact
        hypervolumes" (WFG), for three objectives and more; a sweep for two.
    """
    reference = _as_point(reference_point, "the reference point")
    values = _as_points(points)
    if not len(values):
        return 0.0
    if values.shape[1] != reference.size:
        raise ObjectiveError(
            f"points and reference point must have the same objectives, but the points have "
            f"{values.shape[1]} and the reference point {reference.size}"
        )
    _refuse(~np.isfinite(reference), reference, "the reference point must be finite")
    _refuse(np.isneginf(values), values, "a point must not be minus infinity")
    inside = values[(values < reference).all(axis=1)]
    return _volume(_distinct_front(inside), reference) if len(inside) else 0.0


def added_volume(size: Points, accuracy: Points, known_size: Points, known: Points) -> Points:
    """Hypervolume over (size, accuracy) that each candidate alone adds to what is known.

    Args:
        size: float array (candidate,), in [0, 1].
        accuracy: float array (candidate,), a fraction.
        known_size: float array (point,), in [0, 1].
        known: float array (point,), their accuracies.

    Returns:
        Float array (candidate,), bounded by accuracy 0 and size `LARGEST_SIZE`.
    """
    order = np.argsort(known_size, kind="stable")
    levels = np.concatenate([[0.0], np.maximum.accumulate(known[order])])
    starts = np.concatenate([[0.0], known_size[order]])
    ends = np.append(starts[1:], LARGEST_SIZE)
    widths = np.maximum(0.0, ends - np.maximum(starts, size[:, None]))
    added: Points = (widths * np.maximum(0.0, accuracy[:, None] - levels)).sum(axis=1)
    return added


def most_wanted(sizes: Points, accuracies: Points, is_taken: NDArray[np.bool_]) -> int | None:
    """Of the front of sizes and accuracies: the member that adds most to those that are taken.

    Of one size that is hypervolume over (log size, accuracy); of several the distance in log
    sizes to what is taken of this front, as hypervolume would take too long.

    Args:
        sizes: float array (point, objective), above 0.
        accuracies: float array (point,), no NaN; maximised.
        is_taken: bool array (point,).

    Returns:
        Its index, or None: all of the front is taken.
    """
    on_front = front(np.column_stack([sizes, -accuracies]))
    open_ = on_front[~is_taken[on_front]]
    if not len(open_):
        return None
    logs = np.log(sizes)
    known = np.flatnonzero(is_taken)
    if logs.shape[1] == 1:
        scaled = (logs[:, 0] - logs.min()) / (np.ptp(logs) or 1.0)
        wanted = added_volume(scaled[open_], accuracies[open_], scaled[known], accuracies[known])
    else:
        wanted = np.full(len(open_), np.inf)
        # Only what was taken of this front covers its part of the range of sizes.
        for other in np.intersect1d(known, on_front):
            wanted = np.minimum(wanted, np.abs(logs[open_] - logs[other]).max(axis=1))
    return int(open_[np.argmax(wanted)])


def _front_of_sorted(distinct: Points) -> NDArray[np.bool_]:
    """Which of `distinct` points, in lexicographic order, are on the front."""
    keep = np.zeros(len(distinct), dtype=bool)
    if distinct.shape[1] <= 2:
        last = distinct[:, -1]
        keep[0] = True
        if distinct.shape[1] == 2:
            keep[1:] = last[1:] < np.minimum.accumulate(last)[:-1]
        return keep
    remaining = np.arange(len(distinct))
    while len(remaining):
        point = distinct[remaining[0]]
        keep[remaining[0]] = True
        # The point itself is >= itself in every objective, so it goes too.
        remaining = remaining[(distinct[remaining] < point).any(axis=1)]
    return keep


def _distinct_front(points: Points) -> Points:
    distinct = np.unique(points, axis=0)
    return distinct[_front_of_sorted(distinct)]


def _volume(points: Points, reference: Points) -> float:
    """Hypervolume of distinct points that do not dominate each other."""
    if reference.size == 1:
        return float(reference[0] - points[:, 0].min())
    if reference.size == 2:
        swept = points[np.argsort(points[:, 0])]
        heights = np.append(reference[1], swept[:-1, 1]) - swept[:, 1]
        return float(((reference[0] - swept[:, 0]) * heights).sum())
    # WFG: the sum of what each point dominates and the points after it do not. Worst last
    # objective first, so that the points after it are no worse there: limited to what the
    # point dominates they all share its last value, and one objective falls away.
    ordered = points[np.argsort(-points[:, -1], kind="stable")]
    base_reference = reference[:-1]
    total = 0.0
    for index, point in enumerate(ordered):
        base = point[:-1]
        exclusive = float(np.prod(base_reference - base))
        limited = np.maximum(ordered[index + 1 :, :-1], base)
        if len(limited):
            exclusive -= _volume(_distinct_front(limited), base_reference)
        total += exclusive * float(reference[-1] - point[-1])
    return total


def _as_points(points: ArrayLike) -> Points:
    values = _as_floats(points, "points")
    if values.shape == (0,):
        return values.reshape(0, 1)
    if values.ndim != 2 or (len(values) and not values.shape[1]):
        raise ObjectiveError(f"points must have the shape (point, objective), not {values.shape}")
    _refuse(np.isnan(values), values, "a point must not be NaN")
    return values


def _as_point(point: ArrayLike, name: str) -> Points:
    values = _as_floats(point, name)
    if values.ndim != 1 or not values.size:
        raise ObjectiveError(f"{name} must have the shape (objective,), not {values.shape}")
    _refuse(np.isnan(values), values, f"{name} must not be NaN")
    return values


def _as_floats(values: ArrayLike, name: str) -> Points:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ObjectiveError(f"{name} must be numbers in rows of one length: {error}") from error


def _refuse(bad: NDArray[np.bool_], values: Points, rule: str) -> None:
    """Raise where `bad` is true, naming the first such place."""
    if not bad.any():
        return
    place: Sequence[int] = [int(axis[0]) for axis in np.nonzero(bad)]
    where = f"objective {place[-1]}" + (f" of point {place[0]}" if len(place) == 2 else "")
    raise ObjectiveError(f"{rule}, but {where} is {values[tuple(place)]}")
