from __future__ import annotations

import os
import threading

import pytest

from dse.files import locked, private_folder, replacing


def test_the_new_file_takes_the_old_ones_place(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_have_the_rights_that_the_umask_leaves(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "a.bin"), locked(tmp_path / ".lock", RuntimeError()):
            pass
    finally:
        os.umask(before)
    found = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert found == {"a.bin": mode, ".lock": mode}


def test_a_link_in_the_place_of_a_lock_or_file_is_not_written_through(tmp_path):
    victim, missing = tmp_path / "victim", tmp_path / "missing"
    victim.write_bytes(b"precious")
    for target in (victim, missing):
        link = tmp_path / "link"
        link.symlink_to(target)
        with (
            pytest.raises(OSError, match="is a symbolic link, which is not written through"),
            locked(link, RuntimeError()),
        ):
            pass
        with replacing(link) as file:
            file.write(b"new")
        assert not link.is_symlink()
        link.unlink()
    assert victim.read_bytes() == b"precious"
    assert not missing.exists()


def test_a_lock_file_keeps_its_content_and_is_waited_for(tmp_path):
    path = tmp_path / ".lock"
    path.write_bytes(b"somebody's notes")
    with locked(path, RuntimeError()):
        with pytest.raises(RuntimeError, match="held"), locked(path, RuntimeError("held")):
            pass
        waited: list[str] = []
        inner = threading.Thread(target=lambda: wait_for(path, waited))
        inner.start()
        while not waited:
            pass
    inner.join(10)
    assert waited == ["waits", "has it"]
    assert path.read_bytes() == b"somebody's notes"


def wait_for(path, waited) -> None:
    with locked(path, lambda: waited.append("waits")):
        waited.append("has it")


def test_a_private_folder_is_made_and_nobody_elses_can_be_written(tmp_path):
    path = tmp_path / "a" / "b"
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert private_folder(tmp_path / "link" / "b") == path
    assert {folder.stat().st_mode & 0o777 for folder in (path, path.parent)} == {0o700}
    for folder in (path, path.parent):
        for mode in (0o720, 0o702):
            folder.chmod(mode)
            with pytest.raises(PermissionError, match="can be written by others") as error:
                private_folder(path)
            assert error.value.filename == str(folder)
        folder.chmod(0o1777 if folder == path.parent else 0o755)
        private_folder(path)
    (path / "file").touch()
    with pytest.raises(NotADirectoryError):
        private_folder(path / "file")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give folders away")
def test_a_folder_in_somebody_elses_is_refused(tmp_path):
    path = private_folder(tmp_path / "a" / "b")
    for folder in (path, path.parent):
        os.chown(folder, 65534, 65534)
        with pytest.raises(PermissionError, match="belongs to another user"):
            private_folder(path)
        os.chown(folder, 0, 0)
    private_folder(path)


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_whatever_goes_wrong_the_old_file_stays_and_nothing_beside_it(tmp_path, failure):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def write() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise failure

    with pytest.raises((KeyboardInterrupt, OSError)):
        write()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]
