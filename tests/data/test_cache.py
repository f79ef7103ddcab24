from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from dse.data import Dataset, open_dataset, parse_data, prepare_data
from dse.errors import DataError
from tests.data.trees import write_classes


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    write_classes(tmp_path / "pets", {"cat": 10, "dog": 10})
    return tmp_path / "pets"


@pytest.fixture(name="cache")
def _cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def start(root: Path, cache: Path) -> tuple[Dataset, bool]:
    """The dataset, and whether anything was decoded."""
    stages: list[str] = []
    dataset = prepare_data(
        parse_data(f"folder:{root}"),
        cache_directory=cache,
        progress=lambda stage, done, total: stages.append(stage),
    )
    return dataset, "decoding" in stages


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "a shorter file": lambda d: os.truncate(d / "train_images.npy", 200),
    "an empty file": lambda d: os.truncate(d / "test_images.npy", 0),
    "a lost file": lambda d: (d / "validation_labels.npy").unlink(),
    "a changed pixel": lambda d: flip_a_byte(d / "test_images.npy"),
    "a changed label": lambda d: flip_a_byte(d / "train_labels.npy"),
    "half a record": lambda d: os.truncate(d / "data.json", 100),
    "a lost record": lambda d: (d / "data.json").unlink(),
    "another version": lambda d: (d / "data.json").write_text('{"format_version": 0}'),
    "a record of something else": lambda d: (d / "data.json").write_text("[1, 2]"),
    "an empty record": lambda d: (d / "data.json").write_text('{"format_version": 1}'),
    "no folder at all": shutil.rmtree,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_made_again(damage: str, root: Path, cache: Path) -> None:
    first, _ = start(root, cache)
    pixels = np.array(first.train.images)
    DAMAGE[damage](first.directory)
    second, decoded = start(root, cache)
    assert decoded
    assert (second.fingerprint, second.directory) == (first.fingerprint, first.directory)
    np.testing.assert_array_equal(second.train.images, pixels)
    assert start(root, cache)[1] is False


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("a shorter file", r"train_images\.npy is damaged: .*and it is prepared again"),
        ("a lost file", r"validation_labels\.npy is damaged: .*No such file"),
        ("a changed label", r"train_labels\.npy is damaged: its labels are not those that were"),
        ("half a record", r"data\.json is damaged"),
        ("a lost record", r"holds no prepared data \(data\.json is missing\)"),
        ("another version", r"format version is 0, but this dse reads 1; delete"),
        ("an empty record", r"data\.json is damaged: it lacks or misstates 'input_shape'"),
        ("no folder at all", r"holds no prepared data"),
    ],
)
def test_a_worker_says_what_is_damaged(damage: str, message: str, root: Path, cache: Path) -> None:
    directory = start(root, cache)[0].directory
    DAMAGE[damage](directory)
    with pytest.raises(DataError, match=message):
        open_dataset(directory)


def test_a_record_whose_fingerprint_was_changed_is_refused(root: Path, cache: Path) -> None:
    directory = start(root, cache)[0].directory
    record = json.loads((directory / "data.json").read_text())
    record["classes"] = ["dog", "cat"]
    (directory / "data.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="the fingerprint does not match its content"):
        open_dataset(directory)


def test_no_flipped_bit_of_a_record_is_believed(root: Path, cache: Path) -> None:
    directory = start(root, cache)[0].directory
    path = directory / "data.json"
    sound = path.read_bytes()
    wanted = json.loads(sound)
    for at in range(0, len(sound), 7):
        changed = bytearray(sound)
        changed[at] ^= 1 << at % 7
        path.write_bytes(changed)
        with contextlib.suppress(DataError):
            open_dataset(directory)
            assert json.loads(changed) == wanted  # a blank


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("mean", [0.5, 0.5]), ("mean", [0.5, 0.5, float("nan")]), ("std", [0.1, 0.1, 0])),
        *(("input_shape", [6, 6]), ("input_shape", [6, 6, 2**62]), ("input_shape", [6.0, 6, 3])),
        *(("classes", ["cat", "cat"]), ("classes", []), ("name", 3), ("warnings", "none")),
        *(("splits", {}), ("splits", []), ("fingerprint", None), ("duplicates", {"train": -1})),
    ],
    ids=str,
)
def test_a_record_without_a_digest_is_checked_field_by_field(
    field: str, value: object, root: Path, cache: Path
) -> None:
    directory = start(root, cache)[0].directory
    path = directory / "data.json"
    record = json.loads(path.read_text())
    del record["digest"]  # as earlier versions wrote it
    path.write_text(json.dumps(record))
    assert open_dataset(directory).classes == ("cat", "dog")
    path.write_text(json.dumps({**record, field: value}))
    with pytest.raises(
        DataError, match=r"data\.json is damaged: ('mean' and|it lacks or misstates)"
    ):
        open_dataset(directory)


@pytest.mark.parametrize(
    "header",
    [
        *(
            "{'descr': '|u1', 'fortran_order': False, 'shape': (14, 6, 6, 2**99), }",
            "{",
            "1" * 9000,
        ),
        *("{'descr': '|O', 'fortran_order': False, 'shape': (14, 6, 6, 3), }", "__import__('os')"),
    ],
    ids=lambda text: text[:20],
)
def test_headers_of_arrays_are_compared_and_not_interpreted(
    header: str, root: Path, cache: Path
) -> None:
    directory = start(root, cache)[0].directory
    path = directory / "train_images.npy"
    content = path.read_bytes()
    head = content[:8] + len(header).to_bytes(2, "little") + header.encode()
    path.write_bytes(head + content[128:])
    with pytest.raises(
        DataError, match=r"train_images\.npy is damaged: it should hold uint8 \(14,"
    ):
        open_dataset(directory)
    # Blanks at the end of a header are nothing that matters: numpy's versions differ in them.
    blank = content[10:128].rstrip()
    path.write_bytes(content[:8] + len(blank).to_bytes(2, "little") + blank + content[128:])
    assert len(open_dataset(directory).train) == 14


