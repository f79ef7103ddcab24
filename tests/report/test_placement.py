from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from dse.report.figures.accuracy import accuracy_figure
from dse.report.figures.placement import nearest_in_box, place_labels
from dse.report.style import style
from dse.report.tables.studies import open_study
from dse.report.tables.summary import StudyTable
from dse.study.table import read_trials
from tests.report.rows import described
from tests.report.test_plots import INFO, crowded_rows

RESULTS = Path(__file__).parents[2] / "results"

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


def adjusted(anchors, sizes, *, obstacles, lines, bounds, unlabelled=None, crossable=None):
    """The same task given to adjustText, in a figure whose data and pixels are points."""
    from adjustText import adjust_text

    left, bottom, right, top = bounds
    figure = Figure(figsize=(right / 72, top / 72), dpi=72)
    axes = figure.add_axes((left / right, bottom / top, 1 - left / right, 1 - bottom / top))
    axes.set(xlim=(left, right), ylim=(bottom, top))

    class Label:
        """What adjustText asks of a text, of a size that was measured elsewhere."""

        def __init__(self, place, size):
            self.place, self.size = place, size

        def get_transform(self):
            return axes.transData

        def get_unitless_position(self):
            return tuple(self.place)

        def get_window_extent(self, *_):
            return Bbox.from_extents(*self.place - self.size / 2, *self.place + self.size / 2)

        def set_position(self, place):
            self.place = np.array(place)

        def set_verticalalignment(self, _):
            """It is centred already."""

        set_horizontalalignment = set_verticalalignment

    class Obstacle(Bbox):
        def get_window_extent(self, *_):
            return self

    texts = [Label(place, size) for place, size in zip(anchors, sizes, strict=True)]
    boxes = [Obstacle([box[:2], box[2:]]) for box in np.vstack([obstacles, lines])]
    points = np.vstack([anchors, unlabelled])
    adjust_text(texts, *points.T, objects=boxes, ax=axes, iter_lim=200, expand=(1.2, 1.5))
    return [text.get_window_extent().extents for text in texts]


@pytest.mark.slow
def test_adjusttext_covers_what_this_does_not(monkeypatch, write_trials):
    """The evidence of docs/decisions/0045: `pytest -m slow -s -k adjusttext`."""
    pytest.importorskip("adjustText")
    tasks = []

    def keep(*places, **given):
        tasks.append((places, given))
        return place_labels(*places, **given)

    monkeypatch.setattr("dse.report.figures.labels.place_labels", keep)
    studies = [open_study(RESULTS, f"{name}-cifar10-jpeg") for name in ("squeeze_ratio", "pct_3x3")]
    for count in (9, 12, 45):
        trials = read_trials(write_trials(crowded_rows(count)))
        studies.append(StudyTable(f"of {count}", trials, described(INFO)))
    with style():
        for shown in ([study] for study in studies):
            accuracy_figure(shown)
        accuracy_figure(studies[:2])
        accuracy_figure(studies[2:4])
    found = {}
    for place in (place_labels, adjusted):
        began, counts = time.process_time(), Counter()
        for (anchors, sizes), task in tasks:
            boxes = place(anchors, sizes, **task)
            points = np.vstack([anchors, task["unlabelled"]])
            drawn = [(at, box) for at, box in enumerate(boxes) if box is not None]
            counts["drawn"] += len(drawn)
            for at, box in drawn:
                gaps = np.linalg.norm(nearest_in_box(box[None], points) - points, axis=1)
                counts["on a mark"] += any(overlap(box, mark) for mark in task["obstacles"])
                counts["on a line"] += any(overlap(box, line) for line in task["lines"])
                counts["nearer to another point"] += bool(gaps.min() < gaps[at] - 1e-9)
                counts["on another label"] += any(overlap(box, b) for o, b in drawn if o > at)
        found[place] = counts
        print(f"\n{place.__name__}: {dict(counts)}, {time.process_time() - began:.1f} s of CPU")
    ours, theirs = found[place_labels], found[adjusted]
    assert ours["on a mark"] == ours["on another label"] == 0 < theirs["on a mark"]
    assert ours["nearer to another point"] < theirs["nearer to another point"]
    assert ours["drawn"] >= 0.95 * theirs["drawn"]
