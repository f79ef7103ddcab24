"""`dse train`: which network, what is kept and printed, what is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from dse.architecture import Candidate, build, make_candidate
from dse.weights.metadata import WeightsMetadata
from dse.weights.preprocessing import trained_preprocessing
from dse.weights.safetensors import nested, save_weights
from tests.cli.conftest import SPACE

TINY = {"base_e": 8, "incr_e": 8, "fire_modules": 2, "final_activation": "relu"}
GRAY, COLOUR = (8, 8, 1), (8, 8, 3)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DSE_CACHE", str(tmp_path / "cache"))


def write_weights(
    path: Path,
    candidate: Candidate,
    shape: tuple[int, int, int] = GRAY,
    value: float = 1.0,
    classes: tuple[str, ...] = ("left", "right"),
) -> Path:
    parameters = build(candidate, shape, len(classes)).parameters
    arrays = {p.path: np.full(p.shape, value, np.float32) for p in parameters}
    metadata = WeightsMetadata(
        family=candidate.family,
        metaparameters=candidate.metaparameters,
        input_shape=shape,
        classes=classes,
        preprocessing=trained_preprocessing(shape, (0.5,) * shape[2], (0.25,) * shape[2]),
    )
    save_weights(path, *nested(arrays), metadata)
    return path


def test_one_network_with_its_interval_and_its_weights(run, fake_worker):
    settings = ("--set", "base_e=8", "--set", "incr_e=8", "--set", "squeeze_ratio=0.5")
    command = ("train", "squeezenet", *settings, "--seeds", 2, "--workers", 1)
    result = run(*command)
    assert result.exit_code == 0, result.output
    # The fake says 0.5 + ratio / 4 + seed / 100 for validation and 0.4 + ratio / 4 for test.
    lines = result.stdout.splitlines()
    assert [line.split()[:4] for line in lines[2:4]] == [
        ["0", "62.50%", "52.50%", "2"],
        ["1", "63.50%", "52.50%", "2"],
    ]
    assert lines[4].split() == ["network", "squeezenet"]
    document = json.loads(run(*command, "--json").stdout)  # the same command trains nothing
    assert document["study"] == "squeezenet-digits-train"
    assert [seed["validation_accuracy"] for seed in document["seeds"]] == [0.625, 0.635]
    assert (document["init"], document["note"]) == (None, "")


def test_a_space_with_one_candidate_and_one_with_several(run, fake_worker):
    Path("one.yaml").write_text(SPACE.replace("{values: [0.25, 0.5]}", "0.25"))
    Path("two.yaml").write_text(SPACE)
    assert run("train", "one.yaml", "--workers", 1).exit_code == 0
    assert Path("results/one-digits-train/trials.csv").exists()
    result = run("train", "two.yaml")
    assert (result.exit_code, result.stderr) == (
        2,
        "error: two.yaml holds 2 candidates, but one network is trained; fix the others with "
        "--set (squeeze_ratio), or train them all: dse sweep two.yaml\n",
    )


def test_the_network_of_the_weights_with_a_new_head(run, fake_worker):
    write_weights(Path("a.safetensors"), make_candidate("squeezenet", TINY))
    command = ("train", "--init", "a.safetensors", "--workers", 1)
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert "may have seen some of the test images" in result.stderr
    document = json.loads(run(*command, "--json").stdout)
    # Ten classes, and the family's default in what is about the last layer alone.
    wanted = make_candidate("squeezenet", TINY | {"final_activation": "none"})
    assert (document["study"], document["candidate"]) == ("a-digits-train", wanted.key)
    assert document["init"]["file"] == "a.safetensors"
    assert Path("results/a-digits-train/init.safetensors").exists()
    text = Path("results/a-digits-train/study.yaml").read_text()
    assert "optimizer: adamw" in text
    assert document["init"]["digest"] in text


def test_other_weights_are_another_study(run, fake_worker):
    candidate = make_candidate("squeezenet", TINY)
    write_weights(Path("a.safetensors"), candidate)
    assert run("train", "--init", "a.safetensors", "--workers", 1).exit_code == 0
    write_weights(Path("a.safetensors"), candidate, value=2.0)
    result = run("train", "--init", "a.safetensors")
    assert result.exit_code == 1
    assert "results/a-digits-train holds another study; nothing was changed" in result.stderr
    assert "init.digest" in result.stderr


def test_a_teacher_is_kept_and_its_scores_are_learnt_from(run, fake_worker):
    candidate = make_candidate("squeezenet", TINY)
    write_weights(Path("a.safetensors"), candidate, classes=tuple("0123456789"))
    command = ("train", "squeezenet", "--set", "base_e=8", "--teacher", "a.safetensors")
    result = run(*command, "--workers", 1)
    assert result.exit_code == 0, result.output
    folder = Path("results/squeezenet-digits-train")
    kept = (folder / "teacher.safetensors").read_bytes()
    assert kept == Path("a.safetensors").read_bytes()
    text = (folder / "study.yaml").read_text()
    assert "distill_share: 0.7" in text
    assert hashlib.sha256(kept).hexdigest() in text
    result = run(*command[:4], "--workers", 1)
    assert result.exit_code == 1  # without it, it is another study
    assert "teacher.digest" in result.stderr


def test_a_teacher_of_other_images_is_refused(run):
    candidate = make_candidate("squeezenet", TINY)
    write_weights(Path("two.safetensors"), candidate)
    write_weights(Path("colour.safetensors"), candidate, COLOUR, classes=tuple("0123456789"))
    for arguments, message in (
        (("--teacher", "two.safetensors"), "tells 2 classes apart (left, right), but the images"),
        (("--teacher", "colour.safetensors"), "takes 8x8x3, but the images are 8x8x1"),
        (("--teacher", "gone.dsz"), "gone.dsz: no such"),
        (("--recipe", "distill_share=0.5"), "there is no teacher to learn from"),
    ):
        result = run("train", "squeezenet", *arguments)
        assert result.exit_code in (1, 2)
        assert message in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no network is named: give a NETWORK"),
        (("squeezenet_v1",), "'squeezenet_v1' not found; did you mean squeezenet_v1.1?"),
        (("squeezenet", "--init", "gone.dsz"), "gone.dsz: no such"),
        (("alexnet_tiny", "--init", "gray.safetensors"), "holds a squeezenet, which gives nothing"),
        (("--init", "colour.safetensors"), "the weights take 8x8x3, but the images of digits are"),
        (("--init", "nan.safetensors"), "has values that are not finite"),
        (("squeezenet", "--out", "a.dsz"), "the name of a weights file ends in .safetensors"),
    ],
)
def test_bad_input_is_one_message(run, arguments, message):
    candidate = make_candidate("squeezenet", TINY)
    write_weights(Path("gray.safetensors"), candidate)
    write_weights(Path("colour.safetensors"), candidate, COLOUR)
    write_weights(Path("nan.safetensors"), candidate, value=np.nan)
    result = run("train", *arguments)
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert result.stderr.count("error:") == 1
    assert not Path("results").exists()
