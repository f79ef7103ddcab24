"""`dse evaluate` and `dse predict` on weights whose best class is known beforehand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.Image import Exif

from dse.architecture import build, make_candidate
from dse.data import Dataset, parse_data, prepare_data
from dse.weights.metadata import WeightsMetadata
from dse.weights.preprocessing import Preprocessing, trained_preprocessing
from dse.weights.safetensors import save_weights
from tests.data.trees import write_image

CLASSES = ("dark", "dusk", "gray", "grey", "pale", "light", "light")
IDS = tuple(f"n{index}" for index in range(len(CLASSES)))

CANDIDATE = make_candidate(
    "squeezenet",
    {"base_e": 2, "incr_e": 0, "fire_modules": 1, "squeeze_ratio": 1.0, "pools": ()},
)
ARCHITECTURE = build(CANDIDATE, (4, 4, 1), len(CLASSES))


def rising() -> dict[str, np.ndarray]:
    """Every layer hands on the brightness b in [0, 1]; class i scores i · (2 b - i / 6).

    At b the best class is the one with i / 6 nearest to b: 0 at black, 6 at white.
    """
    arrays = {p.path: np.zeros(p.shape, np.float32) for p in ARCHITECTURE.parameters}
    for path, array in arrays.items():
        if path.endswith("kernel"):
            middle = array.shape[0] // 2
            array[middle, middle, 0, 0] = 1
    steps = np.arange(len(CLASSES), dtype=np.float32)
    arrays["conv3/kernel"][0, 0, 0] = 2 * steps
    arrays["conv3/bias"] = 20 - steps * steps / 6
    return arrays


OWN = trained_preprocessing((4, 4, 1), [0.0], [1.0])


def saved(path: Path, *, rule: Preprocessing = OWN, **changes: np.ndarray) -> Path:
    metadata = WeightsMetadata(
        family="squeezenet",
        metaparameters=CANDIDATE.metaparameters,
        input_shape=(4, 4, 1),
        classes=CLASSES,
        preprocessing=rule,
        class_ids=IDS,
    )
    save_weights(path, rising() | changes, {}, metadata)
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return saved(tmp_path / "w.safetensors")


def gray(path: Path, level: float, shape: tuple[int, int] = (4, 4)) -> Path:
    write_image(path, np.full((*shape, 1), round(255 * level), np.uint8))
    return path


def test_accuracies_worked_out_by_hand(run, weights, tmp_path):
    gray(tmp_path / "p" / "dark" / "a.png", 0.0)  # class 0: right
    gray(tmp_path / "p" / "dark" / "b.png", 0.5)  # 3, then 2 and 4, 1 and 5: not in the best five
    gray(tmp_path / "p" / "n6" / "c.png", 1.0)  # 6: right
    gray(tmp_path / "p" / "dusk" / "d.png", 0.5)  # 1 is among the best five
    (tmp_path / "p" / "dusk" / "e.png").write_bytes(b"\x89PNG")
    (tmp_path / "p" / "dusk" / "e.txt").write_bytes(b"")
    result = run("evaluate", weights, "--data", f"folder:{tmp_path}/p", "--json", "--batch", 3)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert {k: v for k, v in found.items() if k.endswith("_count")} == {
        "classes_count": 7,
        "folders_count": 3,
        "images_count": 4,
        "top1_count": 2,
        "top5_count": 3,
        "broken_count": 1,
    }
    assert (found["top1_accuracy"], found["top5_accuracy"]) == (0.5, 0.75)
    # Wilson, 2 of 4: (2 + z²/2 ± z √(1 + z²/4)) / (4 + z²) with z = 1.96.
    np.testing.assert_allclose(found["top1_interval"], [0.1500, 0.8500], atol=1e-4)
    assert found["directory"] == f"{tmp_path}/p"
    assert found["candidate"] == CANDIDATE.key
    assert found["broken"][0].startswith("dusk/e.png (")
    assert "1 file is not an image and is ignored: dusk/e.txt" in result.stderr
    assert "note: 1 of 5 images cannot be decoded and are left out: dusk/e.png (" in result.stderr
    # dark: one of its two is taken for grey; grey is said of that one and of dusk's.
    by_class = {row["class"]: row for row in found["classes"][:4]}
    assert by_class["dark"]["recall"] == 0.5
    assert (by_class["dusk"]["recall"], by_class["dusk"]["precision"]) == (0.0, None)
    assert (by_class["grey"]["predicted_count"], by_class["grey"]["precision"]) == (2, 0.0)
    assert found["balanced_accuracy"] == 0.5  # mean of 1/2, 0 and 1
    assert (found["largest_class"], found["largest_class_share"]) == ("dark", 0.5)
    assert [found["confusion"][true][3] for true in range(3)] == [1, 1, 0]


def test_an_accuracy_that_hides_a_class(run, tmp_path):
    # All weights but the last bias are zero: every image is said to be of the first class.
    architecture = build(CANDIDATE, (4, 4, 1), 2)
    arrays = {p.path: np.zeros(p.shape, np.float32) for p in architecture.parameters}
    arrays["conv3/bias"] = np.float32([np.log(3), 0])  # probabilities 3/4 and 1/4
    metadata = WeightsMetadata(
        family="squeezenet",
        metaparameters=CANDIDATE.metaparameters,
        input_shape=(4, 4, 1),
        classes=("healthy", "=ill\x1b[31m"),
        preprocessing=OWN,
        class_ids=("healthy", "ill"),
    )
    save_weights(tmp_path / "w.safetensors", arrays, {}, metadata)
    for at in range(19):
        gray(tmp_path / "p" / "healthy" / f"{at}.png", 0.5)
    gray(tmp_path / "p" / "ill" / "a\x1b[31m.png", 0.5)
    data = ("--data", f"folder:{tmp_path}/p")
    more = ("--errors", tmp_path / "e.csv", "--confusion", tmp_path / "c.png")
    result = run("evaluate", tmp_path / "w.safetensors", *data, *more)
    assert result.exit_code == 0, result.stderr
    assert "top-1        95.00% (19 of 20; " in result.stdout
    assert "balanced     50.00%, mean recall of the classes; the largest, healthy, has 95.00%" in (
        result.stdout
    )
    assert "error 20.00 points; mean probability 75.00%, accuracy 95.00%" in result.stdout
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["healthy", "[0]", "19", "."] in lines
    assert ["=ill\\x1b[31m", "[1]", "1", "."] in lines
    assert ["=ill\\x1b[31m", "0", "of", "1", "0.00%", "0.00", "to", "79.35", "–", "–"] in lines
    assert (tmp_path / "e.csv").read_text() == (
        "image,class,predicted,predicted_probability,class_probability\n"
        f"{tmp_path}/p/ill/a\\x1b[31m.png,'=ill\\x1b[31m,healthy,0.750000,0.250000\n"
    )
    with Image.open(tmp_path / "c.png") as figure:
        assert figure.size == (630, 630)
    refused = run("evaluate", tmp_path / "w.safetensors", *data, "--confusion", "c.txt")
    assert "--confusion is c.txt, but must end in .png or .svg" in refused.stderr


def test_the_test_part_is_taken_and_said(run, weights, tmp_path):
    gray(tmp_path / "p" / "train" / "pale" / "a.png", 0.0)
    gray(tmp_path / "p" / "test" / "pale" / "a.png", 4 / 6)
    result = run("evaluate", weights, "--data", f"folder:{tmp_path}/p")
    lines = result.stdout.splitlines()
    assert lines[0] == f"weights      {weights}: squeezenet {CANDIDATE.key}"
    assert lines[1] == f"images       {tmp_path}/p/test: 1, in folders of 1 of 7 classes"
    assert lines[2].startswith("fed as       GRAY from 0 to 1, less (0)")
    assert lines[3].startswith("top-1        100.00% (1 of 1; 95%: 20.65% to 100.00%)")


def save_digits_weights(path: Path, bias: list[float]) -> Dataset:
    """Weights of a network for the digits of which only the last layer's bias speaks."""
    dataset = prepare_data(parse_data("digits"))
    architecture = build(CANDIDATE, dataset.input_shape, 10)
    arrays = {p.path: np.zeros(p.shape, np.float32) for p in architecture.parameters}
    arrays["conv3/bias"] = np.float32(bias)
    metadata = WeightsMetadata(
        family=CANDIDATE.family,
        metaparameters=CANDIDATE.metaparameters,
        input_shape=dataset.input_shape,
        classes=dataset.classes,
        preprocessing=trained_preprocessing(dataset.input_shape, dataset.mean, dataset.std),
    )
    save_weights(path, arrays, {}, metadata)
    return dataset


