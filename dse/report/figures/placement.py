"""Places for the labels of points, so that nothing covers anything.

A label tries sixteen directions at growing distances and takes the cheapest place that is
free; then each tries again with the others in their places, until nothing changes. All in
typographic points; a box is (left, bottom, right, top).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]

_STEPS = (-1, -0.5, 0, 0.5, 1)
_DIRECTIONS = np.array([(x, y) for x in _STEPS for y in _STEPS if max(abs(x), abs(y)) == 1])
_GAPS = np.array([3, 5, 7, 9, 12, 15, 19, 24, 30, 37, 45, 55], dtype=float)
_MARGIN = 1.5
_PASSES_COUNT = 4
# What a place costs, in points of distance that one would rather go.
_ON_A_LINE = 30.0
_NEARER_TO_ANOTHER_POINT = 25.0
_LEADER_ACROSS = 40.0


def place_labels(
    anchors: Boxes,
    sizes: Boxes,
    *,
    obstacles: Boxes,
    lines: Boxes,
    bounds: Boxes,
    unlabelled: Boxes | None = None,
    crossable: Boxes | None = None,
) -> list[Boxes | None]:
    """Boxes for labels that overlap no obstacle and no other label, and stay in bounds.

    Args:
        anchors: float array (label, 2), the points that the labels belong to; the first
            labels choose first.
        sizes: float array (label, 2), width and height.
        obstacles: float array (obstacle, 4), boxes that no label may touch.
        lines: float array (line, 4), boxes that a label had better not touch.
        bounds: float array (4,), the box to stay in.
        unlabelled: float array (point, 2), points without a label, which a label had better
            not stand nearest to either.
        crossable: float array (obstacle, 4), boxes that no label may touch either, but a line
            from a label to its point may cross: the point's own interval.

    Returns:
        A box (4,) for each label, or None where no place is free.
    """
    placed: list[Boxes | None] = [None] * len(anchors)
    points = anchors if unlabelled is None else np.vstack([anchors, unlabelled.reshape(-1, 2)])
    for _ in range(_PASSES_COUNT):
        before = list(placed)
        for index, anchor in enumerate(anchors):
            others = [
                (box, _leader(anchors[at], box[None]))
                for at, box in enumerate(placed)
                if at != index and box is not None
            ]
            labels = np.array([box for box, _ in others]).reshape(-1, 4)
            leaders = np.array([leader for _, leader in others]).reshape(-1, 4)
            boxes, costs = _candidates(anchor, sizes[index])
            hard = np.vstack([obstacles.reshape(-1, 4), labels])
            own = np.empty((0, 4)) if crossable is None else crossable
            is_free = ~_overlaps(_grown(boxes), np.vstack([hard, own])).any(axis=1)
            is_free &= ((boxes[:, :2] >= bounds[:2]) & (boxes[:, 2:] <= bounds[2:])).all(axis=1)
            boxes, costs = boxes[is_free], costs[is_free]
            if not len(boxes):
                placed[index] = None
                continue
            costs = costs + _ON_A_LINE * _overlaps(_grown(boxes), lines.reshape(-1, 4)).any(axis=1)
            ends = np.stack([nearest_in_box(boxes, point) for point in points], axis=1)
            distances = np.linalg.norm(ends - points[None], axis=2)
            is_nearer_to_another = distances.min(axis=1) < distances[:, index] - 1e-9
            costs += _NEARER_TO_ANOTHER_POINT * is_nearer_to_another
            costs += _LEADER_ACROSS * _leader_crosses(boxes, anchor, hard)
            costs += _LEADER_ACROSS * _overlaps(boxes, leaders).any(axis=1)
            placed[index] = boxes[int(np.argmin(costs))]
        if all(
            a is b or (a is not None and b is not None and np.array_equal(a, b))
            for a, b in zip(before, placed, strict=True)
        ):
            break
    return placed


def nearest_in_box(box: Boxes, point: Boxes) -> Boxes:
    """The place in a box (..., 4) that is nearest to a point (2,): where a leader ends."""
    return np.clip(point, box[..., :2], box[..., 2:])


def _candidates(anchor: Boxes, size: Boxes) -> tuple[Boxes, Boxes]:
    directions = np.repeat(_DIRECTIONS, len(_GAPS), axis=0)
    gaps = np.tile(_GAPS, len(_DIRECTIONS))
    # Along a diagonal the gap is kept in both axes' sum, so that labels hug their points.
    reach = gaps / np.linalg.norm(directions, axis=1)
    centres = anchor + directions * (size / 2 + reach[:, None])
    # Straight above, below and beside read best; ties go up rather than down.
    skew = np.abs(directions).sum(axis=1) - 1
    costs = gaps + skew + 0.5 * (directions[:, 1] < 0)
    return np.hstack([centres - size / 2, centres + size / 2]), costs


def _overlaps(boxes: Boxes, others: Boxes) -> NDArray[np.bool_]:
    """Which of boxes (n, 4) share area with which of others (m, 4): bool (n, m)."""
    shared: NDArray[np.bool_] = (
        (boxes[:, None, 0] < others[None, :, 2])
        & (boxes[:, None, 2] > others[None, :, 0])
        & (boxes[:, None, 1] < others[None, :, 3])
        & (boxes[:, None, 3] > others[None, :, 1])
    )
    return shared


def _grown(boxes: Boxes) -> Boxes:
    return boxes + np.array([-_MARGIN, -_MARGIN, _MARGIN, _MARGIN])


def _leader_crosses(boxes: Boxes, anchor: Boxes, hard: Boxes) -> NDArray[np.bool_]:
    """Whether the straight line from a label to its point runs through something else."""
    own = (
        (hard[:, 0] <= anchor[0])
        & (hard[:, 2] >= anchor[0])
        & (hard[:, 1] <= anchor[1])
        & (hard[:, 3] >= anchor[1])
    )
    crossed = _overlaps(_leader(anchor, boxes), hard[~own]).any(axis=1)
    return np.asarray(crossed.reshape(len(boxes), -1).any(axis=1))


def _leader(anchor: Boxes, boxes: Boxes) -> Boxes:
    """Places along the lines from a point to boxes (n, 4), as boxes without area (n * 16, 4)."""
    shares = np.linspace(0, 1, 16)[None, :, None]
    ends = nearest_in_box(boxes, anchor)[:, None, :]
    along = (anchor + shares * (ends - anchor)).reshape(-1, 2)
    return np.hstack([along, along])
