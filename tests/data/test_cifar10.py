from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from dse.data import Dataset, parse_data, prepare_data
from dse.data import cifar10 as cifar10_module
from dse.data.cifar10 import OFFICIAL, parse_records
from dse.errors import ChecksumError, DataError
from tests.data.trees import cifar_files, small_archive, write_archive


@pytest.fixture(name="archive")
def _archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "source" / "cifar-10-binary.tar.gz"
    md5 = write_archive(path, cifar_files(20)[0])
    monkeypatch.setattr(cifar10_module, "OFFICIAL", small_archive(md5))
    return path


def prepared(tmp_path: Path, path: Path) -> Dataset:
    return prepare_data(parse_data(f"cifar10:{path}"), cache_directory=tmp_path / "cache")


def accept(path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    md5 = write_archive(path, files)
    monkeypatch.setattr(cifar10_module, "OFFICIAL", small_archive(md5))


def test_the_published_archive() -> None:
    assert OFFICIAL.url == "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    assert OFFICIAL.md5 == "c32a1d4ab5d03f1284b67883e8d87530"
    assert (OFFICIAL.records_count, len(OFFICIAL.train_files)) == (10_000, 5)


def test_a_record_is_the_label_then_red_green_and_blue_planes() -> None:
    red, green, blue = bytes(range(32)) * 32, b"\x07" * 1024, bytes([9]) * 1023 + b"\xff"
    images, labels = parse_records(b"\x03" + red + green + blue, records_count=1, where="x")
    assert labels.tolist() == [3]
    assert images[0, 5].tolist() == [[column, 7, 9] for column in range(32)]  # row by row
    assert images[0, 31, 31].tolist() == [31, 7, 255]


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_file_of_another_length_is_refused(difference: int) -> None:
    content = bytes(2 * 3073 + difference)
    with pytest.raises(
        DataError,
        match=rf"b\.bin has {6146 + difference} bytes, but 2 records of 3073 bytes are 6146",
    ):
        parse_records(content, records_count=2, where="b.bin")


def test_a_label_above_nine_is_refused() -> None:
    content = bytes(3073) + b"\x0a" + bytes(3072)
    with pytest.raises(DataError, match=r"b\.bin: record 1 has label 10, but labels are 0 to 9"):
        parse_records(content, records_count=2, where="b.bin")


def test_the_test_batch_is_the_test_split(tmp_path: Path, archive: Path) -> None:
    _, held = cifar_files(20)
    dataset = prepared(tmp_path, archive)
    np.testing.assert_array_equal(dataset.test.images, np.stack([p for p, _ in held[100:]]))
    assert dataset.warnings == ()


def test_archive_its_folder_and_the_unpacked_files_are_the_same_data(
    tmp_path: Path, archive: Path
) -> None:
    shutil.unpack_archive(archive, tmp_path / "unpacked", filter="data")
    places = [
        archive,
        archive.parent,
        tmp_path / "unpacked",
        tmp_path / "unpacked" / "cifar-10-batches-bin",
    ]
    found = [prepared(tmp_path, place) for place in places]
    assert len({dataset.fingerprint for dataset in found}) == 1
    assert "its checksum cannot be compared" in found[2].warnings[0]


def test_another_archive_is_refused(tmp_path: Path, archive: Path) -> None:
    content = archive.read_bytes()
    archive.write_bytes(content[:-1])
    with pytest.raises(ChecksumError) as caught:
        prepared(tmp_path, archive)
    message = str(caught.value)
    assert message.startswith(f"{archive} is not the published CIFAR-10 archive: its MD5 is ")
    assert f"({len(content) - 1} bytes found); delete it and fetch http" in message


def test_an_archive_that_lacks_a_file(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, _ = cifar_files(20)
    del files["data_batch_4.bin"]
    accept(archive, monkeypatch, files)
    with pytest.raises(DataError, match=r"tar\.gz lacks data_batch_4\.bin; fetch"):
        prepared(tmp_path, archive)


def test_an_archive_with_a_file_too_long(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, _ = cifar_files(20)
    files["test_batch.bin"] += bytes(10_000)
    accept(archive, monkeypatch, files)
    with pytest.raises(DataError, match=r"test_batch\.bin has 61461 bytes, but 20 records"):
        prepared(tmp_path, archive)


def test_what_is_no_archive_but_has_the_checksum(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.write_bytes(b"not packed")
    md5 = "a73fb4d7e3f7dba5eb7a8a0ce4f2d0c4"
    monkeypatch.setattr(cifar10_module, "file_md5", lambda path, progress: md5)
    monkeypatch.setattr(cifar10_module, "OFFICIAL", small_archive(md5))
    with pytest.raises(DataError, match=r"cannot be read as a \.tar\.gz archive"):
        prepared(tmp_path, archive)


def test_paths_that_hold_no_cifar10(tmp_path: Path, archive: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere does not exist; cifar10:PATH needs cifar-10-bin"):
        prepared(tmp_path, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        DataError, match=r"empty holds no CIFAR-10; cifar10:PATH needs cifar-10-bin"
    ):
        prepared(tmp_path, tmp_path / "empty")
    (tmp_path / "empty" / "test_batch.bin").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty lacks data_batch_1\.bin, .* unpack the archive"):
        prepared(tmp_path, tmp_path / "empty")


def test_without_a_network_the_message_says_where_to_put_the_file(
    tmp_path: Path, archive: Path
) -> None:
    # Port 9 of this machine: nobody listens.
    with pytest.raises(DataError) as caught:
        prepare_data(parse_data("cifar10"), cache_directory=tmp_path / "cache")
    place = tmp_path / "cache" / "cifar-10-binary.tar.gz"
    assert str(caught.value).startswith("cannot download http://127.0.0.1:9/: ")
    assert f"put it at {place}, or name its place: cifar10:PATH" in str(caught.value)
    assert list((tmp_path / "cache").glob("*cifar-10-binary*")) == []
    # And that is where it is found.
    shutil.copy(archive, place)
    dataset = prepare_data(parse_data("cifar10"), cache_directory=tmp_path / "cache")
    assert len(dataset.test) == 20
