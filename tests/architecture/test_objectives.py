from __future__ import annotations

from dataclasses import fields

import pytest

from dse.architecture import ALL_OBJECTIVES, LATENCY, OBJECTIVES, Cost


def test_every_objective_but_the_latency_is_an_exact_cost():
    assert OBJECTIVES == ("params_count", "macs", "weight_bytes", "peak_activation_bytes")
    assert set(OBJECTIVES) <= {field.name for field in fields(Cost)}
    assert [*ALL_OBJECTIVES] == [*OBJECTIVES, LATENCY]
    assert all(name == objective.name for name, objective in ALL_OBJECTIVES.items())


@pytest.mark.parametrize(
    ("name", "value", "text", "title"),
    [
        ("params_count", 1_248_424, "1,248,424 parameters", "parameters"),
        ("macs", 390_000_000.0, "390,000,000 MACs", "MACs"),
        ("weight_bytes", 4_993_696, "4,993,696 bytes of weights", "weight\nbytes"),
        ("peak_activation_bytes", 12, "12 bytes of activations", "peak activation\nbytes"),
        ("latency_s", 0.0032149, "3.21 ms", "latency"),
    ],
)
def test_values_and_titles(name, value, text, title):
    assert ALL_OBJECTIVES[name].text(value) == text
    assert ALL_OBJECTIVES[name].stacked_title == title
