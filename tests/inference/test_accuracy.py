"""int8 against float32 on images whose labels are what float32 says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dse.architecture import make_candidate
from dse.inference import accuracy, forward, int8
from dse.inference.calibrate import calibrate
from dse.inference.graph import read_graph
from tests.export.networks import random_images, write_weights


def test_both_accuracies_on_the_same_images(tmp_path: Path, monkeypatch) -> None:
    weights = write_weights(tmp_path / "a.safetensors")
    images = random_images((16, 16, 3), 120)
    graph = read_graph(weights, with_preprocessing=True)
    labels = forward.scores(graph, images).argmax(1)
    labels[::4] = (labels[::4] + 1) % 10  # a quarter is wrong in float32
    monkeypatch.setattr(accuracy, "MOST_IMAGES", 60)
    found = accuracy.int8_accuracy(weights, images[:40], images, labels)
    assert found is not None
    rows = np.unique(np.linspace(0, 119, 60).round().astype(int))
    network = int8.quantize(graph, calibrate(graph, images[:40]))
    assert found.images_count == 60
    assert found.float32 == pytest.approx(np.mean(rows % 4 > 0))
    wanted = int8.scores(network, images[rows]).argmax(1) == labels[rows]
    assert found.int8 == pytest.approx(wanted.mean())


def test_nothing_where_it_takes_too_long_or_has_no_form(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "a.safetensors")
    images = random_images((16, 16, 3), 60)
    labels = np.zeros(60, np.int32)
    assert accuracy.int8_accuracy(weights, images, images, labels, most_macs=10) is None
    original = make_candidate("alexnet", {"variant": "original"})
    weights = write_weights(tmp_path / "b.safetensors", original, (67, 67, 3))
    images = random_images((67, 67, 3), 3)
    assert accuracy.int8_accuracy(weights, images, images, labels[:3]) is None