def test_touched_files_are_decoded_again_but_are_the_same_data(root: Path, cache: Path) -> None:
    first, _ = start(root, cache)
    os.utime(root / "cat" / "0000.png", (1, 1))
    second, decoded = start(root, cache)
    assert decoded
    assert second.directory != first.directory
    assert second.fingerprint == first.fingerprint


def test_a_copy_elsewhere_has_the_same_fingerprint(root: Path, cache: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "copy" / "animals")
    here, there = start(root, cache)[0], start(tmp_path / "copy" / "animals", cache)[0]
    assert (here.name, there.name) == ("pets", "animals")
    assert here.fingerprint == there.fingerprint


def test_a_changed_image_a_new_one_or_another_class_name_are_other_data(
    root: Path, cache: Path
) -> None:
    fingerprints = [start(root, cache)[0].fingerprint]
    flipped = np.zeros((6, 6, 3), np.uint8)
    from PIL import Image

    Image.fromarray(flipped).save(root / "cat" / "0003.png")
    fingerprints.append(start(root, cache)[0].fingerprint)
    Image.fromarray(flipped).save(root / "cat" / "0010.png")
    fingerprints.append(start(root, cache)[0].fingerprint)
    (root / "cat").rename(root / "ass")
    fingerprints.append(start(root, cache)[0].fingerprint)
    assert len(set(fingerprints)) == 4


def test_one_process_decodes_while_the_other_waits(root: Path, cache: Path) -> None:
    stages: dict[str, list[str]] = {"first": [], "second": []}
    found: dict[str, Dataset] = {}
    at_work, waiting = threading.Event(), threading.Event()

    def run(name: str) -> None:
        def progress(stage: str, done: int, total: int) -> None:
            stages[name].append(stage)
            if name == "first" and stage == "decoding":
                at_work.set()
                assert waiting.wait(10)
            if stage == "waiting for another process":
                waiting.set()

        found[name] = prepare_data(
            parse_data(f"folder:{root}"), cache_directory=cache, progress=progress
        )

    first = threading.Thread(target=run, args=("first",))
    second = threading.Thread(target=run, args=("second",))
    first.start()
    assert at_work.wait(10)
    second.start()
    first.join()
    second.join()
    assert stages["second"] == ["waiting for another process"]
    assert found["first"].fingerprint == found["second"].fingerprint


KILLED = """
import os, sys
from pathlib import Path
from dse.data import parse_data, prepare_data

def progress(stage, done, total):
    if stage == "decoding":
        os.kill(os.getpid(), 9)

prepare_data(parse_data("folder:" + sys.argv[1]), cache_directory=Path(sys.argv[2]),
             progress=progress)
"""


def test_a_killed_start_leaves_nothing_in_the_way(root: Path, cache: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(root), str(cache)], check=False)
    assert done.returncode == -9
    assert len(list(cache.glob(".pets-*.tmp"))) == 1
    dataset, decoded = start(root, cache)
    assert decoded
    assert len(dataset.train) == 14
    assert list(cache.glob(".pets-*.tmp")) == []


SMALL_FILES_ONLY = """
import resource, sys
from pathlib import Path
from dse.data import parse_data, prepare_data
from dse.errors import DataError

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    prepare_data(parse_data("folder:" + sys.argv[1]), cache_directory=Path(sys.argv[2]))
except DataError as error:
    print(error)
"""


def test_a_write_that_fails_is_told_and_leaves_nothing(root: Path, cache: Path) -> None:
    program = [sys.executable, "-c", SMALL_FILES_ONLY, str(root), str(cache)]
    done = subprocess.run(program, check=True, capture_output=True, text=True)
    assert "cannot write prepared data into" in done.stdout
    assert "File too large; set DSE_CACHE to a folder that can be written" in done.stdout
    assert [path for path in cache.iterdir() if path.is_dir()] == []


def test_a_disk_that_is_too_small_is_seen_before_decoding(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(root)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(
        DataError, match=r"cache is full: .* takes 0 MB, 0 MB are free; make room, or set DSE_CACHE"
    ):
        start(root, cache)


def test_a_disk_that_fills_up_meanwhile(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"cache is full: the prepared data takes"):
        start(root, cache)
    assert [path for path in cache.iterdir() if path.is_dir()] == []


def test_a_cache_that_cannot_be_made(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/cache: Not a directory; set DSE_CACHE"):
        start(root, tmp_path / "file" / "cache")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_cache(root: Path, cache: Path) -> None:
    cache.mkdir()
    cache.chmod(0o500)
    with pytest.raises(DataError, match=r"cannot write prepared data .*Permission denied"):
        start(root, cache)


def test_a_prepared_cache_may_be_read_only(root: Path, cache: Path) -> None:
    first, _ = start(root, cache)
    for path in (*first.directory.iterdir(), first.directory, cache):
        path.chmod(0o555 if path.is_dir() else 0o444)
    second, decoded = start(root, cache)
    assert not decoded
    assert second.fingerprint == first.fingerprint
    cache.chmod(0o755)
    first.directory.chmod(0o755)
