"""Real images, where they lie beside the repository."""

from __future__ import annotations

import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dse.data import parse_data, prepare_data
from dse.data.decode import Rule, decode

REAL = Path(__file__).parents[3] / "shared" / "data"
IMAGENET = REAL / "imagenet-sample"
CIFAR = REAL / "cifar10-jpeg.tar.xz"

pytestmark = pytest.mark.data


@pytest.mark.skipif(not IMAGENET.is_dir(), reason=f"needs {IMAGENET}")
def test_imagenet_images_of_all_sizes_become_one(tmp_path: Path) -> None:
    paths = sorted(IMAGENET.glob("*/*.JPEG"))
    for index, path in enumerate(paths):
        folder = tmp_path / "images" / ("even" if index % 2 == 0 else "odd")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / path.name).symlink_to(path)
    dataset = prepare_data(
        parse_data(f"folder:{tmp_path / 'images'}"), cache_directory=tmp_path / "cache"
    )
    assert dataset.input_shape == (64, 64, 3)
    assert dataset.warnings[0].startswith("images differ in size (")
    # Of 50 in a class, 20% are tested on and 10% validated on.
    assert [len(s) for s in (dataset.train, dataset.validation, dataset.test)] == [70, 10, 20]


@pytest.mark.skipif(not IMAGENET.is_dir(), reason=f"needs {IMAGENET}")
def test_decoding_at_a_smaller_scale_hardly_changes_real_images() -> None:
    rule = Rule((64, 64, 3), resized=True)
    differences = []
    for path in sorted(IMAGENET.glob("*/*.JPEG"))[:20]:
        with Image.open(path) as image:
            whole = image.convert("RGB")
        scale = 64 / min(whole.size)
        width, height = (max(64, round(side * scale)) for side in whole.size)
        resized = whole.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (width - 64) // 2, (height - 64) // 2
        cropped = np.asarray(resized.crop((left, top, left + 64, top + 64)), int)
        differences.append(np.abs(decode(path, rule) - cropped).mean())
    assert max(differences) < 4  # of 255 brightness levels


@pytest.mark.skipif(not CIFAR.is_file(), reason=f"needs {CIFAR}")
def test_a_part_of_cifar10_as_jpeg(tmp_path: Path) -> None:
    # Packed class by class; 5 of each in each part, taken from the stream as it goes by.
    taken: Counter[str] = Counter()
    with tarfile.open(CIFAR, "r|xz") as tar:
        for member in tar:
            folder, _, name = member.name.removeprefix("./").rpartition("/")
            if member.isreg() and taken[folder] < 20:
                taken[folder] += 1
                content = tar.extractfile(member)
                assert content is not None
                (tmp_path / "cifar" / folder).mkdir(parents=True, exist_ok=True)
                (tmp_path / "cifar" / folder / name).write_bytes(content.read())
    dataset = prepare_data(
        parse_data(f"folder:{tmp_path / 'cifar'}"), cache_directory=tmp_path / "cache"
    )
    assert dataset.input_shape == (32, 32, 3)
    assert dataset.warnings == ()
    assert np.bincount(dataset.train.labels).tolist() == [18] * 10
    assert np.bincount(dataset.test.labels).tolist() == [20] * 10
    # The means of all 50,000 are 0.4914, 0.4822, 0.4465; 180 images come near.
    np.testing.assert_allclose(dataset.mean, [0.4914, 0.4822, 0.4465], atol=0.04)
