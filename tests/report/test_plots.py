from __future__ import annotations

import itertools
import os

import matplotlib
import numpy as np
import pytest
from matplotlib.text import Text

from dse.errors import ObjectiveError, StudyError
from dse.report import StudyTable, plot_accuracy_against_size
from dse.report.figures.accuracy import accuracy_figure
from dse.report.figures.captions import captions, title
from dse.report.figures.labels import draw_labels
from dse.report.figures.marks import front_corners
from dse.report.style import style
from dse.report.tables.published import published_beside
from dse.report.tables.series import make_series
from dse.study.table import read_trials
from tests.report.rows import described, row

INFO = {
    "data": {
        "name": "digits",
        "fingerprint": "1a2b3c4d5e6f7788",
        "input_shape": [8, 8, 1],
        "classes": [str(digit) for digit in range(10)],
    }
}


def crowded_rows(count: int, offset: float = 0.0) -> list[list[object]]:
    """A rising curve with scatter, seeds 0 to 2, sizes within one decade."""
    random = np.random.default_rng(count)
    return [
        row(
            f"{index:012x}",
            seed,
            round(float(0.8 + 0.15 * index / count - offset + random.normal(0, 0.01)), 4),
            squeeze_ratio=index / 64,
            bypass=("none", "simple")[index % 2],
            params_count=1000 + 150 * (index - index % 2),
        )
        for index in range(count)
        for seed in range(3)
    ]


@pytest.fixture
def tables(write_trials, sweep_rows):
    """Studies by name, from one trial to a crowd."""
    rows = {
        "sweep": sweep_rows,
        "nine": crowded_rows(9),
        "crowd": crowded_rows(45),
        "other": crowded_rows(9, offset=0.05),
        "one": sweep_rows[:1],
        "failed": sweep_rows[-1:],
        "empty": [],
        "a_study_with_a_name_that_is_longer_" * 5: sweep_rows,
    }
    return {
        name: StudyTable(name, read_trials(write_trials(content)), described(INFO))
        for name, content in rows.items()
    }


def figure_of(*studies, size="params_count", published=()):
    with style():
        figure = accuracy_figure(studies, size=size, published=published)
        figure.draw_without_rendering()
        return figure


def extents(artist):
    return artist.get_window_extent().extents


@pytest.mark.long
@pytest.mark.parametrize(
    ("size", "with_published"),
    [
        ("macs", True),
        pytest.param("params_count", False, marks=pytest.mark.slow),
        pytest.param("peak_activation_bytes", False, marks=pytest.mark.slow),
    ],
)
def test_no_text_is_clipped_and_no_two_texts_overlap(tables, size, with_published):
    pairs = [[study] for study in tables.values()]
    pairs += [[tables["nine"], tables["other"]], list(tables.values())]
    for studies in pairs:
        published = published_beside(studies) if with_published else ()
        figure = figure_of(*studies, size=size, published=published)
        texts = [
            text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()
        ]
        width, height = figure.bbox.size
        boxes = [extents(text) for text in texts]
        for box, text in zip(boxes, texts, strict=True):
            assert box[0] >= 0, text
            assert box[1] >= 0, text
            assert box[2] <= width, text
            assert box[3] <= height, text
        for (a, first), (b, second) in itertools.combinations(zip(boxes, texts, strict=True), 2):
            apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
            assert apart, (first, second)


def shown_labels(figure) -> set[str]:
    return {text.get_text() for text in figure.axes[0].texts}


def test_few_points_are_all_labelled_failures_too(tables):
    assert shown_labels(figure_of(tables["sweep"])) == {"0.125", "0.25", "0.5", "1"}


def test_of_many_points_only_the_fronts_are_labelled(tables):
    (series,) = make_series([tables["crowd"]], "params_count")
    on_front = set(np.array(series.labels)[series.is_on_front])
    assert shown_labels(figure_of(tables["crowd"])) <= on_front
    assert len(shown_labels(figure_of(tables["crowd"]))) >= 0.8 * len(on_front)


def test_labels_keep_clear_of_markers_and_whiskers(tables):
    with style():
        figure = accuracy_figure([tables["nine"], tables["other"]])
        axes = figure.axes[0]
        renderer = figure.canvas.get_renderer()
        all_series = make_series([tables["nine"], tables["other"]], "params_count")
        for text in list(axes.texts):
            text.remove()
        texts = draw_labels(axes, all_series, renderer)
        boxes = [text.get_window_extent(renderer).extents for text in texts]
    assert len(boxes) == 18
    for series in all_series:
        dodge = series.dodges_pt * figure.dpi / 72
        for statistic in ("min", "mean", "max"):
            places = np.column_stack([series.sizes, series.percent(statistic)])
            xs, ys = axes.transData.transform(places).T
            for x, y in zip(xs + dodge, ys, strict=True):
                assert not any(b[0] < x < b[2] and b[1] < y < b[3] for b in boxes)


def test_the_front_is_what_at_most_that_size_reaches(tables):
    (series,) = make_series([tables["sweep"]], "params_count")
    assert front_corners(series, 9000.0) == pytest.approx(
        np.array([(1000, 92.0), (2000, 92.0), (2000, 96.0), (9000, 96.0)])
    )


def test_candidates_of_one_size_stand_side_by_side(tables):
    (series,) = make_series([tables["nine"]], "params_count")
    assert series.sizes[:2].tolist() == [1000, 1000]
    assert series.dodges_pt[:2].tolist() == [-3.0, 3.0]
    assert series.dodges_pt[8] == 0.0  # alone at its size