def test_the_test_images_of_a_source(run, tmp_path):
    """Only the last layer's bias speaks: class 6 is the best, and 2 to 6 are the best five."""
    dataset = save_digits_weights(tmp_path / "d.safetensors", [1, 1, 2, 3, 4, 5, 6, 1, 1, 0])
    result = run("evaluate", tmp_path / "d.safetensors", "--data", "digits", "--json")
    found = json.loads(result.stdout)
    labels = np.asarray(dataset.test.labels)
    assert found["images_count"] == len(labels)
    assert found["top1_count"] == (labels == 6).sum() > 0
    assert found["top5_count"] == np.isin(labels, [2, 3, 4, 5, 6]).sum()
    assert found["directory"] is None
    text = run("evaluate", tmp_path / "d.safetensors", "--data", "digits").stdout
    assert f"{len(labels)} test images of 10 classes" in text
    refused = run("evaluate", tmp_path / "d.safetensors", "--data", "digits", "--classes", "c.csv")
    assert refused.exit_code == 2
    assert "--classes is for class folders; digits has classes of its own" in refused.stderr


def test_classes_by_a_class_file(run, weights, tmp_path):
    rows = [f"{index},w{index},name{index}" for index in range(7)]
    (tmp_path / "c.csv").write_text("\n".join(["index,wnid,name", *rows]))
    gray(tmp_path / "p" / "name0" / "a.png", 0.0)
    gray(tmp_path / "p" / "w5" / "a.png", 1.0)
    data = ["--data", f"folder:{tmp_path}/p", "--classes", tmp_path / "c.csv", "--json"]
    found = json.loads(run("evaluate", weights, *data).stdout)
    assert (found["top1_count"], found["top5_count"]) == (1, 2)
    result = run("predict", weights, tmp_path / "p" / "w5" / "a.png", *data[2:])
    assert json.loads(result.stdout)["images"][0]["best"][0]["class"] == "name6"


