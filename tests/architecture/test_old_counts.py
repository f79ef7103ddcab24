"""Keys, costs and parameter paths are those that commit abe660b counted."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from dse.architecture import PRESETS, build, cost, make_candidate

COUNTS = json.loads((Path(__file__).parents[1] / "fixtures" / "counts.json").read_text())
OBJECTIVES = ("params_count", "macs", "weight_bytes", "peak_activation_bytes")


def counted(candidate, input_shape, classes_count) -> dict[str, object]:
    architecture = build(candidate, tuple(input_shape), classes_count)
    costs = cost(architecture)
    found = {
        "family": candidate.family,
        "metaparameters": candidate.metaparameters,
        "key": candidate.key,
        "input_shape": input_shape,
        "classes_count": classes_count,
        **{name: getattr(costs, name) for name in OBJECTIVES},
        "peak_layer": costs.peak_layer,
        "layers": [asdict(row) for row in costs.layers],
        "parameters": [[p.path, p.shape] for p in architecture.parameters],
    }
    plain = json.loads(json.dumps(found))
    assert isinstance(plain, dict)
    return plain


def test_every_preset():
    assert set(COUNTS["presets"]) == set(PRESETS)
    for name, expected in COUNTS["presets"].items():
        preset = PRESETS[name]
        found = counted(preset.candidate, preset.input_shape, preset.classes_count)
        assert found == expected, name


@pytest.mark.parametrize("expected", COUNTS["candidates"], ids=lambda count: count["key"])
def test_candidate(expected):
    candidate = make_candidate(expected["family"], expected["metaparameters"])
    assert counted(candidate, expected["input_shape"], expected["classes_count"]) == expected


def test_candidates_use_every_choice():
    candidates = [expected["metaparameters"] for expected in COUNTS["candidates"]]
    assert len(candidates) == 60
    for name, choices in {
        "bypass": {"none", "simple", "complex"},
        "norm": {"none", "batch"},
        "final_activation": {"none", "relu"},
        "fire_modules": set(range(1, 11)),
    }.items():
        assert {values[name] for values in candidates} == choices
