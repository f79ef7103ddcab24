from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dse.report.figures.placement import nearest_in_box, place_labels

NOTHING = np.empty((0, 4))
BOUNDS = np.array([0.0, 0.0, 300.0, 200.0])


def overlap(a, b) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def around(points, radius=4.0):
    points = np.asarray(points, dtype=float).reshape(-1, 2)
    return np.hstack([points - radius, points + radius])


def test_a_lone_label_stands_close_to_its_point():
    (box,) = place_labels(
        np.array([[150.0, 100.0]]),
        np.array([[30.0, 8.0]]),
        obstacles=around([[150.0, 100.0]]),
        lines=NOTHING,
        bounds=BOUNDS,
    )
    gap = np.linalg.norm(nearest_in_box(box, np.array([150.0, 100.0])) - [150.0, 100.0])
    assert gap == 7.0  # the marker's radius of 4 and the margin of 1.5, then the next gap


def test_a_label_in_a_corner_turns_inward():
    (box,) = place_labels(
        np.array([[299.0, 199.0]]),
        np.array([[30.0, 8.0]]),
        obstacles=NOTHING,
        lines=NOTHING,
        bounds=BOUNDS,
    )
    assert box[2] <= 300
    assert box[3] <= 200


def test_a_label_avoids_a_line_where_it_can():
    line = np.array([[150.0, 99.0, 300.0, 101.0], [149.0, 100.0, 151.0, 200.0]])
    (box,) = place_labels(
        np.array([[150.0, 100.0]]),
        np.array([[30.0, 8.0]]),
        obstacles=NOTHING,
        lines=line,
        bounds=BOUNDS,
    )
    assert not any(overlap(box, piece) for piece in line)


def test_a_label_without_room_is_left_out_and_the_first_one_wins():
    anchors = np.array([[20.0, 5.0], [21.0, 5.0]])
    sizes = np.array([[15.0, 8.0], [15.0, 8.0]])
    room = np.array([0.0, 0.0, 40.0, 10.0])
    obstacles = np.array([[16.0, 0.0, 40.0, 10.0]])
    assert place_labels(anchors, sizes, obstacles=obstacles, lines=NOTHING, bounds=room) == [
        None,
        None,
    ]
    obstacles = np.array([[18.5, 0.0, 40.0, 10.0]])
    first, second = place_labels(anchors, sizes, obstacles=obstacles, lines=NOTHING, bounds=room)
    assert first is not None
    assert second is None


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 300), st.floats(0, 200)), max_size=12))
def test_labels_never_cover_points_or_each_other(points):
    anchors = np.array(points).reshape(-1, 2)
    sizes = np.full((len(points), 2), (34.0, 9.0))
    obstacles = around(anchors)
    placed = place_labels(anchors, sizes, obstacles=obstacles, lines=NOTHING, bounds=BOUNDS)
    boxes = [box for box in placed if box is not None]
    for index, box in enumerate(boxes):
        assert not any(overlap(box, other) for other in boxes[:index])
        assert not any(overlap(box, obstacle) for obstacle in obstacles)
        assert (box[:2] >= BOUNDS[:2]).all()
        assert (box[2:] <= BOUNDS[2:]).all()


def test_a_label_stands_nearest_to_its_own_point_not_to_an_unlabelled_one():
    anchor = np.array([[50.0, 50.0]])
    # The cheapest places are beside and below; points without labels stand just behind them.
    others = np.array([[95.0, 50.0], [5.0, 50.0], [50.0, 30.0]])
    boxes = place_labels(
        anchor,
        np.array([[38.0, 8.0]]),
        obstacles=np.vstack([np.hstack([p - 2, p + 2]) for p in (*anchor, *others)]),
        lines=np.empty((0, 4)),
        bounds=np.array([0.0, 0.0, 100.0, 100.0]),
        unlabelled=others,
    )
    assert boxes[0] is not None
    distances = [np.linalg.norm(nearest_in_box(boxes[0], p) - p) for p in (*anchor, *others)]
    assert int(np.argmin(distances)) == 0


def test_a_leader_may_cross_the_interval_of_its_own_point():
    anchor, size = np.array([[50.0, 50.0]]), np.array([[30.0, 8.0]])
    point = np.array([[46.0, 46.0, 54.0, 54.0]])
    interval = np.array([[30.0, 38.0, 70.0, 44.0]])
    # Lines above and at its own height leave no room but below, behind the interval.
    lines = np.array([[0.0, 55.0, 100.0, 56.0], [0.0, 49.0, 100.0, 51.0]])
    bounds = np.array([0.0, 0.0, 100.0, 62.0])

    def place(**given):
        (box,) = place_labels(anchor, size, lines=lines, bounds=bounds, **given)
        return box

    assert place(obstacles=np.vstack([point, interval]))[3] > 49, "on a line"
    assert place(obstacles=point, crossable=interval)[3] < 38, "below, and not upon it"
