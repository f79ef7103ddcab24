"""The best of what was measured: rung by rung, front by front."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dse.search.samplers.sampler import Floats, Ints


def best(points: Floats, rungs: Ints, count: int) -> Ints:
    """The best `count` rows, best first.

    Accuracies after few and after many epochs do not compare, so only points of one rung
    are compared: fronts are peeled off at the highest rung, then at the next. That order is
    right because a candidate reached a rung by being among the best of the one below. Within
    a front, points that lie apart most come first (crowding distance). One sort, then one pass
    for each front; copies of a point stand on successive fronts.

    Args:
        points: float array (row, 2): size and negative accuracy, finite.
        rungs: int array (row,).
        count: number of rows wanted.

    Returns:
        Int array (at most `count`,).
    """
    rows: list[Ints] = []
    missing = count
    for rung in np.unique(rungs)[::-1]:
        remaining = np.flatnonzero(rungs == rung)
        remaining = remaining[np.lexsort(points[remaining].T[::-1])]
        while missing > 0 and len(remaining):
            is_front = _is_front(points[remaining])
            members = remaining[is_front]
            order = np.argsort(-crowding(points[members]), kind="stable")
            rows.append(members[order][:missing])
            missing -= len(rows[-1])
            remaining = remaining[~is_front]
    return np.concatenate(rows) if rows else np.empty(0, dtype=np.intp)


def crowding(points: Floats) -> Floats:
    """How far apart the neighbours of each point on its front are; infinite at the ends.

    Args:
        points: float array (point, objective), of one front.

    Returns:
        Float array (point,): sum over the objectives of the gap between the two neighbours,
        as a share of the front's extent.

    Source: Deb, Pratap, Agarwal and Meyarivan 2002 (NSGA-II), section III B.
    """
    distance = np.zeros(len(points))
    for column in points.T:
        order = np.argsort(column, kind="stable")
        rising = column[order]
        extent = rising[-1] - rising[0]
        if extent > 0:
            distance[order[1:-1]] += (rising[2:] - rising[:-2]) / extent
        distance[order[[0, -1]]] = np.inf
    return distance


def _is_front(ordered: Floats) -> NDArray[np.bool_]:
    """Which of the points, in lexicographic order, are on the front; the first of equal ones."""
    is_front = np.ones(len(ordered), dtype=np.bool_)
    is_front[1:] = ordered[1:, 1] < np.minimum.accumulate(ordered[:, 1])[:-1]
    return is_front
