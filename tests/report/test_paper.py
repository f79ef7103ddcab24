from __future__ import annotations

import itertools

import pytest
from matplotlib.text import Text

from dse.report.figures.paper import figure_3, plot_figure_3
from dse.report.style import style


@pytest.fixture(scope="module")
def figure():
    with style():
        drawn = figure_3()
        drawn.draw_without_rendering()
        yield drawn


def test_no_text_is_clipped_and_no_two_texts_overlap(figure):
    texts = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
    boxes = [text.get_window_extent().extents for text in texts]
    width, height = figure.bbox.size
    for box, text in zip(boxes, texts, strict=True):
        assert box[0] >= 0, text
        assert box[1] >= 0, text
        assert box[2] <= width, text
        assert box[3] <= height, text
    for (a, first), (b, second) in itertools.combinations(zip(boxes, texts, strict=True), 2):
        apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        assert apart, (first, second)


def test_points_stand_at_counted_sizes_and_published_accuracies(figure):
    left, right = figure.axes

    def points(axes, marker):
        lines = [line for line in axes.lines if line.get_marker() == marker]
        return [
            (int(x), round(float(y), 1)) for line in lines for x, y in line.get_xydata().tolist()
        ]

    assert points(left, "*") == [(1_248_424, 80.3), (3_404_392, 85.3), (4_841_704, 86.0)]
    assert points(right, "*") == [(1_478_248, 76.3), (3_404_392, 85.3), (5_330_536, 85.3)]
    assert [x for x, _ in points(left, "|")] == [1_967_080, 6_279_016]
    assert len(points(right, "|")) == 6
    labels = {text.get_text() for axes in (left, right) for text in axes.texts}
    assert {"0.125\n4.76 MiB · 80.3%", "0.99\n20.33 MiB · 85.3%", "0.25", "1"} <= labels


def test_the_same_figure_has_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        plot_figure_3(png_path=tmp_path / f"{name}.png", svg_path=tmp_path / f"{name}.svg")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
