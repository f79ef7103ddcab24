"""The benchmark of GPUs runs here too, in its smallest form: on what has none it would rot."""

from __future__ import annotations

import json
import sys

import pytest

pytest.importorskip("torch", reason="needs PyTorch: pip install -e '.[bench]'")

from benchmarks import gpu
from benchmarks.machine import write_json


def test_one_program_trains_what_its_candidates_train_one_by_one():
    sides = list(gpu.population(gpu.REDUCED))
    assert sides[0]["side"] == "dse, one by one"
    alone, *together = (row["losses"] for row in sides)
    assert len(set(alone)) == len(alone) == 3  # three candidates, not one thrice
    for losses in together:
        assert losses == pytest.approx(alone, rel=1e-4)


def test_every_row_is_written_at_once(monkeypatch, tmp_path, capsys):
    """Of a run that is cut, what it had is there."""
    path, written = tmp_path / "gpu.json", []

    def noting(where, document):
        write_json(where, document)
        written.append(json.loads(path.read_text())["parts"])

    monkeypatch.setattr("benchmarks.machine.write_json", noting)
    words = ["--reduced", "--json", str(path), "--only", "operations"]
    monkeypatch.setattr(sys, "argv", ["gpu.py", *words])
    gpu.main()
    counts = [sum(map(len, parts.values())) for parts in written]
    assert counts == [1, 2, 3, 4, 4]
    assert {row["operation"] for row in written[-1]["operations"]} == {"max_pool", "conv2d"}
    assert "max_pool" in capsys.readouterr().out


@pytest.mark.slow
def test_all_of_it_runs_reduced(monkeypatch, tmp_path):
    path = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--reduced", "--json", str(path)])
    gpu.main()
    document = json.loads(path.read_text())
    assert document["parts"].keys() == {part for part, _ in gpu.PARTS.values()}
    assert not [row for rows in document["parts"].values() for row in rows if "failed" in row]
    assert len(document["ratios"]) == 1


def test_shares_and_ratios():
    """An H100's peak is 989e12; ratios are to PyTorch's fastest."""
    assert gpu.peak_of("NVIDIA H100 80GB HBM3") == 989e12
    assert gpu.peak_of("cpu") is None
    rates = {"dse": 300.0, "torch": 100.0, "torch compiled": 200.0}
    rows = [
        {"network": "a", "batch": 8, "side": side, "images_per_s": rate}
        for side, rate in rates.items()
    ]
    failed = {"network": "b", "batch": 8, "side": "torch", "failed": "no"}
    assert gpu.ratios({"speed": [*rows, failed]}) == [{"network": "a", "batch": 8, "to_torch": 1.5}]


def test_no_row_is_begun_after_the_deadline(monkeypatch):
    begun = []

    def rows(sizes):
        for number in range(3):
            begun.append(number)
            yield {"number": number}

    monkeypatch.setitem(gpu.PARTS, "operations", ("operations", rows))
    moments = iter([0.0, 1.0, 2.0])
    monkeypatch.setattr(gpu.time, "time", lambda: next(moments))
    found = list(gpu.rows_of("operations", gpu.REDUCED, "digits", deadline=1.5))
    assert [row.get("number") for row in found] == [0, 1, None]
    assert begun == [0, 1]
