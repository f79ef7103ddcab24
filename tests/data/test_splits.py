from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.data.splits import divide
from dse.errors import DataError

CLASSES = ("ant", "bee")
SHARES = {"test": 0.2, "validation": 0.1}

class_counts = st.lists(st.integers(3, 40), min_size=2, max_size=5)


def named(counts: list[int]) -> tuple[np.ndarray, list[str], tuple[str, ...]]:
    labels = np.repeat(np.arange(len(counts)), counts)
    names = [f"{label}/{index}" for label, n in enumerate(counts) for index in range(n)]
    return labels, names, tuple(str(label) for label in range(len(counts)))


def test_this_split_is_the_same_for_ever() -> None:
    # By hand: printf "0:0/3" | b2sum -l 128, sorted; the first is tested on, the next validated.
    # Another result means that studies on disk no longer match their data.
    labels, names, _ = named([5, 5])
    split = divide(labels, names, SHARES, classes=CLASSES, seed=0)
    assert {key: value.tolist() for key, value in split.items()} == {
        "train": [1, 2, 4, 5, 8, 9],
        "test": [3, 6],
        "validation": [0, 7],
    }


@given(class_counts, st.integers(0, 5))
def test_counts_follow_the_rule_and_nothing_is_twice(counts: list[int], seed: int) -> None:
    labels, names, classes = named(counts)
    split = divide(labels, names, SHARES, classes=classes, seed=seed)
    together = np.concatenate(list(split.values()))
    assert sorted(together.tolist()) == list(range(len(labels)))
    for label, count in enumerate(counts):
        for key, share in SHARES.items():
            expected = max(1, int(count * share + 0.5))
            assert (labels[split[key]] == label).sum() == expected


def test_a_new_image_leaves_the_others_in_their_order() -> None:
    labels, names, _ = named([30, 30])
    before = divide(labels, names, SHARES, classes=CLASSES, seed=0)
    more = divide(np.append(labels, 0), [*names, "0/new"], SHARES, classes=CLASSES, seed=0)
    moved = set(before["train"].tolist()) & set(more["test"].tolist())
    assert moved == set()  # 31 images still give 6 to the test split: none comes from train
    assert len(set(before["test"].tolist()) - set(more["test"].tolist())) <= 1


@given(class_counts, st.data())
def test_a_smaller_limit_keeps_a_part_of_a_larger_one(
    counts: list[int], data: st.DataObject
) -> None:
    labels, names, classes = named(counts)
    small = data.draw(st.integers(len(classes), len(labels)))
    large = data.draw(st.integers(small, len(labels)))
    kept_small, kept_large = (
        divide(labels, names, {}, classes=classes, seed=0, train_limit=limit)["train"]
        for limit in (small, large)
    )
    assert len(kept_small) == small
    assert set(kept_small.tolist()) <= set(kept_large.tolist())
    shares = np.bincount(labels[kept_small], minlength=len(classes)) / small
    true_shares = np.array(counts) / sum(counts)
    # Every class is within one image of every other's proportion.
    assert np.abs(shares - true_shares).max() <= len(classes) / small
    assert (shares > 0).all()


def test_a_limit_of_a_multiple_of_the_classes_is_balanced() -> None:
    labels, names, _ = named([50, 50])
    kept = divide(labels, names, {}, classes=CLASSES, seed=3, train_limit=24)["train"]
    assert np.bincount(labels[kept]).tolist() == [12, 12]


def test_a_limit_below_the_classes_is_refused() -> None:
    labels, names, _ = named([5, 5])
    with pytest.raises(DataError, match=r"limit is 1, but must be at least 2: one image of each"):
        divide(labels, names, {}, classes=CLASSES, seed=0, train_limit=1)


def test_too_few_images_are_named_with_their_class() -> None:
    labels, names, _ = named([2, 5])
    with pytest.raises(DataError, match=r"train, test, validation: ant \(2\); every class needs 3"):
        divide(labels, names, SHARES, classes=CLASSES, seed=0)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_shares_out_of_bounds_are_refused(share: float) -> None:
    labels, names, _ = named([5, 5])
    with pytest.raises(DataError, match=rf"below 1 together, but got test {share}"):
        divide(labels, names, {"test": share}, classes=CLASSES, seed=0)
