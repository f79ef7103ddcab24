"""Class files, folders of images, prepared images, and the texts of options."""

from __future__ import annotations

import contextlib
import os
import shutil
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from dse.cli.compress_options import make_plan
from dse.cli.describe import parse_input
from dse.data import describe_data, open_labelled, parse_data, prepare_data
from dse.data.annotations import read_labels
from dse.data.classes import ClassNames, read_classes
from dse.data.dataset import check_pixels, open_dataset
from dse.data.tree import File
from dse.deployment.link import parse_link
from dse.errors import DseError
from dse.search.budget import parse_budget
from dse.search.plan import check_study_name
from dse.training import Recipe, recipe_from_texts
from tests.fuzz.harness import Kind
from tests.fuzz.mutate import TOKENS, mutate_bytes, mutate_csv, mutate_json, mutate_text

_CLASSES = b"index,wnid,name\n" + b"".join(b"%d,n%08d,thing %d\n" % (n, n, n) for n in range(20))

_LABELS = b"file,label\n" + b"".join(b"%d.png,%d\n" % (n, n % 2) for n in range(20))
_TINY = b"".join(b"%d.png\tn%02d\t0\t%d\t44\t62\n" % (n, n % 3, n) for n in range(20))


def _tree(*parts: str) -> bytes:
    """Lines: the path of a file, and what it is."""
    lines = [f"{part}{name}/{n}.png" for part in parts for name in ("cat", "dog") for n in range(9)]
    return "\n".join(f"{line} image" for line in lines).encode()


_PIECES = (
    *("train", "test", "val", "valid", "validation", "Train", "training_set", "seg_train", "test1"),
    *("images", "labels", ".DS_Store", "__MACOSX", "__pycache__", "Thumbs.db", "cat", "dog", ".."),
    *("e\u0301", "\u00e9", "a b", "\x1b[31m", "<b>", "=1+1", "x" * 250, "\udcff", "plots", "-x"),
    *("0.png", "0.jpg", "0.txt", "0", "labels.csv", "val_annotations.txt", "image", "text"),
    *("link", "loop", "fifo", "folder", "empty", "nowhere"),
)


def _read_tree(path: Path) -> object:
    """Make the tree that the lines name, and look at it."""
    root = path.parent / "tree"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    image = path.parent / "image.png"
    if not image.exists():
        Image.fromarray(np.zeros((6, 6, 3), np.uint8)).save(image)
    for line in path.read_bytes().decode("utf-8", "surrogateescape").splitlines():
        name, _, kind = line.rpartition(" ")
        parts = [part for part in name.replace("\0", "").split("/") if part.strip(".")]
        at = root.joinpath(*parts)
        try:
            at.parent.mkdir(parents=True, exist_ok=True)
            if kind in ("link", "loop", "nowhere"):
                target = {"link": image, "loop": root, "nowhere": "nowhere"}[kind]
                at.symlink_to(target)
            elif kind == "fifo":
                os.mkfifo(at)
            elif kind == "folder":
                at.mkdir()
            elif kind == "image":
                os.link(image, at)
            else:
                at.write_text(kind, errors="surrogateescape")
        except (OSError, UnicodeError):  # there already, too long a name
            continue
    spec = parse_data(f"folder:{root}")
    with contextlib.suppress(DseError):
        open_labelled(root, ClassNames(("cat", "dog"), (), source="nothing"))
    return describe_data(spec, cache_directory=path.parent / "cache")


def _read_labels(path: Path) -> object:
    return read_labels(str(path), [File(f"{n}.png", 1, 1) for n in range(20)])


@cache
def _prepared() -> Path:
    """Digits, twenty of them, prepared."""
    cache = Path(os.environ["DSE_CACHE"])
    return prepare_data(parse_data("digits", train_limit=20), cache_directory=cache).directory


def _prepared_kind(name: str, mutate, *, long_count: int) -> Kind:
    def read(path: Path) -> object:
        folder = path.parent / "prepared"
        if not folder.exists():
            shutil.copytree(_prepared(), folder)
        (folder / name).write_bytes(path.read_bytes())
        dataset = open_dataset(folder)
        check_pixels(dataset)
        assert dataset.fingerprint == open_dataset(_prepared()).fingerprint
        return dataset

    return Kind(name, ((_prepared() / name).read_bytes(),), mutate, read, long_count=long_count)


def _mutate_npy(rng: Random, content: bytes) -> bytes:
    """The header, which is text, or any bytes."""
    if rng.random() < 0.3:
        return mutate_bytes(rng, content)
    return mutate_text(rng, content[:128]) + content[128:]


_OPTIONS = {
    "budget": (parse_budget, ("90s", "1.5h", "40trials", "500epochs")),
    "link": (parse_link, ("1Gbit", "2.5Gbit/s", "125MB")),
    "data": (parse_data, ("digits", "folder:x", "cifar10", "cifar10:/nowhere")),
    "input": (parse_input, ("227x227x3", "8x8x1")),
    "study": (check_study_name, ("squeeze_ratio-a", "photos")),
    "recipe": (lambda text: recipe_from_texts(Recipe(), [text]), ("epochs=3", "learning_rate=0.1")),
    "target": (
        lambda text: make_plan(False, text, None, None, (), "ans", None, front=False),
        ("470kB", "0.5MB"),
    ),
    "density": (
        lambda text: make_plan(False, None, None, None, (text,), "ans", None, front=False),
        ("0.33", "33%", "fire2/expand3x3=0.5"),
    ),
}


def _read_option(path: Path) -> object:
    name, _, text = path.read_bytes().decode("utf-8", "surrogateescape").partition(" ")
    return _OPTIONS[name][0](text) if name in _OPTIONS else None


def _mutate_option(rng: Random, content: bytes) -> bytes:
    name, _, text = content.partition(b" ")
    words = (*TOKENS, "9" * 60_000, "1e5", "٣", "𝟙", "½", "0x10", "1_0", "%", "k", "=", "s")
    return name + b" " + mutate_text(rng, text, words)


def kinds() -> tuple[Kind, ...]:
    """All of them; digits are prepared on the first call."""
    sound = tuple(f"{n} {text}".encode() for n, (_, texts) in _OPTIONS.items() for text in texts)
    return (
        Kind("classes.csv", (_CLASSES,), mutate_csv, read_classes, long_count=5_000),
        Kind("labels.csv", (_LABELS, _TINY), mutate_csv, _read_labels, long_count=5_000),
        Kind(
            "tree.txt",
            (_tree(""), _tree("train/", "test/"), _tree("train/", "val/", "test/")),
            lambda rng, content: mutate_text(rng, content, _PIECES),
            _read_tree,
            count=60,
            long_count=3_000,
        ),
        Kind("options.txt", sound, _mutate_option, _read_option, count=300, long_count=7_000),
        _prepared_kind("data.json", mutate_json, long_count=3_000),
        _prepared_kind("train_images.npy", _mutate_npy, long_count=2_000),
        _prepared_kind("train_labels.npy", _mutate_npy, long_count=2_000),
    )
