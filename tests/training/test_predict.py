from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dse.architecture import make_candidate
from dse.data import ClassNames, Split, open_labelled, parse_data, prepare_data
from dse.errors import DataError, WeightsError
from dse.execution.artifacts import FolderStore
from dse.execution.job import Job, Setup
from dse.execution.worker import Evaluator
from dse.networks import LoadedNetwork, load_network
from dse.training import Recipe
from dse.training.predict import Best, Predictor, evaluate, predict
from dse.training.scaling import InputScaling
from dse.weights.metadata import WeightsMetadata
from dse.weights.preprocessing import PREPROCESSINGS, Preprocessing, trained_preprocessing
from tests.data.trees import random_image, write_classes, write_image
from tests.weights.published import CLASSES, FILE, IMAGES, slow_decode, slow_scores


@dataclass(frozen=True)
class PixelNetwork:
    """A network whose scores are the first pixels of the first channel, in order."""

    classes_count: int

    @property
    def architecture(self) -> Any:
        return SimpleNamespace(input_shape=(4, 4, 1), classes_count=self.classes_count, layers=())

    def abstract_params(self) -> dict[str, Any]:
        return {}

    abstract_statistics = abstract_params

    def apply(
        self, params: Any, statistics: Any, images: jax.Array, *, train: bool
    ) -> tuple[jax.Array, Any]:
        assert not train
        return images[..., 0].reshape(len(images), -1)[:, : self.classes_count], statistics


def pixels_as_scores(classes_count: int, *, std: float = 1.0) -> LoadedNetwork:
    """Images of 4x4x1; the score of class i is pixel i / (255 std)."""
    metadata = WeightsMetadata(
        family="squeezenet",
        metaparameters={},
        input_shape=(4, 4, 1),
        classes=tuple(f"c{index:02d}" for index in range(classes_count)),
        preprocessing=trained_preprocessing((4, 4, 1), [0.0], [std]),
    )
    return LoadedNetwork(PixelNetwork(classes_count), {}, {}, metadata)  # type: ignore[arg-type]


def ranks_by_sorting(pixels: Sequence[int]) -> list[int]:
    """Classes from the best to the worst; the lower index first among equal ones."""
    return sorted(range(len(pixels)), key=lambda index: (-pixels[index], index))


@pytest.mark.parametrize("batch_count", [1, 6, 100])
def test_counts_are_those_of_sorting(tmp_path: Path, batch_count: int) -> None:
    # Few levels of brightness: many scores are equal.
    rng = np.random.default_rng(0)
    top1 = top5 = 0
    for index in range(60):
        label = int(rng.integers(12))
        image = rng.integers(0, 4, (4, 4, 1)).astype(np.uint8)
        write_image(tmp_path / f"c{label:02d}" / f"{index}.png", image)
        order = ranks_by_sorting(image.reshape(-1)[:12].tolist())
        top1 += order[0] == label
        top5 += label in order[:5]
    loaded = pixels_as_scores(12)
    tree = open_labelled(tmp_path, ClassNames(loaded.metadata.classes, (), "x"))
    told: list[tuple[str, int, int]] = []
    found = evaluate(
        loaded,
        tree,
        source="w",
        batch_count=batch_count,
        on_progress=lambda *event: told.append(event),
    )
    assert (found.images_count, found.top1_count, found.top5_count) == (60, top1, top5)
    assert 0 < top1 < top5 < 60
    assert told[-1] == ("scoring images", 60, 60)
    assert found.images_per_s == pytest.approx(60 / found.wall_s)


def test_with_five_classes_the_best_five_say_nothing(tmp_path: Path) -> None:
    write_classes(tmp_path, {"c00": 1, "c03": 1}, shape=(4, 4, 1))
    loaded = pixels_as_scores(5)
    tree = open_labelled(tmp_path, ClassNames(loaded.metadata.classes, (), "x"))
    assert evaluate(loaded, tree, source="w", batch_count=2).top5_count is None


def test_broken_images_are_left_out_and_named(tmp_path: Path) -> None:
    image = np.arange(16, dtype=np.uint8).reshape(4, 4, 1)
    for name in ("c14", "c15"):
        write_image(tmp_path / name / "a.png", image)
    (tmp_path / "c14" / "b.png").write_bytes(b"")
    loaded = pixels_as_scores(16)
    tree = open_labelled(tmp_path, ClassNames(loaded.metadata.classes, (), "x"))
    found = evaluate(loaded, tree, source="w", batch_count=8)
    assert (found.images_count, found.top1_count, found.top5_count) == (2, 1, 2)
    assert found.broken == ("c14/b.png (cannot identify image file)",)
    for name in ("c14", "c15"):
        (tmp_path / name / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"none of 3 images of .* can be decoded; the first is c"):
        evaluate(loaded, tree, source="w", batch_count=8)


