"""Rows of a `trials.csv`, made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dse.study.description import Description
from dse.study.fields import from_dict

HEADER = [
    "candidate",
    "base_e",
    "squeeze_ratio",
    "bypass",
    "seed",
    "status",
    "reason",
    "params_count",
    "macs",
    "weight_bytes",
    "peak_activation_bytes",
    "validation_accuracy",
    "test_accuracy",
    "train_loss",
    "epochs",
    "train_s",
    "compile_s",
    "images_per_s",
]


def described(facts: dict[str, Any]) -> Description:
    """What a `study.yaml` with these facts says."""
    return from_dict(Description, facts, Path("study.yaml"))


def row(
    candidate: str,
    seed: int,
    accuracy: float | None,
    *,
    squeeze_ratio: object = 0.5,
    bypass: str = "none",
    params_count: int = 1000,
    macs: int = 90_000,
) -> list[object]:
    """One trial; without an accuracy it failed."""
    failed = accuracy is None
    ending = ["failed", "the loss became nan"] if failed else ["finished", ""]
    sizes = [params_count, macs, 4 * params_count, 512]
    measured = ["", "", "nan", 0] if failed else [accuracy, accuracy - 0.01, 0.3, 40]
    return [candidate, 16, squeeze_ratio, bypass, seed, *ending, *sizes, *measured, 1.5, 0.25, 9000]
