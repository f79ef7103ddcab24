"""Whose the prepared images may be, how many are kept, and who may read them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dse.data import cache as policy
from dse.errors import DataError
from tests.data.test_cache import start
from tests.data.trees import write_classes


def pets(folder: Path) -> Path:
    write_classes(folder, {"cat": 10, "dog": 10})
    return folder


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_the_folder_is_its_users_alone(tmp_path):
    data, _ = start(pets(tmp_path / "pets"), tmp_path / "a" / "cache")
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "cache") == 0o700
    assert mode(data.directory) & 0o022 == 0


@pytest.mark.parametrize(("umask", "wanted"), [(0o022, 0o755), (0o002, 0o755), (0o077, 0o700)])
def test_prepared_images_can_be_read_where_folder_and_umask_let_others(tmp_path, umask, wanted):
    (tmp_path / "cache").mkdir(0o755)
    before = os.umask(umask)
    try:
        data, _ = start(pets(tmp_path / "pets"), tmp_path / "cache")
    finally:
        os.umask(before)
    assert mode(data.directory) == wanted
    assert mode(tmp_path / "cache") == 0o755


def test_a_folder_that_others_can_write_is_refused(tmp_path):
    root, cache = pets(tmp_path / "pets"), tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    with pytest.raises(DataError) as error:
        start(root, cache)
    assert str(error.value).startswith(f"the cache {cache} can be written by others; take that")
    assert [path for path in cache.iterdir() if path.is_dir()] == []
    cache.chmod(0o1777)  # as /tmp is: nobody can move what is another's
    start(root, cache)
    cache.chmod(0o777)
    with pytest.raises(DataError, match="can be written by others"):
        start(root, cache)  # what was prepared is not believed any more either


def test_prepared_images_that_others_could_write_are_made_again(tmp_path):
    root, cache = pets(tmp_path / "pets"), tmp_path / "cache"
    data, _ = start(root, cache)
    data.directory.chmod(0o757)
    again, decoded = start(root, cache)
    assert decoded
    assert again.fingerprint == data.fingerprint
    assert mode(again.directory) & 0o022 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_somebody_elses_are_used_only_where_they_are_shared(tmp_path, monkeypatch):
    root, theirs, ours = pets(tmp_path / "pets"), tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir(0o755)
    data, _ = start(root, theirs)
    for path in (*data.directory.iterdir(), data.directory, theirs):
        os.chown(path, 1000, 1000)
    monkeypatch.setenv("DSE_SHARED_CACHE", str(theirs))
    found, decoded = start(root, ours)
    assert (found.directory, decoded) == (data.directory, False)
    for place, changed in [(data.directory, 0o775), (theirs, 0o1777), (theirs, 0o757)]:
        place.chmod(changed)
        _, decoded = start(root, tmp_path / f"{place.name}-{changed}")
        assert decoded, "a third person could have written it"
        place.chmod(0o755)
    os.chown(data.directory, 1001, 1001)
    assert start(root, tmp_path / "of a third")[1]
    monkeypatch.delenv("DSE_SHARED_CACHE")
    with pytest.raises(DataError, match=r"belongs to another user; .*DSE_SHARED_CACHE"):
        start(root, theirs)


def test_what_was_used_least_recently_makes_room(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    roots = [pets(tmp_path / name) for name in ("first", "second", "third")]
    made = [start(root, cache)[0].directory for root in roots]
    size_gb = sum(path.stat().st_size for path in made[0].iterdir()) / 1e9
    foreign = cache / "projects" / "data.json"
    foreign.parent.mkdir()
    foreign.write_text("{}")
    for age, directory in enumerate((made[1], made[0], made[2])):
        os.utime(directory, (1e9 + age, 1e9 + age))
    monkeypatch.setenv("DSE_CACHE_GB", str(2.5 * size_gb))
    start(roots[2], cache)
    assert all(directory.exists() for directory in made), "all are used by this process"
    for descriptor in policy._in_use.values():
        os.close(descriptor)
    policy._in_use.clear()
    assert not start(roots[2], cache)[1]
    assert [directory.exists() for directory in made] == [True, False, True]
    assert foreign.exists()
    assert [path.name for path in cache.glob(".*.tmp")] == []
    assert start(roots[1], cache)[1], "it is decoded again"
    monkeypatch.setenv("DSE_CACHE_GB", "many")
    with pytest.raises(DataError, match="DSE_CACHE_GB is 'many', but must be a number of GB"):
        start(roots[1], cache)


def test_a_lock_that_is_a_link_is_not_written_through(tmp_path):
    root, cache = pets(tmp_path / "pets"), tmp_path / "cache"
    data, _ = start(root, cache)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    lock = cache / f".{data.directory.name}.lock"
    lock.unlink()
    lock.symlink_to(victim)
    (data.directory / "data.json").unlink()
    with pytest.raises(DataError, match="is a symbolic link, which is not written through"):
        start(root, cache)
    assert victim.read_bytes() == b"precious"