def test_the_best_classes_of_images_in_their_order(tmp_path: Path) -> None:
    images = [random_image(np.random.default_rng(seed), (4, 4, 1)) for seed in range(3)]
    paths = []
    for index, image in enumerate(images):
        paths.append(str(tmp_path / f"{index}.png"))
        write_image(Path(paths[-1]), image)
    paths.insert(1, str(tmp_path / "gone.png"))
    results = list(predict(pixels_as_scores(16), paths, source="w", batch_count=32))
    assert results[0] == f"{tmp_path}/gone.png (No such file or directory)"
    for result, image, path in zip(results[1:], images, [paths[0], *paths[2:]], strict=True):
        assert isinstance(result, Best)
        values = image.reshape(-1).tolist()
        order = ranks_by_sorting(values)[:5]
        assert (result.path, list(result.classes)) == (path, order)
        np.testing.assert_allclose(result.scores, [values[i] / 255 for i in order], rtol=1e-6)


def test_scores_that_are_not_finite_are_an_error() -> None:
    loaded = pixels_as_scores(16, std=1e-39)
    black, white = np.zeros((1, 4, 4, 1), np.uint8), np.full((1, 4, 4, 1), 255, np.uint8)
    split = Split(np.concatenate([white, black]), np.zeros(2, np.int32))
    with pytest.raises(WeightsError, match=r"a\.safetensors: the network gives scores that are n"):
        evaluate(loaded, split, source="a.safetensors", batch_count=3)


@pytest.mark.parametrize("best_count", [1, 5])
def test_what_fills_up_a_batch_is_not_looked_at(best_count: int) -> None:
    network, scaling = PixelNetwork(16), InputScaling((0.0,), (1.0,))
    predictor = Predictor(network, scaling, best_count=best_count, batch_count=5)  # type: ignore[arg-type]
    images = np.random.default_rng(0).integers(0, 255, (5, 4, 4, 1)).astype(np.uint8)
    whole, part = predictor.best({}, {}, images), predictor.best({}, {}, images[:2])
    assert whole.classes[:, 0].tolist() == [image.reshape(-1).argmax() for image in images]
    assert (whole.probabilities is None) == (best_count == 1)
    for a, b in zip(whole, part, strict=True):
        if a is not None:
            np.testing.assert_array_equal(a[:2], b)


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        (PREPROCESSINGS["caffe"], [30 - 104, 20 - 117, 255 - 123]),
        (
            PREPROCESSINGS["torchvision"],
            [(1 - 0.485) / 0.229, (20 / 255 - 0.456) / 0.224, (30 / 255 - 0.406) / 0.225],
        ),
    ],
)
def test_what_a_pixel_becomes(rule: Preprocessing, wanted: list[float]) -> None:
    image = jnp.array([[[[255, 20, 30]]]], jnp.uint8)
    np.testing.assert_allclose(InputScaling.of_rule(rule).apply(image)[0, 0, 0], wanted, rtol=1e-6)


def test_a_gray_pixel() -> None:
    rule = trained_preprocessing((1, 1, 1), [0.25], [0.5])
    pixel = InputScaling.of_rule(rule).apply(jnp.full((1, 1, 1, 1), 51, jnp.uint8))
    assert float(pixel[0, 0, 0, 0]) == pytest.approx((0.2 - 0.25) / 0.5)


