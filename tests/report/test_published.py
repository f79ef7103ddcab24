"""The paper's tables, and its sweeps counted by the tool: every size against the printed one."""

from __future__ import annotations

import csv
import math
from typing import Any

import pytest

from dse.architecture import PRESETS
from dse.config import find_space, load_space
from dse.report.figures.paper import SweptSize, swept_sizes
from dse.report.tables.published import (
    NETWORKS,
    SWEEPS,
    published_beside,
    published_folder,
    read_published,
)
from dse.report.tables.summary import StudyTable
from dse.space.enumerate import survey
from dse.study.table import read_trials
from tests.report.rows import row

SQUEEZE_RATIO = {
    0.125: 1_248_424,
    0.25: 1_967_080,
    0.5: 3_404_392,
    0.75: 4_841_704,
    1.0: 6_279_016,
}
"""Parameters of the paper's figure 3, left, from its formula."""


def params_by_hand(squeeze_ratio: float, pct_3x3: float) -> int:
    """The paper's section 5 in plain arithmetic: widths, then weights and biases.

    Shares are rounded half up: 0.01 · 128 = 1.28 is 1 filter, 0.01 · 512 = 5.12 is 5.
    """
    total, given = 7 * 7 * 3 * 96 + 96, 96
    for module in range(8):
        expand = 128 + 128 * (module // 2)
        squeeze = int(squeeze_ratio * expand + 0.5)
        expand3x3 = int(pct_3x3 * expand + 0.5)
        expand1x1 = expand - expand3x3
        total += given * squeeze + squeeze
        total += squeeze * expand1x1 + expand1x1 + 9 * squeeze * expand3x3 + expand3x3
        given = expand
    return total + 512 * 1000 + 1000


def counted(name: str, side: int) -> dict[float, int]:
    space = load_space(find_space(f"paper/{name}.yaml"))
    found = survey(space, (side, side, 3), 1000)
    return {c.metaparameters[name]: cost.params_count for c, cost in found.feasible}  # type: ignore


@pytest.mark.parametrize("side", [224, 227])
def test_parameters_of_both_sweeps_of_the_paper(side: int) -> None:
    assert counted("squeeze_ratio", side) == SQUEEZE_RATIO
    assert counted("squeeze_ratio", side) == {
        ratio: params_by_hand(ratio, 0.5) for ratio in SQUEEZE_RATIO
    }
    shares = [0.01, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 0.99]
    assert counted("pct_3x3", side) == {share: params_by_hand(0.5, share) for share in shares}


def as_printed(size: SweptSize) -> float:
    """MiB rounded up to two figures."""
    figures = 1 if size.weight_mib < 10 else 0
    return math.ceil(size.weight_mib * 10**figures) / 10**figures


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("squeeze_ratio", {0.125: (4.8, 0.803), 0.5: (13, 0.853), 0.75: (19, 0.860)}),
        ("pct_3x3", {0.01: (5.7, 0.763), 0.5: (13, 0.853), 0.99: (21, 0.853)}),
    ],
)
def test_counted_sizes_are_the_printed_ones_in_mib_rounded_up(
    name: str, printed: dict[float, tuple[float, float]]
) -> None:
    sizes = swept_sizes(name)
    known = {size.value: size for size in sizes if size.published}
    assert {
        value: (as_printed(size), size.published and size.published.top5_accuracy)
        for value, size in known.items()
    } == printed
    for size in known.values():
        assert size.published is not None
        assert size.published.size_mb == as_printed(size)
        assert size.published.cost.params_count == size.params_count
    assert len(sizes) == {"squeeze_ratio": 5, "pct_3x3": 9}[name]


def test_compression_table_of_the_paper() -> None:
    rows = [
        (p.network, p.compression, p.size_mb, p.top1_accuracy, p.top5_accuracy)
        for p in read_published(NETWORKS)
    ]
    assert rows == [
        ("alexnet", "none", 240, 0.572, 0.803),
        ("alexnet", "SVD", 48, 0.560, 0.794),
        ("alexnet", "Network Pruning", 27, 0.572, 0.803),
        ("alexnet", "Deep Compression", 6.9, 0.572, 0.803),
        ("squeezenet_v1.0", "none", 4.8, 0.575, 0.803),
        ("squeezenet_v1.0", "Deep Compression, 8 bit", 0.66, 0.575, 0.803),
        ("squeezenet_v1.0", "Deep Compression, 6 bit", 0.47, 0.575, 0.803),
    ]
    with (published_folder() / "compression.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    # "vs AlexNet" is the ratio of the printed sizes, cut to whole numbers or rounded.
    for line in table:
        assert float(line["size_ratio"]) == pytest.approx(240 / float(line["size_mb"]), abs=1.1)
    assert {p.candidate for p in read_published(NETWORKS)} == {
        PRESETS[name].candidate for name in ("alexnet", "squeezenet_v1.0")
    }


def test_bypass_table_of_the_paper() -> None:
    rows = [
        (p.candidate.metaparameters["bypass"], p.top1_accuracy, p.top5_accuracy)
        for p in read_published("bypass")
    ]
    assert rows == [("none", 0.575, 0.803), ("simple", 0.604, 0.825), ("complex", 0.588, 0.82)]
    params = [p.cost.params_count for p in read_published("bypass")]
    # 1x1 convolutions with biases where the channels grow.
    side = sum(a * b + b for a, b in [(96, 128), (128, 256), (256, 384), (384, 512)])
    assert params == [1_248_424, 1_248_424, 1_248_424 + side]


@pytest.mark.parametrize("name", [*SWEEPS, NETWORKS])
def test_every_row_names_its_source(name: str) -> None:
    for point in read_published(name):
        assert point.source.startswith("Iandola et al. 2016 (arXiv 1602.07360), ")


def study(write_trials: Any, *rows: list[object]) -> StudyTable:
    return StudyTable("mine", read_trials(write_trials(list(rows))))


def test_what_belongs_beside_a_study_is_the_sweep_of_what_it_varies(write_trials: Any) -> None:
    first = row("00000000000a", 0, 0.9, squeeze_ratio=0.25)
    fixed = study(write_trials, first)
    ratios = study(write_trials, first, row("00000000000b", 0, 0.9, squeeze_ratio=0.5))
    bypasses = study(write_trials, first, row("00000000000c", 0, 0.9, bypass="simple"))
    assert [varied(table) for table in published_beside([ratios])] == ["squeeze_ratio"]
    both = [varied(table) for table in published_beside([ratios, bypasses])]
    assert both == ["squeeze_ratio", "bypass"]
    (networks,) = published_beside([fixed])
    assert networks.trials["network"].tolist() == ["alexnet", "squeezenet_v1.0"]
    assert networks.trials["params_count"].tolist() == [60_965_224, 1_248_424]
    assert networks.trials["validation_accuracy"].tolist() == [0.803, 0.803]


def varied(table: StudyTable) -> str:
    return list(table.trials.columns)[1]
