"""Small data on disk for the tests: image folders and an archive like CIFAR-10's."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from dse.data.cifar10 import Archive

Labelled = list[tuple[np.ndarray, str]]  # image (h, w, c) and class name


def random_image(rng: np.random.Generator, shape: tuple[int, ...] = (6, 6, 3)) -> np.ndarray:
    return rng.integers(0, 256, shape, dtype=np.uint8)


def write_image(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image.squeeze()).save(path)


def write_classes(
    root: Path,
    counts: Mapping[str, int],
    *,
    shape: tuple[int, ...] = (6, 6, 3),
    seed: int = 0,
    extension: str = "png",
) -> Labelled:
    """`counts[name]` random images below root/name; returns what was written."""
    rng = np.random.default_rng(seed)
    written: Labelled = []
    for name, count in counts.items():
        for index in range(count):
            image = random_image(rng, shape)
            write_image(root / name / f"{index:04d}.{extension}", image)
            written.append((image, name))
    return written


def cifar_files(records_count: int, seed: int = 0) -> tuple[dict[str, bytes], Labelled]:
    """Six batch files, labels going round 0 to 9, and what they hold."""
    rng = np.random.default_rng(seed)
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    classes = ["airplane", "automobile", "bird", "cat", "deer"]
    classes += ["dog", "frog", "horse", "ship", "truck"]
    files: dict[str, bytes] = {}
    held: Labelled = []
    for name in names:
        content = b""
        for index in range(records_count):
            image = random_image(rng, (32, 32, 3))
            content += bytes([index % 10]) + image.transpose(2, 0, 1).tobytes()
            held.append((image, classes[index % 10]))
        files[name] = content
    return files, held


def write_archive(path: Path, files: Mapping[str, bytes]) -> str:
    """A tar.gz as the official one is laid out; returns its MD5."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, content in {"readme.html": b"<html>", **files}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return hashlib.md5(path.read_bytes()).hexdigest()


def small_archive(
    md5: str, *, records_count: int = 20, url: str = "http://127.0.0.1:9/"
) -> Archive:
    return Archive(url=url, md5=md5, records_count=records_count)