def test_weights_of_a_study_reach_the_test_accuracy_that_was_measured(tmp_path: Path) -> None:
    # Images of several sizes, so that the rule for size is at work.
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 25)):
        for label, name in enumerate(("blue", "green", "red")):
            for index in range(count):
                shape = (int(rng.integers(16, 40)), int(rng.integers(16, 40)), 3)
                image = (random_image(rng, shape) // 2 + 40 * label).astype(np.uint8)
                write_image(tmp_path / "p" / part / name / f"{index:02d}.jpg", image)
    data = prepare_data(
        parse_data(f"folder:{tmp_path / 'p'}", image_size=16), cache_directory=tmp_path / "cache"
    )
    values = {"base_e": 4, "incr_e": 2, "fire_modules": 1, "squeeze_ratio": 0.5, "norm": "batch"}
    job = Job(make_candidate("squeezenet", values), 0)
    recipe = Recipe(epochs=2, batch_size=8, crop_px=0, flip=False)
    setup = Setup(data.fingerprint, recipe, keep_checkpoints=False)
    folders = {setup.data_key: data.directory, f"weights/{setup.key}": tmp_path / "weights"}
    evaluator = Evaluator(setup, FolderStore(folders))
    measured = evaluator.evaluate(job, lambda epochs, loss: None)

    loaded = load_network(tmp_path / "weights" / job.weights_name)
    tree = open_labelled(tmp_path / "p", ClassNames(loaded.metadata.classes, (), "weights"))
    found = evaluate(loaded, tree, source="w", batch_count=32)
    assert found.images_count == 75
    assert found.top1_count / 75 == measured.test_accuracy
    assert measured.test_accuracy is not None
    assert 1 / 3 <= measured.test_accuracy < 1
    assert json.loads(loaded.metadata.extra["recipe"])["epochs"] == 2

    # Weights that were removed or damaged since are made again by the same training.
    weights = tmp_path / "weights" / job.weights_name
    for content in (None, b"damaged"):
        weights.unlink()
        if content:
            weights.write_bytes(content)
        tested = evaluator.evaluate(replace(job, task="test"), lambda epochs, loss: None)
        assert tested.test_correct == measured.test_correct
        assert load_network(weights).metadata == loaded.metadata


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> LoadedNetwork:
    """SqueezeNet as its authors published it, through a weights file."""
    from typer.testing import CliRunner

    from dse.cli.main import app

    out = tmp_path_factory.mktemp("published") / "squeezenet.safetensors"
    arguments = ["import", str(FILE), "--format", "deep-compression", "--out", str(out)]
    result = CliRunner().invoke(app, [*arguments, "--classes", str(CLASSES)])
    assert result.exit_code == 0, result.stderr
    return load_network(out)


@pytest.mark.data
@pytest.mark.skipif(not IMAGES.is_dir(), reason=f"needs {IMAGES}")
def test_the_published_network_on_real_images(published: LoadedNetwork) -> None:
    metadata = published.metadata
    names = ClassNames(metadata.classes, metadata.class_ids, "weights")
    tree = open_labelled(IMAGES, names)
    found = evaluate(published, tree, source="w", batch_count=20)
    assert found.images_count == 100
    assert abs(found.top1_count - 68) <= 1
    assert found.top5_count is not None
    assert abs(found.top5_count - 84) <= 1
    assert found.broken_count == 0


@pytest.mark.data
@pytest.mark.skipif(not IMAGES.is_dir(), reason=f"needs {IMAGES}")
def test_the_published_networks_scores_are_those_of_an_independent_computation(
    published: LoadedNetwork,
) -> None:
    layers = slow_decode(FILE.read_bytes())
    paths = [next((IMAGES / wnid).iterdir()) for wnid in ("n01491361", "n01534433", "n02951585")]
    results = list(predict(published, list(map(str, paths)), source="w", batch_count=3))
    found = {}
    for path, best in zip(paths, results, strict=True):
        assert isinstance(best, Best)
        scores = slow_scores(layers, path)
        assert list(best.classes) == np.argsort(-scores, kind="stable")[:5].tolist()
        np.testing.assert_allclose(best.scores, scores[list(best.classes)], atol=1e-3)
        found[path.parent.name] = [*zip(best.classes[:3], best.scores[:3], strict=True)]
    # As published beside the data, to the decoder's precision.
    wanted = {
        "n01491361": [(3, 38.37), (2, 32.72), (4, 30.72)],
        "n01534433": [(13, 13.92), (79, 13.70), (85, 12.90)],
    }
    for wnid, rows in wanted.items():
        assert [index for index, _ in found[wnid]] == [index for index, _ in rows]
        scores = [score for _, score in found[wnid]]
        np.testing.assert_allclose(scores, [score for _, score in rows], atol=1.1e-2)


def test_a_rule_can_be_replaced() -> None:
    loaded = pixels_as_scores(3)
    rule = replace(loaded.metadata.preprocessing, upright=False)
    lying = replace(loaded, metadata=replace(loaded.metadata, preprocessing=rule))
    assert lying.applying_exif_orientation().metadata == loaded.metadata
