from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dse
from dse.errors import ConfigError, DataError, StudyError, UsageError, WeightsError
from dse.weights.metadata import WeightsMetadata
from dse.weights.preprocessing import trained_preprocessing
from tests.data.trees import write_classes

TINY = {"base_e": 4, "incr_e": 2, "fire_modules": 2, "squeeze_ratio": 0.5}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def space() -> dse.SearchSpace:
    return dse.load_space("squeeze_ratio.yaml", {"base_e": 16, "incr_e": 16})


@pytest.fixture
def closed_form(fake_worker, fast_records, monkeypatch) -> None:
    monkeypatch.setenv("DSE_FAKE_CLOSED_FORM", "1")
    monkeypatch.setenv("DSE_FAKE_IMAGES", "359,359")


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """An untrained network for digits, in a file."""
    import jax

    digits = dse.prepare_data(dse.parse_data("digits"))
    candidate = dse.make_candidate("squeezenet", TINY)
    network = dse.build_network(dse.build(candidate, digits.input_shape, 10))
    metadata = WeightsMetadata(
        family="squeezenet",
        metaparameters=candidate.metaparameters,
        input_shape=digits.input_shape,
        classes=digits.classes,
        preprocessing=trained_preprocessing(digits.input_shape, digits.mean, digits.std),
        extra={"data_fingerprint": digits.fingerprint},
    )
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    dse.save_weights(path, *network.init(jax.random.key(0)), metadata)
    return path


def test_a_space_by_name_with_settings(space):
    assert space.name == "squeeze_ratio"
    assert space.domains["base_e"].values() == (16,)
    assert space.varying == ("squeeze_ratio",)
    with pytest.raises(ConfigError, match="base_e is 0"):
        dse.load_space("squeeze_ratio", {"base_e": 0})
    with pytest.raises(ConfigError, match="nowhere"):
        dse.load_space("nowhere.yaml")


def test_a_sweep_gives_what_the_command_writes(space, closed_form, tmp_path):
    events: list[object] = []
    study = dse.sweep(space, seeds=2, epochs=3, workers=1, on_event=events.append)
    assert study.directory == Path("results/squeeze_ratio-digits")
    assert repr(study) == "Study('squeeze_ratio-digits', 10 trials)"
    table = dse.read_trials(study.directory / "trials.csv")
    assert study.trials.equals(table)
    assert (study.trials["epochs"] == 3).all()
    front = study.front()
    assert front["params_count"].is_monotonic_increasing
    assert front["validation_accuracy_mean"].is_monotonic_increasing
    assert len(events) > 10
    assert study.plot("drawn.png").stat().st_size > 10_000
    assert Path("drawn.svg").exists()
    later: list[object] = []
    again = dse.sweep(space, seeds=2, epochs=3, workers=1, on_event=later.append)
    assert again.trials.equals(study.trials), "nothing is trained twice"
    assert len(later) == 1
    assert dse.load_study(study.directory).trials.equals(table)
    with pytest.raises(StudyError, match="another study"):
        dse.sweep(space, recipe={"learning_rate": 0.5}, epochs=3)
    with pytest.raises(StudyError, match="squeeze"):
        dse.load_study("results/squeeze_ratio-digitz")


@pytest.mark.parametrize("study", [dse.sweep, dse.search])
def test_duplicates_may_be_an_error(study, tmp_path, monkeypatch):
    monkeypatch.setenv("DSE_CACHE", str(tmp_path / "cache"))
    write_classes(tmp_path / "pets", {"cat": 4, "dog": 4})
    (tmp_path / "pets/dog/cat.png").write_bytes((tmp_path / "pets/cat/0001.png").read_bytes())
    with pytest.raises(
        dse.DseError, match=r"1 image is in several classes \(cat/0001\.png = dog/c"
    ):
        study("squeeze_ratio.yaml", f"folder:{tmp_path}/pets", duplicates="error")


def test_a_search_gives_its_answer(closed_form):
    study = dse.search(
        "squeezenet.yaml", reference=0.3, margin=0.1, budget="4trials", epochs=4, workers=1
    )
    assert study.answer is not None
    assert study.answer.margin == 0.1
    document = json.loads((study.directory / "answer.json").read_text())
    assert document["answer"]["candidate"] == study.answer.answer.candidate
    size = f"{study.answer.answer.params_count:,}"
    trials = f"{len(study.trials)} trials"
    assert repr(study) == f"Study('squeezenet-digits-search', {trials}, answer {size} parameters)"
    with pytest.raises(UsageError, match=r"--margin 1\.5"):
        dse.search("squeezenet.yaml", reference=0.3, margin=1.5)


