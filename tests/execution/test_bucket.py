"""Artifacts at an address: what one machine puts there, another has."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dse.errors import MachineError, StudyError
from dse.execution.artifacts import FolderStore
from dse.execution.bucket import BucketStore, check_bucket
from dse.execution.job import Ended, Setup
from dse.execution.node import Home, NodeWorker
from dse.study.description import current_versions
from tests.execution.test_serve import job
from tests.search import searching

pytest.importorskip("obstore", reason="obstore is missing: pip install 'dse[ray]'")

DATA, CHECKPOINT = "data/" + "e" * 32, "checkpoints/abc/x.safetensors"


def machine(url: str, folder: Path) -> BucketStore:
    (folder / "checkpoints").mkdir(parents=True)
    folders = {DATA: folder / "images", "checkpoints/abc": folder / "checkpoints"}
    return BucketStore(url, FolderStore(folders))


def exchange(url: str, tmp_path: Path) -> None:
    check_bucket(url)
    driver, node = machine(url, tmp_path / "driver"), machine(url, tmp_path / "node")
    images = tmp_path / "driver" / "images" / "train"
    images.mkdir(parents=True)
    (images / "x.npy").write_bytes(b"pixels" * 1000)
    assert node.fetch(DATA) is None
    driver.offer(DATA)
    copy = node.fetch(DATA)
    assert copy == tmp_path / "node" / "images"
    assert (copy / "train" / "x.npy").read_bytes() == b"pixels" * 1000

    driver.offer(CHECKPOINT)  # it has none
    assert node.fetch(CHECKPOINT) is None
    for content in (b"epoch 1", b"epoch 2"):
        with node.writing(CHECKPOINT) as path:
            path.write_bytes(content)
        found = driver.fetch(CHECKPOINT)  # its own copy is of an epoch before
        assert found is not None
        assert found.read_bytes() == content
    found.write_bytes(b"old")
    driver.offer(CHECKPOINT)
    assert node.fetch(CHECKPOINT).read_bytes() == b"epoch 2", "what is there is not replaced"
    with contextlib.suppress(KeyboardInterrupt), node.writing(CHECKPOINT) as path:
        path.write_bytes(b"half")
        raise KeyboardInterrupt
    assert driver.fetch(CHECKPOINT).read_bytes() == b"epoch 2"
    node.drop(CHECKPOINT)
    node.drop(CHECKPOINT)
    driver.here.drop(CHECKPOINT)
    assert driver.fetch(CHECKPOINT) is None


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_folder_that_all_machines_see(tmp_path, scheme):
    exchange(f"{scheme}{tmp_path}/shared/study", tmp_path)


def test_worker_elsewhere_takes_and_gives_by_the_address(tmp_path, fake_worker, monkeypatch):
    monkeypatch.setenv("DSE_CACHE", str(tmp_path / "cache"))
    setup, url = Setup("e" * 32, searching.RECIPE, scores_test=False), str(tmp_path / "shared")
    folders = {setup.data_key: tmp_path / "images"}
    for kind in ("weights", "checkpoints"):
        folders[f"{kind}/{setup.key}"] = tmp_path / kind
        (tmp_path / kind).mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "train.npy").write_bytes(b"pixels")
    home = Home(setup, folders, tmp_path, tmp_path / "none", "s", current_versions(), url)
    node = NodeWorker(home, 3)
    with pytest.raises(MachineError, match=rf"the images are gone from {url}"):
        node.lacks_inputs()
    BucketStore(url, FolderStore(folders)).offer(setup.data_key)
    assert not node.lacks_inputs(), "it has fetched them itself"
    assert (node._session.store.fetch(setup.data_key) / "train.npy").read_bytes() == b"pixels"
    said = list(node.run(job(0), 1.0, {}))
    assert [type(event) for event in said][-1] is Ended
    assert all(hasattr(event, "worker") for event in said), "nothing travels with the job"
    node.close()


def test_addresses_that_cannot_be_used_are_named(tmp_path, monkeypatch):
    with pytest.raises(MachineError, match=r"artifacts at ftp://x/y cannot .* Unable to recognise"):
        check_bucket("ftp://x/y")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MachineError, match=r"give --artifacts a folder that every machine sees"):
        check_bucket(str(tmp_path / "file" / "in"))
    store = machine(str(tmp_path / "shared"), tmp_path / "here")
    (tmp_path / "shared" / "data").mkdir(parents=True)
    (tmp_path / "shared" / f"{DATA}.tar").write_bytes(b"half of it")
    with pytest.raises(MachineError, match=r"cannot be read or written: .*"):
        store.fetch(DATA)
    assert not list((tmp_path / "here").glob("images*")), "nothing half is left"
    monkeypatch.setitem(sys.modules, "obstore.exceptions", None)
    with pytest.raises(StudyError, match=r"pip install 'dse\[ray\]'"):
        check_bucket(str(tmp_path))


@pytest.mark.slow
def test_bucket_of_a_server(tmp_path, monkeypatch):
    """`DSE_TEST_MOTO` is the command of moto's server: pip install 'moto[server,s3]'."""
    command = os.environ.get("DSE_TEST_MOTO")
    if not command:
        pytest.skip("set DSE_TEST_MOTO to the path of moto_server")
    import obstore
    from obstore.store import S3Store

    for name, value in {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT": "http://127.0.0.1:5557",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    with subprocess.Popen([command, "-p", "5557"], stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(100):
                try:
                    made = subprocess.run(
                        ["curl", "-sf", "-X", "PUT", "http://127.0.0.1:5557/dse-test"], check=True
                    )
                    assert made.returncode == 0
                    break
                except subprocess.CalledProcessError:
                    time.sleep(0.3)
            exchange("s3://dse-test/study", tmp_path)
            names = [one["path"] for batch in obstore.list(S3Store("dse-test")) for one in batch]
            assert names == [f"study/{DATA}.tar"]
            with pytest.raises(MachineError, match=r"s3://missing/x cannot be read or written"):
                check_bucket("s3://missing/x")
        finally:
            server.terminate()
