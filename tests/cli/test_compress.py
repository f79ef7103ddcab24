from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from dse.architecture import build, make_candidate
from dse.compress.tuner import ImageTuner
from dse.data import parse_data, prepare_data
from dse.training import default_recipe
from dse.training.trainer import Seed, Trainer
from dse.weights.dsz import write_content
from dse.weights.metadata import WeightsMetadata
from dse.weights.preprocessing import trained_preprocessing
from dse.weights.safetensors import flat, load_weights, save_weights

CANDIDATE = make_candidate(
    "squeezenet", {"base_e": 16, "incr_e": 8, "fire_modules": 2, "norm": "batch"}
)
SHAPE = (8, 8, 1)
CLASSES = tuple(map(str, range(10)))


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    parameters = build(CANDIDATE, SHAPE, len(CLASSES)).parameters
    return {
        p.path: np.abs(rng.normal(0, 0.3, p.shape)).astype(np.float32)
        if p.kind in ("scale", "variance")
        else rng.normal(0, 0.3, p.shape).astype(np.float32)
        for p in parameters
    }


@pytest.fixture
def weights(tmp_path, arrays) -> Path:
    metadata = WeightsMetadata(
        family=CANDIDATE.family,
        metaparameters=CANDIDATE.metaparameters,
        input_shape=SHAPE,
        classes=CLASSES,
        preprocessing=trained_preprocessing(SHAPE, (0.3,), (0.37,)),
    )
    path = tmp_path / "w.safetensors"
    save_weights(path, arrays, {}, metadata)
    return path