def test_a_search_trains_its_reference_first(closed_form):
    study = dse.search(
        "squeezenet.yaml", reference="alexnet", budget="2trials", epochs=4, workers=1
    )
    (held,) = Path("results/references").iterdir()
    assert json.loads((held / "reference.json").read_text())["name"] == "alexnet"
    assert study.answer.reference.seeds_count == 3


def test_weights_are_evaluated_predicted_described_and_compressed(weights, tmp_path):
    found = dse.evaluate(weights, "digits")
    assert found.images_count == 359
    assert 0 <= found.top1_count <= 359
    for name in ("0", "7"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        image = Image.fromarray(np.full((8, 8), 20 * int(name), np.uint8))
        image.save(tmp_path / "photos" / name / "a.png")
    one, other = dse.predict(weights, "photos/7/a.png", tmp_path / "photos" / "0" / "a.png")
    assert (one.image, len(one.classes)) == ("photos/7/a.png", 5)
    assert list(other.scores) == sorted(other.scores, reverse=True)
    assert dse.predict(weights) == []
    on_folders = dse.evaluate(weights, "folder:photos")
    assert on_folders.images_count == 2
    assert on_folders.top1_count == (one.classes[0] == "7") + (other.classes[0] == "0")
    packed = dse.compress(weights, "tiny.dsz", lossless=True)
    assert packed.file_bytes == Path("tiny.dsz").stat().st_size
    assert repr(packed) == f"Compression('tiny.dsz', {packed.file_bytes:,} bytes)"
    assert dse.evaluate("tiny.dsz", "digits").top1_count == found.top1_count
    smaller = dse.compress(weights, "smaller.dsz", bits=3, density=0.5)
    assert smaller.file_bytes < packed.file_bytes
    assert dse.describe(weights).cost == dse.describe("tiny.dsz").cost
    with pytest.raises(WeightsError, match="max_loss"):
        dse.compress(weights, "x.dsz", max_loss=0.1)
    with pytest.raises(UsageError, match="not those that the weights were trained on"):
        dse.compress(weights, "x.dsz", data="digits", train_images=500)
    (tmp_path / "no.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"no\.png"):
        dse.predict(weights, "no.png")


def test_descriptions_are_the_published_counts():
    found = dse.describe("squeezenet_v1.0")
    assert found.cost.params_count == 1_248_424
    assert repr(found) == (
        "Description('squeezenet_v1.0', 227x227x3, 1,000 classes, 1,248,424 parameters, "
        f"{found.cost.macs:,} MACs)"
    )
    small = dse.make_candidate("squeezenet", TINY)
    assert dse.describe(small).input_shape == (32, 32, 3)
    assert dse.describe(small, classes_count=20).cost.params_count > (
        dse.describe(small).cost.params_count
    )
    with pytest.raises(ConfigError, match=r"did you mean squeezenet_v1\.1"):
        dse.describe("squeezenet_v1")


def test_a_room_that_bears_a_functions_name_is_that_function_too():
    code = (
        "import dse.search.plan, dse.compress.prune, dse; "
        "assert dse.search.plan.SearchOptions; "
        "print(dse.search.__name__, callable(dse.search), callable(dse.compress)); "
        "dse.compress('no.safetensors', 'no.dsz')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout == "dse.search True True\n"
    assert "WeightsError" in ended.stderr


def test_a_notebook_shows_the_front_and_names_as_text() -> None:
    published = Path(__file__).parents[1] / "results" / "squeezenet-cifar10-jpeg-search"
    shutil.copytree(published, "<b>x")
    shown = dse.load_study("<b>x")._repr_html_()
    assert shown.startswith("<p>Study(&#x27;&lt;b&gt;x&#x27;, 9 trials, answer 160,026 parameters)")
    assert shown.count("<tr") == 1 + 5, "titles, and the five candidates of `dse front`"
    assert "<td>5574896b1f3e</td>" in shown
    assert "<b>" not in shown
