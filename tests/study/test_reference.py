from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dse.errors import StudyError
from dse.study.measurement import unpack_bits
from dse.study.reference import read_reference, write_reference

PUBLISHED = Path("results/references/alexnet-cifar10-jpeg-1af281319f02/reference.json")


def test_the_published_reference_is_read_and_written_as_it_was(tmp_path):
    reference = read_reference(PUBLISHED)
    assert (reference.name, reference.family, reference.params_count) == (
        "alexnet",
        "alexnet",
        23_272_266,
    )
    assert [replicate.validation_accuracy for replicate in reference.replicates] == [0.8332, 0.8322]
    first = reference.replicates[0]
    assert unpack_bits(first.validation_correct, 5000).mean() == 0.8332
    path = write_reference(tmp_path, reference)
    assert json.loads(path.read_text()) == json.loads(PUBLISHED.read_text())
    assert read_reference(path) == reference


def test_all_that_is_wrong_is_named_with_what_to_do(tmp_path):
    path = write_reference(tmp_path, replace(read_reference(PUBLISHED), study_seed=4))
    plain = json.loads(path.read_text())
    del plain["recipe"]
    plain["replicates"][1]["epochs"] = 1.5
    path.write_text(json.dumps(plain))
    with pytest.raises(StudyError) as caught:
        read_reference(path)
    assert str(caught.value) == (
        f"{path} is damaged (recipe is missing; replicates[1].epochs is 1.5, but must be a whole "
        "number from 0); remove it to measure the reference again, or put a sound copy in its place"
    )
