from __future__ import annotations

import itertools
import json

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from dse.errors import ObjectiveError, StudyError
from dse.report import StudyTable, front_table, plot_accuracy_against_size, summarise
from dse.report.figures.captions import captions
from dse.report.figures.hypervolume import hypervolume_curve, hypervolume_figure
from dse.report.figures.importance import importance_figure
from dse.report.figures.parallel import parallel_figure
from dse.report.figures.search import plot_search, plot_search_front
from dse.report.figures.search_front import search_front_figure, stopped_trials
from dse.report.style import style
from dse.report.tables.importance import importances
from dse.report.tables.series import make_series
from dse.study.answer import read_answer
from dse.study.table import read_trials
from tests.report.rows import described
from tests.report.searches import (
    SEARCH_HEADER,
    answer,
    big_search,
    not_found,
    search_row,
    small_search,
)

INFO = {
    "data": {
        "name": "digits",
        "fingerprint": "1a2b3c4d5e6f7788",
        "input_shape": [8, 8, 1],
        "classes": list("0123456789"),
    }
}


@pytest.fixture
def study(write_trials):
    def make(rows, name="small"):
        return StudyTable(name, read_trials(write_trials(rows, SEARCH_HEADER)), described(INFO))

    return make


@pytest.fixture
def as_answer(tmp_path):
    def make(document):
        path = tmp_path / "answer.json"
        path.write_text(json.dumps(document))
        return read_answer(path)

    return make


def drawn(make_figure, *args, **options):
    with style():
        figure = make_figure(*args, **options)
        figure.draw_without_rendering()
        return figure


def lines_of(figure, name):
    return [line for line in figure.axes[0].lines if line.get_label() == name]


def places(line):
    return list(zip(line.get_xdata(), line.get_ydata(), strict=True))


