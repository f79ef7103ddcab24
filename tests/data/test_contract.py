"""What every data source must do, run over every data source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from dse.data import Dataset, DataSpec, describe_data, open_dataset, parse_data, prepare_data
from dse.data import cifar10 as cifar10_module
from dse.data.packing import pack_folder
from dse.data.splits import SPLITS
from tests.data.trees import Labelled, cifar_files, small_archive, write_archive, write_classes


@dataclass(frozen=True)
class Case:
    """A source, what it holds, and how many images of each class go where."""

    text: str
    held: Labelled
    per_class: dict[str, tuple[int, int, int]]  # train, validation, test


def digits_case(root: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    held = [
        (np.floor(image * 255 / 16 + 0.5).astype(np.uint8).reshape(8, 8, 1), str(label))
        for image, label in zip(images, labels, strict=True)
    ]
    counts = Counter(name for _, name in held)
    fifth = {name: int(count * 0.2 + 0.5) for name, count in counts.items()}
    per_class = {n: (counts[n] - 2 * fifth[n], fifth[n], fifth[n]) for n in counts}
    return Case("digits", held, per_class)


def one_level_case(root: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    held = write_classes(root, {"ant": 20, "bee": 10, "cow": 3})
    per_class = {"ant": (14, 2, 4), "bee": (7, 1, 2), "cow": (1, 1, 1)}
    return Case(f"folder:{root}", held, per_class)


def pack_case(root: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    """The same as a pack whose pixels are mapped as they are."""
    case, out = one_level_case(root, monkeypatch), root.with_name(f"{root.name}.pack")
    pack_folder(parse_data(case.text), out, short_side=160, format="raw")
    return replace(case, text=f"pack:{out}")


def streamed_case(root: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setenv("DSE_STREAM_GB", "0")
    return train_val_test_case(root, monkeypatch)


def train_test_case(root: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    held = write_classes(root / "train", {"ant": 20, "bee": 14}, shape=(5, 7))
    held += write_classes(root / "test", {"ant": 3, "bee": 2}, shape=(5, 7), seed=1)
    held = [(image[:, :, None], name) for image, name in held]
    return Case(f"folder:{root}", held, {"ant": (18, 2, 3), "bee": (13, 1, 2)})


def train_val_test_case(root: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    held = write_classes(root / "train", {"ant": 5, "bee": 4})
    held += write_classes(root / "valid", {"ant": 2, "bee": 1}, seed=1)
    held += write_classes(root / "test", {"ant": 3, "bee": 2}, seed=2)
    return Case(f"folder:{root}", held, {"ant": (5, 2, 3), "bee": (4, 1, 2)})


def cifar_case(root: Path, monkeypatch: pytest.MonkeyPatch, *, form: str) -> Case:
    files, held = cifar_files(20)
    md5 = write_archive(root / "cifar-10-binary.tar.gz", files)
    monkeypatch.setattr(cifar10_module, "OFFICIAL", small_archive(md5))
    text = f"cifar10:{root}"
    if form == "unpacked":
        (root / "cifar-10-binary.tar.gz").unlink()
        (root / "cifar-10-batches-bin").mkdir()
        for name, content in files.items():
            (root / "cifar-10-batches-bin" / name).write_bytes(content)
    names = {name for _, name in held}
    return Case(text, held, dict.fromkeys(names, (9, 1, 2)))


CASES: dict[str, Callable[[Path, pytest.MonkeyPatch], Case]] = {
    "digits": digits_case,
    "folder, one level": one_level_case,
    "folder, train and test": train_test_case,
    "folder, train, valid and test": train_val_test_case,
    "pack, mapped": pack_case,
    "folder, streamed": streamed_case,
    "cifar10, archive": partial(cifar_case, form="archive"),
    "cifar10, unpacked": partial(cifar_case, form="unpacked"),
}


@pytest.fixture(params=CASES, name="case")
def _case(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    return CASES[request.param](tmp_path / "source", monkeypatch)


def contents(dataset: Dataset, *splits: str) -> Counter[tuple[bytes, str]]:
    return Counter(
        (image.tobytes(), dataset.classes[label])
        for split in splits
        for image, label in zip(
            getattr(dataset, split).images, getattr(dataset, split).labels, strict=True
        )
    )


class TestEverySource:
    def test_every_image_is_in_exactly_one_split(self, case: Case, tmp_path: Path) -> None:
        dataset = prepare_data(parse_data(case.text), cache_directory=tmp_path / "cache")
        held = Counter((image.tobytes(), name) for image, name in case.held)
        assert contents(dataset, *SPLITS) == held
        assert dataset.input_shape == case.held[0][0].shape
        for split in SPLITS:
            images = getattr(dataset, split).images[:]
            assert (images.dtype, images.shape[1:]) == (np.uint8, dataset.input_shape)
            assert getattr(dataset, split).labels.dtype == np.int32

    def test_every_class_has_its_share(self, case: Case, tmp_path: Path) -> None:
        dataset = prepare_data(parse_data(case.text), cache_directory=tmp_path / "cache")
        assert dataset.classes == tuple(sorted(case.per_class))
        for place, split in enumerate(SPLITS):
            counts = np.bincount(getattr(dataset, split).labels).tolist()
            assert counts == [case.per_class[name][place] for name in dataset.classes]

    def test_mean_and_deviation_are_those_of_the_training_split(
        self, case: Case, tmp_path: Path
    ) -> None:
        dataset = prepare_data(parse_data(case.text), cache_directory=tmp_path / "cache")
        scaled = dataset.train.images[:].astype(np.float64) / 255
        np.testing.assert_allclose(dataset.mean, scaled.mean((0, 1, 2)), rtol=1e-12)
        np.testing.assert_allclose(dataset.std, scaled.std((0, 1, 2)), rtol=1e-9)

    def test_a_second_start_decodes_nothing(self, case: Case, tmp_path: Path) -> None:
        spec = parse_data(case.text)
        first = prepare_data(spec, cache_directory=tmp_path / "cache")
        stages: list[str] = []
        second = prepare_data(
            spec,
            cache_directory=tmp_path / "cache",
            progress=lambda stage, done, total: stages.append(stage),
        )
        assert stages == []
        opened = open_dataset(first.directory)
        for other in (second, opened):
            assert other.directory == first.directory
            assert (other.fingerprint, other.mean, other.std) == (
                first.fingerprint,
                first.mean,
                first.std,
            )
            assert (other.name, other.classes, other.warnings) == (
                first.name,
                first.classes,
                first.warnings,
            )
            for split in SPLITS:
                np.testing.assert_array_equal(
                    getattr(other, split).images[:], getattr(first, split).images[:]
                )
                np.testing.assert_array_equal(
                    getattr(other, split).labels, getattr(first, split).labels
                )

    def test_arrays_cannot_be_written(self, case: Case, tmp_path: Path) -> None:
        dataset = prepare_data(parse_data(case.text), cache_directory=tmp_path / "cache")
        for split in SPLITS:
            with pytest.raises((ValueError, TypeError), match=r"read-only|item assignment"):
                getattr(dataset, split).images[0] = 0
            with pytest.raises(ValueError, match="read-only"):
                getattr(dataset, split).labels[0] = 0

    def test_the_fingerprint_does_not_depend_on_the_place(self, case: Case, tmp_path: Path) -> None:
        spec = parse_data(case.text)
        one = prepare_data(spec, cache_directory=tmp_path / "one")
        two = prepare_data(spec, cache_directory=tmp_path / "two")
        assert one.fingerprint == two.fingerprint
        assert len(one.fingerprint) == 32

    def test_another_seed_is_another_split_of_the_same_images(
        self, case: Case, tmp_path: Path
    ) -> None:
        spec = parse_data(case.text)
        given = (tmp_path / "source" / "valid").exists()
        one = prepare_data(spec, cache_directory=tmp_path / "cache")
        two = prepare_data(replace(spec, split_seed=1), cache_directory=tmp_path / "cache")
        assert (one.fingerprint == two.fingerprint) == given
        assert contents(one, *SPLITS) == contents(two, *SPLITS)

    def test_a_training_limit_keeps_part_of_the_training_split_only(
        self, case: Case, tmp_path: Path
    ) -> None:
        whole = prepare_data(parse_data(case.text), cache_directory=tmp_path / "cache")
        limit = len(whole.classes) + 1
        part = prepare_data(
            parse_data(case.text, train_limit=limit), cache_directory=tmp_path / "cache"
        )
        assert len(part.train) == limit
        assert set(part.train.labels) == set(range(len(whole.classes)))
        assert contents(part, "train") <= contents(whole, "train")
        for split in ("validation", "test"):
            assert contents(part, split) == contents(whole, split)
        assert part.fingerprint != whole.fingerprint

    def test_described_as_prepared(self, case: Case, tmp_path: Path) -> None:
        spec = parse_data(case.text)
        before = describe_data(spec, cache_directory=tmp_path / "cache")
        assert not (tmp_path / "cache").exists()
        dataset = prepare_data(spec, cache_directory=tmp_path / "cache")
        after = describe_data(spec, cache_directory=tmp_path / "cache")
        for described in (before, after):
            assert described.name == dataset.name
            assert described.input_shape == dataset.input_shape
            assert described.classes == dataset.classes


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/cifar-10-binary.tar.gz"
        finally:
            server.shutdown()
            thread.join()


def test_a_downloaded_cifar10_equals_the_one_by_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = cifar_case(tmp_path / "source", monkeypatch, form="archive")
    by_path = prepare_data(parse_data(case.text), cache_directory=tmp_path / "one")
    stages: list[tuple[str, int, int]] = []
    with serving(tmp_path / "source") as url:
        monkeypatch.setattr(cifar10_module, "OFFICIAL", replace(cifar10_module.OFFICIAL, url=url))
        fetched = prepare_data(
            parse_data("cifar10"),
            cache_directory=tmp_path / "two",
            progress=lambda *step: stages.append(step),
        )
    size = (tmp_path / "source" / "cifar-10-binary.tar.gz").stat().st_size
    assert fetched.fingerprint == by_path.fingerprint
    assert ("downloading bytes", size, size) in stages
    # The server is gone: what was prepared is found again without it.
    (tmp_path / "two" / "cifar-10-binary.tar.gz").unlink()
    again = prepare_data(parse_data("cifar10"), cache_directory=tmp_path / "two")
    assert again.fingerprint == by_path.fingerprint


def test_specs_of_the_shares_reach_the_split(tmp_path: Path) -> None:
    write_classes(tmp_path / "source", {"ant": 10, "bee": 20})
    spec = DataSpec(source="folder", path=tmp_path / "source", validation_share=0.3, test_share=0.5)
    dataset = prepare_data(spec, cache_directory=tmp_path / "cache")
    assert np.bincount(dataset.train.labels).tolist() == [2, 4]
    assert np.bincount(dataset.validation.labels).tolist() == [3, 6]
    assert np.bincount(dataset.test.labels).tolist() == [5, 10]
