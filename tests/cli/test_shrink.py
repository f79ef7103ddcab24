"""`dse shrink`: what is refused before anything is trained, and the whole of it on real images."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from dse.architecture import make_candidate
from tests.cli.test_train import COLOUR, TINY, write_weights

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
ARCHIVE = SHARED / "ants-bees.tar.xz"
PUBLISHED = SHARED / "squeezenet_v1.0_deep_compression.net"


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DSE_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        ((), 2, "there are no weights to start from: dse import squeezenet_v1.0 makes"),
        (("--reference", "alexnet"), 2, "--reference alexnet: dse shrink knows best"),
        (("--reference", "best", "--accuracy", "0.9"), 2, "give one of them"),
        (("--accuracy", "92"), 2, "--accuracy 92: must be a share from 0 to 1 or percent"),
        (("--max-bytes", "many"), 2, "--max-bytes many: must be a size such as 470kB"),
        (("--device", "STM32F745"), 1, "device 'STM32F745' not found; did you mean STM32F74"),
        (("--budget", "40trials"), 2, "--budget 40 trials: must be a time"),
        (("--init", "gray.safetensors", "--out", "a.zip"), 2, "name ends in .dsz"),
        (("--init", "colour.safetensors"), 1, "the weights take 8x8x3, but the images of digits"),
        (("--init", "gray.safetensors", "--budget", "1s"), 1, "the budget of 1s is too small"),
    ],
)
def test_what_cannot_be_is_refused_at_once(run, options, status, said) -> None:
    write_weights(Path("gray.safetensors"), make_candidate("squeezenet", TINY))
    write_weights(Path("colour.safetensors"), make_candidate("squeezenet", TINY), COLOUR)
    result = run("shrink", "digits", *options)
    assert (result.exit_code, said in result.stderr) == (status, True), result.stderr
    assert not Path("digits.dsz").exists()


@pytest.mark.slow
def test_digits_end_in_a_file_that_scores_as_it_is_said(run) -> None:
    train = ("train", "squeezenet", "--set", "base_e=16", "--set", "incr_e=16")
    fewer = ("--set", "fire_modules=4", "--epochs", 10, "--out", "tiny.safetensors")
    assert run(*train, *fewer, "--workers", 1).exit_code == 0
    command = ("shrink", "digits", "--init", "tiny.safetensors", "--epochs", 4, "--budget", "90s")
    result = run(*command, "--max-bytes", "2.5kB", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert Path("digits.dsz").stat().st_size == found["chosen"]["file_bytes"] <= 2500
    scored = json.loads(run("evaluate", "digits.dsz", "--data", "digits", "--json").stdout)
    assert scored["top1_accuracy"] == found["confirmed"]["accuracy"] > 0.8
    # Another demand on the same files: nothing is trained again, and the test images once more.
    again = run(*command, "--accuracy", "99.9%")
    assert again.exit_code == 1
    assert "no file holds an accuracy of 99.90%: the best that was reached has" in again.stderr
    assert "epoch 1" not in again.stderr


@pytest.mark.slow
@pytest.mark.data
def test_ants_and_bees_in_an_eighteenth_of_the_bytes(run) -> None:
    if not (ARCHIVE.exists() and PUBLISHED.exists()):
        pytest.skip(f"needs {ARCHIVE.name} and {PUBLISHED.name} in {ARCHIVE.parent}")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall("ants-bees", filter="data")
    assert run("import", PUBLISHED).exit_code == 0
    result = run("shrink", "ants-bees", "--budget", "30m", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["chosen"]["file_bytes"] <= 160_000
    assert found["confirmed"]["accuracy"] >= found["confirmed"]["parent_accuracy"] - 0.05