def test_lossless_and_back(run, weights) -> None:
    result = run("compress", weights, "--out", "w.dsz", "--lossless", "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["file_bytes"] == Path("w.dsz").stat().st_size
    assert document["float32_bytes"] == sum(4 * array.size for array in load_file(weights).values())
    described = json.loads(run("describe", weights, "--json").stdout)
    assert document["params_count"] == described["params_count"]
    assert [stage["name"] for stage in document["stages"]] == ["given"]
    result = run("decompress", "w.dsz", "--out", "back.safetensors")
    assert result.exit_code == 0, result.stderr
    before, after = load_file(weights), load_file("back.safetensors")
    assert before.keys() == after.keys()
    for name, array in before.items():
        assert np.array_equal(array.view(np.uint32), after[name].view(np.uint32))
    assert load_weights(weights)[2] == load_weights(Path("back.safetensors"))[2]


def test_the_same_command_gives_the_same_bytes(run, weights) -> None:
    for name in ("a.dsz", "b.dsz"):
        assert run("compress", weights, "--out", name, "--density", "0.5").exit_code == 0
    assert Path("a.dsz").read_bytes() == Path("b.dsz").read_bytes()


def test_density_and_bits_do_what_they_say(run, weights, arrays) -> None:
    result = run(
        "compress", weights, "--out", "w.dsz", "--density", "40%", "--density", "conv1=1",
        "--bits", "3", "--coder", "huffman",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "dsz, density 0." in result.stdout
    assert "accuracy is not measured" in result.stderr
    assert "than its own float32" in result.stdout
    params, statistics, _ = load_weights(Path("w.dsz"))
    assert np.count_nonzero(params["conv1"]["kernel"]) == arrays["conv1/kernel"].size
    kernel = params["fire3"]["expand3x3"]["kernel"]
    assert 0 < np.count_nonzero(kernel) < 0.6 * kernel.size
    assert len(np.unique(kernel)) <= 8
    assert (statistics["conv1"]["mean"] == 0).all()  # folded into scale and bias


def test_a_target_is_kept(run, weights) -> None:
    result = run("compress", weights, "--out", "w.dsz", "--target", "1.5kB")
    assert result.exit_code == 0, result.stderr
    assert Path("w.dsz").stat().st_size <= 1500


def test_a_compressed_file_serves_as_weights(run, weights) -> None:
    assert run("compress", weights, "--out", "w.dsz", "--lossless").exit_code == 0
    described = [json.loads(run("describe", file, "--json").stdout) for file in (weights, "w.dsz")]
    assert described[0].pop("network") == "w.safetensors"
    assert described[1].pop("network") == "w.dsz"
    assert described[0] == described[1]
    rng = np.random.default_rng(1)
    for name in ("3", "7"):
        (folder := Path("images", name)).mkdir(parents=True)
        for index in range(3):
            pixels = rng.integers(0, 256, (8, 8)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    found = [
        json.loads(run("evaluate", file, "--data", "folder:images", "--json").stdout)
        for file in (weights, "w.dsz")
    ]
    assert found[0]["top5_count"] == found[1]["top5_count"]
    scores = [
        json.loads(run("predict", file, "images/3/0.png", "--json").stdout)["images"]
        for file in (weights, "w.dsz")
    ]
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "w.zip"], "--out is w.zip, but a compressed file's name ends in .dsz"),
        (["--out", "w.dsz", "--lossless", "--bits", "4"], "--lossless changes nothing"),
        (["--out", "w.dsz", "--target", "9kB", "--bits", "4"], "so it goes without --bits"),
        (["--out", "w.dsz", "--target", "much"], "must be a size such as 470kB"),
        (["--out", "w.dsz", "--bits", "15"], "must be above 0 and at most 14"),
        (["--out", "w.dsz", "--density", "1.5"], "must be a share from 0 to 1 or percent"),
        (["--out", "w.dsz", "--density", "fire2/sqeeze=0.5"], "fire2/squeeze"),
        (["--out", "w.dsz", "--lossless", "--data", "digits"], "goes without --data"),
        (["--out", "w.dsz", "--lossless", "--floats", "16"], "goes without --floats"),
        (["--out", "w.dsz", "--max-loss", "0.5%"], "--max-loss has to measure accuracy"),
        (["--out", "w.dsz", "--max-loss", "0.5", "--data", "digits"], "half a point is 0.5%"),
        (["--out", "w.dsz", "--max-loss", "1%", "--bits", "4"], "goes without --bits"),
        (["--out", "w.dsz", "--epochs", "3"], "--epochs: of training, which takes images"),
        (["--out", "w.dsz", "--density", "0.5", "--density", "0.4"], "was given already"),
        (["--out", "w.dsz", "--front"], "--front has to measure accuracy, so it takes --data"),
        (["--out", "w.dsz", "--front", "--data", "digits", "--bits", "4"], "goes without --bits"),
        (["--out", "w.dsz", "--trainings", "4"], "--trainings: of --front"),
    ],
)
def test_options_that_make_no_sense(run, weights, options, message) -> None:
    result = run("compress", weights, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not Path("w.dsz").exists()


def test_a_target_that_is_too_small_leaves_nothing_behind(run, weights) -> None:
    result = run("compress", weights, "--out", "w.dsz", "--target", "300b")
    assert result.exit_code == 1
    assert "a target of 300 bytes cannot be reached" in result.stderr
    assert not Path("w.dsz").exists()


def test_files_that_are_not_what_they_should_be(run, weights) -> None:
    Path("x.dsz").write_bytes(b"something else")
    for command in (
        ("decompress", "x.dsz", "--out", "y.safetensors"),
        ("describe", "x.dsz"),
        ("compress", "x.dsz", "--out", "y.dsz"),
    ):
        result = run(*command)
        assert result.exit_code == 1
        assert "x.dsz: not a .dsz file" in result.stderr
    result = run("decompress", weights, "--out", "y.dsz")
    assert result.exit_code == 2
    result = run("decompress", "gone.dsz", "--out", "y.safetensors")
    assert "gone.dsz: no such weights file" in result.stderr


def test_images_of_something_else_are_refused(run, weights, tmp_path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for index in range(30):
            Image.new("RGB", (16, 16), (index, 3, 7)).save(
                tmp_path / "pets" / name / f"{index}.png"
            )
    result = run(
        "compress", weights, "--out", "w.dsz", "--data", "folder:pets", "--image-size", "16"
    )
    assert result.exit_code == 2
    assert "16x16x3 in 2 classes are not those that the weights were trained on" in result.stderr
    assert "split and size (8x8x1) as their study had" in result.stderr
    assert not list(Path().glob(".w.dsz*"))


def test_other_images_of_the_same_kind_are_refused(run, weights) -> None:
    result = run("compress", weights, "--out", "w.dsz", "--data", "digits")
    assert result.exit_code == 2  # digits are scaled otherwise than these weights say
    assert "are not those that the weights were trained on" in result.stderr


def test_folded_weights_are_not_trained_on(run, weights) -> None:
    assert run("compress", weights, "--out", "w.dsz").exit_code == 0
    result = run("compress", "w.dsz", "--out", "v.dsz", "--data", "digits")
    assert result.exit_code == 2
    assert "give the weights file that the .dsz was made of" in result.stderr


def test_a_compressed_file_is_compressed_again_without_growing(run, weights) -> None:
    assert run("compress", weights, "--out", "w.dsz", "--bits", "3").exit_code == 0
    assert run("compress", "w.dsz", "--out", "v.dsz", "--lossless").exit_code == 0
    assert Path("v.dsz").stat().st_size == Path("w.dsz").stat().st_size


def test_a_target_that_is_met_already_changes_nothing(run, weights) -> None:
    result = run("compress", weights, "--out", "w.dsz", "--target", "1MB", "--json")
    assert [stage["name"] for stage in json.loads(result.stdout)["stages"]] == ["given"]
    assert run("compress", weights, "--out", "v.dsz", "--lossless").exit_code == 0
    assert Path("v.dsz").read_bytes() == Path("w.dsz").read_bytes()


def test_weights_that_are_no_numbers_are_refused(run, weights, arrays) -> None:
    arrays["conv1/kernel"][0, 0, 0, 0] = np.nan
    save_weights(weights, arrays, {}, load_weights(weights)[2])
    result = run("compress", weights, "--out", "w.dsz")
    assert result.exit_code == 1
    assert "conv1/kernel has 1 values that are not finite" in result.stderr
    assert run("compress", weights, "--out", "w.dsz", "--lossless").exit_code == 0


@pytest.fixture
def digits_weights(tmp_path) -> Path:
    """The network, trained on digits for a few epochs."""
    data = prepare_data(parse_data("digits"))
    recipe = replace(default_recipe("digits", SHAPE, len(data.train)), epochs=6)
    trained = Trainer(build(CANDIDATE, SHAPE, 10), data, recipe).train(Seed(0, 0))
    metadata = WeightsMetadata(
        family=CANDIDATE.family,
        metaparameters=CANDIDATE.metaparameters,
        input_shape=SHAPE,
        classes=data.classes,
        preprocessing=trained_preprocessing(SHAPE, data.mean, data.std),
        extra={"data_fingerprint": data.fingerprint, "recipe": json.dumps(recipe.to_dict())},
    )
    path = tmp_path / "digits.safetensors"
    save_weights(path, trained.params, trained.statistics, metadata)
    return path


@pytest.mark.slow
def test_training_between_the_stages(run, digits_weights, monkeypatch) -> None:
    options = ("compress", digits_weights, "--out", "w.dsz", "--data", "digits", "--density",
               "0.8", "--bits", "5", "--epochs", "2", "--json")  # fmt: skip
    written = write_content

    def interrupted(path, content):
        raise KeyboardInterrupt

    monkeypatch.setattr("dse.weights.dsz.write_content", interrupted)
    result = run(*options)
    assert result.exit_code == 130
    assert "the same command resumes from there" in result.stderr
    assert Path(".w.dsz.training").is_dir()
    monkeypatch.setattr("dse.weights.dsz.write_content", written)
    result = run(*options)
    assert result.exit_code == 0, result.stderr
    assert "epoch" not in result.stderr  # nothing was trained again
    stages = json.loads(result.stdout)["stages"]
    assert [stage["name"] for stage in stages][::2] == ["given", "32 values"]
    assert stages[1]["name"].startswith("density 0.8")
    assert stages[0]["validation_accuracy"] > 0.5  # of ten classes, after six epochs
    assert stages[2]["validation_accuracy"] > stages[0]["validation_accuracy"] - 0.1
    # What the file holds is what was scored.
    data = prepare_data(parse_data("digits"))
    scorer = ImageTuner(CANDIDATE, data, default_recipe("digits", SHAPE, 900),
                          epochs=1)  # fmt: skip
    params, statistics, _ = load_weights(Path("w.dsz"))
    found = scorer.correct(flat(params, statistics)).mean()
    assert found == pytest.approx(stages[2]["validation_accuracy"])
    assert not list(Path().glob(".w.dsz*"))


@pytest.mark.slow
def test_a_front_ends_in_a_file_a_table_and_images(run, digits_weights) -> None:
    options = ("compress", digits_weights, "--out", "w.dsz", "--data", "digits", "--front",
               "--epochs", "1", "--trainings", "1", "--max-loss", "5%", "--json")  # fmt: skip
    result = run(*options)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document == json.loads(Path("w-front.json").read_text())
    settings = document["settings"]
    (chosen,) = [row for row in settings if row["chosen"]]
    assert chosen["file_bytes"] == Path("w.dsz").stat().st_size
    assert chosen["difference_low"] >= -0.05
    assert not [
        row
        for row in settings
        if row["difference_low"] >= -0.05 and row["file_bytes"] < chosen["file_bytes"]
    ]
    assert [row["values_trained"] for row in settings].count(True) == 1
    first = Path("plots/w-front.png").read_bytes()
    assert run("plot", "w-front.json").exit_code == 0
    assert Path("plots/w-front.png").read_bytes() == first
    assert not list(Path().glob(".w.dsz*"))