def words_of(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")


def test_stopped_trials_enter_no_table_and_no_figure_of_finished_ones(study):
    small = study(small_search())
    summary = summarise(small.trials).set_index("candidate")
    assert summary["seeds_count"].tolist() == [2, 0, 1, 0, 1]
    assert summary["stopped_count"].tolist() == [0, 1, 0, 1, 0]
    assert summary.loc["a", "validation_accuracy_mean"] == pytest.approx(0.72)
    assert summary.loc[["b", "d"], "validation_accuracy_mean"].isna().all()
    assert front_table(small.trials)["candidate"].tolist() == ["a", "c"]
    (series,) = make_series([small], "params_count")
    assert series.summary["candidate"].tolist() == ["a", "c", "e"]
    assert captions([small])[-1] == (
        "study small · digits · 8×8×1 · 10 classes · 9 epochs · 1 to 2 seeds · "
        "data fingerprint 1a2b3c4d · 2 of 6 trials stopped early"
    )


def test_a_search_stands_beside_a_sweep(study, write_trials, sweep_rows, tmp_path):
    small, sweep = study(small_search()), StudyTable("x", read_trials(write_trials(sweep_rows)))
    plot_accuracy_against_size([small, sweep], png_path=tmp_path / "x.png", with_published=True)
    assert (tmp_path / "x.png").stat().st_size > 10_000


def test_the_front_by_its_artists(study, as_answer):
    figure = drawn(search_front_figure, study(small_search()), as_answer(answer()))
    axes = figure.axes[0]
    (on_front,) = lines_of(figure, "finished, on the front")
    (reused,) = lines_of(figure, "reused from another study")
    (star,) = lines_of(figure, "the answer")
    assert places(on_front) == [(1000, pytest.approx(72)), (10_000, 80)]
    assert (places(reused), reused.get_markerfacecolor()) == ([(50_000, 75)], "white")
    assert (places(star), star.get_marker()) == ([(1000, pytest.approx(72.2))], "*")
    reference = [line for line in axes.lines if set(np.ravel(line.get_ydata())) == {71.0}]
    assert len(reference) == 1
    band = next(patch for patch in axes.patches if patch.get_alpha())
    assert band.get_extents().transformed(axes.transData.inverted()).intervaly == pytest.approx(
        [70.2, 71.8]
    )
    words = words_of(figure)
    assert "Fewest parameters non-inferior to alexnet: digits" in words
    assert "10 classes · 9 epochs · 1 to 2 seeds" in words
    assert "1,000 parameters 128× fewer than alexnet" in words
    assert "alexnet, 128,500 parameters: 71.00% (band: 95% of the mean, 70.20 to 71.80%" in words
    assert "stopped after 1 to 3 epochs; 2 of them below the figure" in words
    assert "less the margin" not in words


def test_stopped_ones_stand_faintly_at_their_last_accuracy(study, as_answer):
    rows = [*small_search(), search_row("f", 0, {1: 0.6, 3: 0.705}, params_count=3000)]
    figure = drawn(search_front_figure, study(rows), as_answer(answer(margin=0.01)))
    (stopped,) = lines_of(figure, "stopped")
    assert (3000, pytest.approx(70.5)) in places(stopped)
    assert stopped.get_alpha() < 0.6
    assert stopped.get_markersize() < 4
    assert "less the margin of 1 point" in words_of(figure)
    # A candidate with a finished seed is finished, whatever became of its other seeds.
    rows = [*small_search(), search_row("a", 2, {1: 0.6}, stage="finals")]
    assert stopped_trials(study(rows))["candidate"].tolist() == ["b", "d"]


def test_where_nothing_qualified_the_nearest_is_hollow(study, as_answer):
    figure = drawn(search_front_figure, study(small_search()), as_answer(not_found()))
    (star,) = lines_of(figure, "nothing qualified; the nearest")
    assert star.get_markerfacecolor() == "white"
    assert "non-inferiority not shown: -1.00 points, lower bound -2.00" in words_of(figure)


def test_a_number_as_reference_has_no_band(study, as_answer):
    document = answer(
        reference__name="0.71", reference__params_count=None, answer__times_fewer=None
    )
    document["reference"] |= {"seeds_count": 0, "low": 0.71, "high": 0.71}
    figure = drawn(search_front_figure, study(small_search()), as_answer(document))
    assert [patch for patch in figure.axes[0].patches if patch.get_alpha()] == []
    words = words_of(figure)
    assert "Fewest parameters at 0.71: digits" in words
    assert "reference: 71.00%" in words
    assert "fewer than" not in words


def test_hypervolume_by_its_artists(study, as_answer):
    small = study(small_search())
    curve = hypervolume_curve(small)
    assert curve is not None
    figure = drawn(hypervolume_figure, small, as_answer(answer()), curve, size="params_count")
    (members,), (star,) = lines_of(figure, "member"), lines_of(figure, "the answer")
    assert places(members) == [(10, curve.volumes[1]), (30, curve.volumes[2])]
    assert places(star) == [(10, curve.volumes[1])]
    step = figure.axes[0].lines[0]
    assert step.get_drawstyle() == "steps-post"
    assert step.get_xdata().tolist() == [0, 10, 30, 50, 50]
    assert figure.axes[0].get_xlabel() == "search time, s"
    words = words_of(figure)
    assert "points of validation accuracy above 10%" in words
    assert "below 55,000 parameters (1.1 times the largest)" in words


def test_importance_by_its_artists(study):
    big = study(big_search(), "big")
    found = importances(big)
    assert found is not None
    figure = drawn(importance_figure, big, found, size="params_count")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["bypass", "squeeze_ratio"]
    (sure,), (unsure,) = lines_of(figure, "bypass"), lines_of(figure, "squeeze_ratio")
    assert places(sure) == [(found.parts[0].mean, 0)]
    assert (to_hex(sure.get_markerfacecolor()), unsure.get_markerfacecolor()) == (
        "#0072b2",
        "white",
    )
    assert "(150 candidates, 37 trained to the end)" in words_of(figure)


def test_parallel_coordinates_by_their_artists(study, as_answer, monkeypatch):
    monkeypatch.setattr("dse.report.figures.parallel.LEAST_CANDIDATES_COUNT", 3)
    figure = drawn(parallel_figure, study(small_search()), as_answer(answer()))
    axes = figure.axes[0]
    by_name = {line.get_label(): line for line in axes.lines}
    assert set(by_name) == {"a", "c", "e"}  # finished ones only
    # squeeze_ratio 0.125 is the lowest of two values among them, none the lowest word; its
    # size is the least and its accuracy too. Fanned out by accuracy: -0.035, 0, 0.035.
    assert by_name["a"].get_ydata() == pytest.approx([-0.035, -0.035, 0, 0])
    assert by_name["c"].get_ydata() == pytest.approx([1.035, 0.035, np.log10(10) / np.log10(50), 1])
    assert by_name["e"].get_ydata() == pytest.approx([1, 1, 1, 3 / 8])
    assert by_name["a"].get_linewidth() > 2 * by_name["c"].get_linewidth()
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["squeeze_ratio", "bypass", "parameters (log)", "accuracy, %"]
    ticks = [text.get_text() for text in axes.texts]
    assert ticks[:4] == ["0.125", "0.5", "none", "x"]


def extents(artist):
    return artist.get_window_extent().extents


def many_values(count=60):
    """Everything at once: long names, hundreds of values, failed and unmeasured trials."""
    rows = [
        search_row(
            f"{index:x}",
            0,
            {1: 0.3 + index / 200, 9: 0.4 + index / 200},
            params_count=1000 + 100 * index,
            squeeze_ratio=round(0.1 + index / 80, 4),
            bypass=f"conv1 fire{index % 20} fire{index % 7}",
            ended_s=3600 * index,
        )
        for index in range(count)
    ]
    failed = search_row("ff", 0, {}, params_count=900, ended_s=10)
    unmeasured = search_row("fe", 0, {}, params_count=900, status="stopped")
    unmeasured[SEARCH_HEADER.index("validation_accuracy")] = ""
    return [*rows, failed, unmeasured]


def wide(table):
    """The same with as many metaparameters as a search over everything varies."""
    trials = table.trials.copy()
    for at, name in enumerate(("incr_e", "stem_filters", "fire_modules", "dropout", "pct_3x3")):
        trials.insert(1, name, [(at + row) % 3 for row in range(len(trials))])
    return StudyTable("wide", trials, described(INFO))


@pytest.mark.long
@pytest.mark.parametrize(
    "size", ["params_count", pytest.param("weight_bytes", marks=pytest.mark.slow)]
)
def test_no_text_is_clipped_and_no_two_texts_overlap(study, as_answer, size):
    one = [search_row("a", 0, {9: 0.7}, ended_s=4)]
    tables = [
        study(small_search()),
        study(big_search(), "a_name_that_is_rather_long_" * 6),
        study(many_values(), "many"),
        wide(study(big_search(), "wide")),
        study(one, "one"),
        study([search_row("a", 0, {1: 0.7}, ended_s=4)], "stopped"),
        study([], "empty"),
    ]
    documents = itertools.cycle([answer(margin=0.02), not_found(), None])
    for table, document in zip(tables, documents, strict=False):
        found = as_answer(document) if document else None
        makers = [
            lambda t, f: search_front_figure(t, f, size=size),
            lambda t, f: parallel_figure(t, f, size=size),
            lambda t, f: (
                hypervolume_figure(t, f, curve, size=size)
                if (curve := hypervolume_curve(t, size=size))
                else None
            ),
        ]
        with style():
            figures = [figure for make in makers if (figure := make(table, found)) is not None]
        for figure in figures:
            with style():
                figure.draw_without_rendering()
            texts = [
                text
                for text in figure.findobj(Text)
                if text.get_text().strip() and text.get_visible()
            ]
            width, height = figure.bbox.size
            boxes = [extents(text) for text in texts]
            for box, text in zip(boxes, texts, strict=True):
                assert box[0] >= 0, (table.name, text)
                assert box[1] >= 0, (table.name, text)
                assert box[2] <= width, (table.name, text)
                assert box[3] <= height, (table.name, text)
            for (a, first), (b, second) in itertools.combinations(
                zip(boxes, texts, strict=True), 2
            ):
                apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
                assert apart, (table.name, first, second)


def test_a_search_gets_its_figures_or_the_reason(study, as_answer, tmp_path):
    figures = plot_search(study(big_search(), "big"), as_answer(answer()), tmp_path / "p")
    stems = ("big", "big-hypervolume", "big-importance", "big-parallel")
    assert [path.name for path in figures.paths] == [
        f"{stem}{suffix}" for stem in stems for suffix in (".png", ".svg")
    ]
    assert figures.notes == ()
    small = plot_search(study(small_search()), None, tmp_path, size="macs")
    assert [path.name for path in small.paths][::2] == [
        *("small-macs.png", "small-macs-hypervolume.png")
    ]
    assert small.notes == (
        "small-macs-importance is not drawn: it needs 20 candidates or more that were measured "
        "and differ at equal size",
        "small-macs-parallel is not drawn: fewer than five candidates finished, of which a table "
        "says more",
    )
    empty = plot_search(study([], "empty"), None, tmp_path)
    assert [path.name for path in empty.paths] == ["empty.png", "empty.svg"]
    assert len(empty.notes) == 3


def test_the_same_search_gives_the_same_bytes(study, as_answer, tmp_path):
    big, found = study(big_search(40), "big"), as_answer(answer())
    first = plot_search(big, found, tmp_path / "a").paths
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        second = plot_search(big, found, tmp_path / "b").paths
    assert [a.read_bytes() == b.read_bytes() for a, b in zip(first, second, strict=True)] == (
        [True] * 8
    )


def test_what_cannot_be_drawn_is_refused(study, tmp_path):
    with pytest.raises(ObjectiveError, match="'latency' is not a size"):
        plot_search(study(small_search()), None, tmp_path, size="latency")
    with pytest.raises(StudyError, match=r"written as \.png or \.svg"):
        plot_search_front(study(small_search()), None, tmp_path / "x.gif")