def test_predictions_worked_out_by_hand(run, weights, tmp_path):
    first = gray(tmp_path / "a.png", 1.0)
    second = gray(tmp_path / "b.png", 0.0, (9, 7))
    result = run("predict", weights, first, second, "--json")
    found = json.loads(result.stdout)
    assert [row["image"] for row in found["images"]] == [str(first), str(second)]
    # White: i (2 - i / 6) + 20.
    assert [row["index"] for row in found["images"][0]["best"]] == [6, 5, 4, 3, 2]
    scores = [row["score"] for row in found["images"][0]["best"]]
    np.testing.assert_allclose(scores, [26, 20 + 35 / 6, 20 + 16 / 3, 24.5, 20 + 10 / 3], rtol=1e-6)
    assert found["images"][1]["best"][0] == {
        "index": 0,
        "id": "n0",
        "class": "dark",
        "probability": pytest.approx(
            1 / sum(np.exp(-step * step / 6) for step in range(7)), rel=1e-5
        ),
        "score": 20.0,
    }
    lines = run("predict", weights, first).stdout.splitlines()
    assert lines[0].split() == ["probability", "score", "index", "id", "class", "image"]
    # Of white the best is 26, and the class k below it has exp(-k²/6) of its probability.
    assert lines[1].split() == ["37.4%", "26.00", "6", "n6", "light", str(first)]
    assert lines[2].split() == ["31.7%", "25.83", "5", "n5", "light"]
    assert len(lines) == 6


def test_folders_and_patterns_stand_for_their_images(run, weights, tmp_path):
    paths = [gray(tmp_path / "p" / name, 1.0) for name in ("a.png", "b/c.png")]
    (tmp_path / "p" / "notes.txt").write_text("text")
    for names in (["p"], ["p/*.png", "p/b"], ["p/**/*.png"], ["p", "p/a.png"]):
        found = json.loads(
            run("predict", weights, *(tmp_path / name for name in names), "--json").stdout
        )
        assert sorted(row["image"] for row in found["images"]) == [str(path) for path in paths]
    (tmp_path / "empty").mkdir()
    assert "empty holds no images" in run("predict", weights, tmp_path / "empty").stderr
    assert "no file is named as q*.png says" in run("predict", weights, "q*.png").stderr