def test_bars_are_intervals_where_the_number_of_images_is_known(tables):
    """Wilson's interval of 360 of 400, by hand: 0.86669 to 0.92570."""
    facts = {"data": INFO["data"] | {"images": {"train": 1, "validation": 400, "test": 1}}}
    known = StudyTable(
        "one", tables["one"].trials.assign(validation_accuracy=0.9), described(facts)
    )
    assert known.interval(0.9) == pytest.approx((0.86669, 0.92570), abs=1e-5)
    figure = figure_of(known)
    (bar,) = [line for line in figure.axes[0].lines if line.get_marker() == "_"]
    assert bar.get_ydata() == pytest.approx([86.669, 92.570], abs=1e-3)
    texts = [text.get_text() for text in figure.findobj(Text)]
    assert "95% interval of 400 images" in texts
    assert any("accuracy on 400 validation images" in text for text in texts)
    folded = StudyTable("one", known.trials, described(facts | {"search": {"folds": 5}}))
    assert folded.interval(0.9) is None
    assert not [line for line in figure_of(folded).axes[0].lines if line.get_marker() == "_"]


def test_title_and_captions_word_for_word(tables):
    sweep, nine, other = tables["sweep"], tables["nine"], tables["other"]
    assert title([sweep], "parameters") == "Accuracy against parameters as squeeze_ratio varies"
    assert title([nine], "parameters").endswith("as squeeze_ratio and bypass vary")
    assert title([sweep, nine], "parameters") == "Accuracy against parameters"
    data = "digits · 8×8×1 · 10 classes · 40 epochs"
    assert captions([sweep]) == [
        f"study sweep · {data} · 2 seeds · data fingerprint 1a2b3c4d · 2 of 7 trials failed"
    ]
    alike = f"{data} · 3 seeds · data fingerprint 1a2b3c4d"
    assert captions([nine]) == ["labels: squeeze_ratio · bypass", f"study nine · {alike}"]
    assert captions([nine, other]) == [alike]
    assert captions([sweep, nine])[1] == f"nine: {alike}"
    assert captions([StudyTable("bare", sweep.trials)])[0].startswith("study bare · 40 epochs")


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_table_gives_the_same_bytes(tables, tmp_path, kind):
    folder = tmp_path / "plots"
    paths = [folder / f"first.{kind}", folder / "deeper" / f"second.{kind}"]
    plot_accuracy_against_size([tables["nine"]], **{f"{kind}_path": paths[0]})
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": None}):
        plot_accuracy_against_size([tables["nine"]], **{f"{kind}_path": paths[1]})
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert first.startswith({"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml"}[kind])
    assert sorted(path.name for path in folder.iterdir()) == ["deeper", f"first.{kind}"]


def test_a_full_disk_leaves_the_old_plot_and_no_rest(tables, tmp_path, monkeypatch):
    path = tmp_path / "plots" / "plot.svg"
    path.parent.mkdir()
    path.write_text("the old one")

    def no_space(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(StudyError, match=r"plot\.svg: the plot cannot be written: No space left"):
        plot_accuracy_against_size([tables["one"]], svg_path=path)
    assert path.read_text() == "the old one"
    assert list(path.parent.iterdir()) == [path]


def test_what_cannot_be_plotted_is_refused(tables, tmp_path):
    with pytest.raises(StudyError, match="no study to plot"):
        plot_accuracy_against_size([], png_path=tmp_path / "plot.png")
    with pytest.raises(StudyError, match=r"written as \.png or \.svg, not as '\.jpg'"):
        plot_accuracy_against_size([tables["one"]], png_path=tmp_path / "plot.jpg")
    with pytest.raises(ObjectiveError, match="'latency' is not a size"):
        plot_accuracy_against_size([tables["one"]], size="latency")
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="the plot cannot be written"):
        plot_accuracy_against_size([tables["one"]], png_path=tmp_path / "file" / "plot.png")


def test_published_points_stand_apart_from_what_was_measured(tables):
    published = published_beside([tables["sweep"]])
    figure = figure_of(tables["sweep"], published=published)
    (axes,) = figure.axes
    stars = [line for line in axes.lines if line.get_marker() == "*"]
    places = [(*line.get_xdata().tolist(), *line.get_ydata().tolist()) for line in stars]
    assert places == [
        (1_248_424, pytest.approx(80.3)),
        (3_404_392, pytest.approx(85.3)),
        (4_841_704, pytest.approx(86.0)),
    ]
    assert {line.get_markerfacecolor() for line in stars} == {"white"}
    # The front ends with the measured sizes: 4000 is the largest.
    sweep, paper = make_series([tables["sweep"]], "params_count", published=published)
    assert front_corners(sweep, axes.get_xlim()[1])[-1].tolist() == [5000.0, 96.0]
    assert (paper.is_published, sweep.is_published) == (True, False)
    texts = " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")
    assert "ImageNet top-5, as published (labels: squeeze_ratio)" in texts
    assert "published: other data and another measure (ImageNet, top-5" in texts
    assert axes.get_ylabel() == "accuracy, %: validation; published: ImageNet top-5"
    assert figure_of(tables["sweep"]).axes[0].get_ylabel() == "validation accuracy, %"


def test_only_a_sweep_of_one_number_is_joined(tables):
    dotted = []
    for studies in ([tables["sweep"]], [tables["one"]]):  # the sweep of a ratio; two networks
        axes = figure_of(*studies, published=published_beside(studies)).axes[0]
        lines = [line for line in axes.lines if line.get_linestyle() == ":"]
        dotted.append([line.get_xdata().tolist() for line in lines])
    assert dotted == [[[1_248_424, 3_404_392, 4_841_704]], []]
