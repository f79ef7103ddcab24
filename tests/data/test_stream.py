from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dse.data.stream import BLOCK_COUNT, Labelled, stream_batches
from dse.weights.preprocessing import trained_preprocessing
from tests.data.trees import random_image, write_image

RULE = trained_preprocessing((6, 6, 3), [0.5] * 3, [1.0] * 3)


@pytest.fixture
def images(tmp_path: Path) -> list[tuple[np.ndarray, Labelled]]:
    rng = np.random.default_rng(0)
    held = []
    for index in range(50):
        path = tmp_path / f"{index:02d}.png"
        image = random_image(rng)
        write_image(path, image)
        held.append((image, (str(path), index)))
    return held


@pytest.mark.parametrize("batch_count", [1, 7, 8, 25, 50, 64])
def test_batches_are_the_images_in_order(
    images: list[tuple[np.ndarray, Labelled]], batch_count: int
) -> None:
    batches = list(stream_batches([p for _, p in images], RULE, batch_count=batch_count))
    whole, rest = divmod(50, batch_count)
    assert [len(b.images) for b in batches] == [batch_count] * whole + ([rest] if rest else [])
    assert np.concatenate([b.labels for b in batches]).tolist() == list(range(50))
    found = np.concatenate([b.images for b in batches])
    np.testing.assert_array_equal(found, [image for image, _ in images])
    assert [b.broken for b in batches] == [()] * len(batches)


def test_broken_images_are_named_and_the_others_keep_their_labels(
    images: list[tuple[np.ndarray, Labelled]], tmp_path: Path
) -> None:
    for index in (0, 9, 49):
        (tmp_path / f"{index:02d}.png").write_bytes(b"nothing")
    (tmp_path / "20.png").unlink()
    batches = list(stream_batches([p for _, p in images], RULE, batch_count=16, root=tmp_path))
    broken = [name for batch in batches for name in batch.broken]
    assert [name.split(" ")[0] for name in broken] == ["00.png", "09.png", "20.png", "49.png"]
    assert broken[0] == "00.png (cannot identify image file)"
    assert broken[2] == "20.png (No such file or directory)"
    kept = [label for batch in batches for label in batch.labels.tolist()]
    assert kept == [n for n in range(50) if n not in (0, 9, 20, 49)]
    assert [len(batch.images) for batch in batches] == [16, 16, 14]
    first = np.concatenate([batch.images for batch in batches])[0]
    np.testing.assert_array_equal(first, images[1][0])


def test_only_broken_images(tmp_path: Path) -> None:
    nowhere = [(str(tmp_path / f"{n}.png"), n) for n in range(100)]
    batches = list(stream_batches(nowhere, RULE, batch_count=10))
    assert sum(len(batch.broken) for batch in batches) == 100
    assert max(len(batch.broken) for batch in batches) < 10 + BLOCK_COUNT
    assert {batch.images.shape for batch in batches} == {(0, 6, 6, 3)}


def test_no_more_than_a_few_blocks_wait(
    images: list[tuple[np.ndarray, Labelled]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    taken = 0

    def endless() -> Iterator[Labelled]:
        nonlocal taken
        while True:
            taken += 1
            yield images[taken % 50][1]

    batches = stream_batches(endless(), RULE, batch_count=16)
    for number in range(1, 8):
        next(batches)
        # Two threads: their blocks and two more for each wait, and one was just taken.
        assert taken <= 16 * number + 6 * BLOCK_COUNT
    batches.close()  # type: ignore[attr-defined]