def test_broken_images_are_told_after_the_others(run, weights, tmp_path):
    good = gray(tmp_path / "a.png", 1.0)
    (tmp_path / "b.png").write_bytes(b"text")
    result = run("predict", weights, "gone.png", good, tmp_path / "b.png")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[1].split()[1] == "26.00"
    assert result.stderr == (
        "error: cannot be decoded: gone.png (No such file or directory), "
        f"{tmp_path}/b.png (cannot identify image file)\n"
    )


def test_upright_turns_what_the_rule_passes_over(run, tmp_path):
    # Stored lying, the white middle fills the crop: class 6. Turned, it is a band from left to
    # right, half of the crop: class 3.
    rule = replace(OWN, resize="exact", resize_px=(4, 8), upright=False)
    weights = saved(tmp_path / "w.safetensors", rule=rule)
    exif = Exif()
    exif[0x0112] = 6
    image = np.zeros((4, 8), np.uint8)
    image[:, 2:6] = 255
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)
    lying = json.loads(run("predict", weights, tmp_path / "a.png", "--json").stdout)
    turned = json.loads(run("predict", weights, tmp_path / "a.png", "--upright", "--json").stdout)
    assert lying["images"][0]["best"][0]["index"] == 6
    assert turned["images"][0]["best"][0]["index"] == 3


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            "digits",
            "{weights} is not for digits: it takes 4x4x1 and has 7 classes (dark, dusk, gray, …), "
            "but digits has 8x8x1 and 10 (0, 1, 2, …)",
        ),
        ("folder:nowhere", "nowhere does not exist; folder:PATH needs a folder of class folders"),
        ("folder:p", "w.safetensors: no class is called darker; did you mean dark? the 7 classes"),
        ("folder:q", "2 classes of {weights} are called light: index 5 (n5), index 6 (n6); name "),
    ],
)
def test_bad_data(run, weights, tmp_path, data, message):
    gray(tmp_path / "p" / "darker" / "a.png", 0.0)
    gray(tmp_path / "q" / "light" / "a.png", 0.0)
    result = run("evaluate", weights, "--data", data)
    assert result.exit_code == 1
    assert message.format(weights=weights) in result.stderr
    assert result.stderr.startswith("error: ")


def test_a_class_file_of_another_length(run, weights, tmp_path):
    (tmp_path / "c.csv").write_text("index,wnid,name\n0,n0,dark\n")
    for command in (
        ["evaluate", weights, "--data", f"folder:{tmp_path}"],
        ["predict", weights, "a.png"],
    ):
        result = run(*command, "--classes", tmp_path / "c.csv")
        assert result.stderr == (
            f"error: {tmp_path}/c.csv has 1 classes, but {weights} gives scores for 7\n"
        )


def test_bad_weights(run, weights, tmp_path):
    gray(tmp_path / "p" / "dark" / "a.png", 0.0)
    data = ("--data", f"folder:{tmp_path}/p")
    (tmp_path / "text").write_text("text")
    result = run("evaluate", tmp_path / "text", *data)
    assert "text: not a whole safetensors file" in result.stderr
    assert "gone: no such weights file" in run("predict", "gone", "a.png").stderr
    saved(weights, **{"conv3/bias": np.zeros(3, np.float32)})
    result = run("evaluate", weights, *data)
    assert result.stderr == (
        f"error: {weights}: not the weights of this squeezenet: conv3/bias has shape (3,), not "
        "(7,)\n"
    )
    saved(weights, **{"conv3/bias": np.full(7, np.inf, np.float32)})
    result = run("evaluate", weights, *data)
    assert "the network gives scores that are not finite" in result.stderr
    result = run("evaluate", saved(weights), *data, "--preprocessing", "torchvision")
    assert "not the weights of this squeezenet: conv1/kernel has shape" in result.stderr
