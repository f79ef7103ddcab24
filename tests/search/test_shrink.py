"""Which file is chosen, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from dse.deployment.devices import find_devices
from dse.errors import StudyError
from dse.search.shrink import Demand, choose, planned_epochs, smoothed
from dse.study.shrinking import (
    ShrinkPoint,
    ShrinkRecord,
    ShrunkNetwork,
    find_shrink,
    write_shrink,
)

HERE = Path("results/pets/shrink")


def point(file_bytes: int, accuracy: float, *, trained: bool = True, ram: int = 4) -> ShrinkPoint:
    return ShrinkPoint(
        file=f"{file_bytes}.dsz",
        network="parent",
        candidate="c",
        params_count=2 * file_bytes,
        peak_activation_bytes=ram,
        nonzero_count=file_bytes,
        file_bytes=file_bytes,
        values_trained=trained,
        validation_accuracy=accuracy,
        low=0.0,
        high=1.0,
        smoothed_accuracy=accuracy,
        on_front=False,
    )


def record(*points: ShrinkPoint) -> ShrinkRecord:
    parent = ShrunkNetwork(
        name="parent",
        changed="",
        params_count=9,
        macs=9,
        validation_accuracy=0.95,
        low=0.9,
        high=1.0,
    )
    return ShrinkRecord(
        parent="d", plan={"budget": "20m"}, networks=(parent,), points=smoothed(points)
    )


# The accuracies 0.80, 0.94, 0.90, 0.95 rise but for the second: 0.94 and 0.90 share 0.92.
FOUR = record(point(10, 0.80), point(20, 0.94), point(30, 0.90), point(40, 0.95))


def test_luck_is_smoothed_away() -> None:
    assert [p.smoothed_accuracy for p in FOUR.points] == pytest.approx([0.80, 0.92, 0.92, 0.95])
    assert [p.on_front for p in FOUR.points] == [True, True, False, True]
    mixed = smoothed([point(20, 0.9, trained=False), point(10, 0.95), point(30, 0.95)])
    assert [p.smoothed_accuracy for p in mixed] == [0.95, 0.9, 0.95]  # each kind by itself


@pytest.mark.parametrize(
    ("demand", "bytes_wanted"),
    [
        (Demand(), 20),  # 0.95 less 3 points
        (Demand(is_near_parent=True, max_bytes=35), 20),
        (Demand(is_near_parent=True, max_bytes=15), 10),  # not shown to be near: the best
        (Demand(accuracy=0.93), 40),
        (Demand(accuracy=0.8), 10),
        (Demand(max_bytes=39), 30),  # of equal ones the larger: less was risked
        (Demand(max_bytes=15), 10),
    ],
)
def test_the_smallest_that_holds_or_the_best_that_fits(demand: Demand, bytes_wanted: int) -> None:
    assert choose(FOUR, demand, HERE).file_bytes == bytes_wanted


def test_a_device_holds_weights_and_activations_as_int8() -> None:
    (device,) = find_devices(["STM32F746"])  # 320 KB of RAM, 1 MB of flash
    small, large = point(40, 0.9, ram=4 * 300 * 1024), point(50, 0.95, ram=4 * 330 * 1024)
    assert choose(record(small, large), Demand(device=device), HERE).file_bytes == 40
    with pytest.raises(StudyError, match="fits a STM32F746 as int8: the smallest takes 100 bytes"):
        choose(record(large), Demand(device=device), HERE)


def test_what_was_not_reached_is_told() -> None:
    with pytest.raises(StudyError, match=r"at most 9 bytes was reached: the smallest is 10 bytes"):
        choose(FOUR, Demand(max_bytes=9), HERE)
    with pytest.raises(StudyError, match=r"accuracy of 97.00%: the best that was reached has 95"):
        choose(FOUR, Demand(accuracy=0.97), HERE)
    with pytest.raises(StudyError, match=r"accuracy of 94.00%: the best .* 94"):
        choose(FOUR, Demand(accuracy=0.94, max_bytes=20), HERE)


def test_a_budget_is_shared_out_over_the_stages() -> None:
    assert planned_epochs(10 * 3 * 10.0, 10.0) == 3
    assert planned_epochs(5.0, 10.0) == 1
    assert planned_epochs(1e6, 1.0) == 10


def test_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "shrink.json"
    assert find_shrink(path, "d", {"budget": "20m"}) is None
    write_shrink(path, FOUR)
    assert find_shrink(path, "d", {"budget": "20m"}) == FOUR
    assert find_shrink(path, "other weights", {"budget": "20m"}) is None
    path.write_text(path.read_text().replace('"file_bytes": 10', '"file_bytes": -10'))
    with pytest.raises(StudyError, match=r"points\[0\].file_bytes"):
        find_shrink(path, "d", {"budget": "20m"})
