"""Packs of large images: how fast they are made and read, what training waits for, and memory.

    python benchmarks/packing.py folder:photos --json results/benchmarks/packing.json

From the photos of the folder, JPEGs of 500x375 are made (`--images`, 20,000 unless told), then:

    pack      `dse pack --short-side 160`; beside it, Pillow decoding, cropping and resizing to 224
    read      images of the pack at 128 pixels, with random resized crops, by one thread
    train     SqueezeNet v1.1 at 128 pixels from the pack, one process of one thread: share of the
              time that it waits for images
    memory    a pack of 1,281,167 entries that share the bytes of a few images (what it takes is the
              index): prepared, then one epoch of a small network at 16 pixels; peak of memory

Rates are per second of processor time of one core, so other work on the machine matters little.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

IMAGENET_COUNT = 1_281_167


def make_photos(source: Path, folder: Path, count: int) -> None:
    """JPEGs of 500x375 in ten classes, each a random part of a photo of the source."""
    from PIL import Image

    paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    draws = np.random.default_rng(0)
    for number in range(count):
        image = Image.open(paths[number % len(paths)]).convert("RGB")
        wide, tall = image.size
        share = draws.uniform(0.7, 1)
        left, top = draws.uniform(0, 1 - share, 2) * (wide, tall)
        box = (left, top, left + share * wide, top + share * tall)
        name = folder / f"class{number % 10}" / f"{number:06}.jpg"
        name.parent.mkdir(parents=True, exist_ok=True)
        image.resize((500, 375), Image.Resampling.BICUBIC, box=box).save(name, quality=90)


def rate_of(function: Callable[[Any], object], items: Any) -> float:
    """Calls per second of processor time."""
    started = time.process_time()
    for item in items:
        function(item)
    return len(items) / (time.process_time() - started)


def pack_and_train(source: Path, count: int) -> dict[str, Any]:
    """The first three parts."""
    from PIL import Image

    from dse.architecture import PRESETS, build
    from dse.data import parse_data, prepare_data
    from dse.data.batches import Streamed, take
    from dse.data.packing import pack_folder
    from dse.training import Recipe
    from dse.training.trainer import Seed, Trainer

    found: dict[str, Any] = {"images": count}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make_photos(source, root / "photos", count)
        files = sorted((root / "photos").rglob("*.jpg"))

        def by_pillow(path: Path) -> None:
            image = Image.open(path).convert("RGB")
            np.asarray(image.resize((224, 224), Image.Resampling.BILINEAR, box=(62, 0, 437, 375)))

        found["file_bytes"] = sum(path.stat().st_size for path in files) / count
        found["pillow_224_per_core_s"] = rate_of(by_pillow, files[:500])
        started = time.process_time(), time.perf_counter()
        out = root / "photos.pack"
        pack_folder(parse_data(f"folder:{root / 'photos'}", image_size=160), out, short_side=160)
        found["pack_per_core_s"] = count / (time.process_time() - started[0])
        found["pack_per_s"] = count / (time.perf_counter() - started[1])
        found["packed_bytes"] = out.stat().st_size / count
        os.environ |= {"DSE_STREAM_GB": "0", "DSE_DECODERS": "1"}
        data = prepare_data(
            parse_data(f"pack:{out}", image_size=128), cache_directory=root / "cache"
        )
        images = data.train.images
        assert isinstance(images, Streamed)
        blocks = np.arange(min(2048, len(images)) // 64 * 64).reshape(-1, 64)
        found["read_128_per_core_s"] = 64 * rate_of(lambda at: images[at], blocks)
        found["crop_128_per_core_s"] = 64 * rate_of(lambda at: take(images, at, (0,), 0.08), blocks)
        network = build(PRESETS["squeezenet_v1.1"].candidate, data.input_shape, len(data.classes))
        recipe = Recipe(batch_size=32, epochs=1, learning_rate=0.01, crop_px=0, crop_area=0.08)
        some = np.arange(min(len(data.train), 1024))
        fewer = Streamed(images.decode, images.load, images.places[some], images.one_shape)
        from dataclasses import replace

        from dse.data import Split

        data = replace(data, train=Split(fewer, data.train.labels[some]))
        trainer = Trainer(network, data, recipe)
        (run,) = trainer.epochs(trainer.begin(Seed()), Seed(), 1)
        found |= {
            "train_images_per_s": len(some) / run.train_s,
            "waiting_share": run.wait_s / run.train_s,
        }
    return found


def write_large_pack(path: Path, count: int) -> None:
    """Entries of as many images; all but a few share their bytes, and no two their names."""
    import io
    import zlib

    from PIL import Image

    from dse.data.packfile import HEADER_BYTES, header, index_and_footer, names_of

    draws = np.random.default_rng(0)
    places = np.arange(count) % 1000
    stored, offsets = [], []
    at = HEADER_BYTES
    for _ in range(1000):
        data = io.BytesIO()
        Image.fromarray(draws.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(data, "JPEG")
        stored.append(data.getvalue())
        offsets.append(at)
        at += len(stored[-1])
    names, ends = names_of([f"class{n % 1000:03}/{n:07}.jpg" for n in range(count)])
    columns = {
        "offset": np.array(offsets)[places],
        "size": np.array([len(data) for data in stored])[places],
        "height": np.full(count, 16),
        "width": np.full(count, 16),
        "label": places,
        "checksum": np.array([zlib.crc32(data) for data in stored])[places],
        "name_end": ends,
    }
    parts = {"validation": 10_000, "test": 10_000}
    about = {
        "name": "large",
        "classes": [f"class{n:03}" for n in range(1000)],
        "counts": {"train": count - 20_000, **parts},
        "channels": 3,
        "format": "jpeg",
        "short_side": 16,
    }
    path.write_bytes(header() + b"".join(stored) + index_and_footer(about, columns, names, at))


def memory(count: int) -> dict[str, Any]:
    """The last part, in this process."""
    from dse.architecture import build, make_candidate
    from dse.data import parse_data, prepare_data
    from dse.training import Recipe
    from dse.training.trainer import Seed, Trainer

    def peak_bytes() -> int:
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    os.environ["DSE_STREAM_GB"] = "0"
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "large.pack"
        subprocess.run([sys.executable, __file__, "--write", str(path), str(count)], check=True)
        started = time.perf_counter()
        data = prepare_data(parse_data(f"pack:{path}"), cache_directory=Path(name) / "cache")
        found = {"prepare_s": time.perf_counter() - started, "prepare_peak_bytes": peak_bytes()}
        small = {"base_e": 4, "incr_e": 4, "fire_modules": 1, "norm": "batch"}
        network = build(make_candidate("squeezenet", small), data.input_shape, len(data.classes))
        trainer = Trainer(network, data, Recipe(batch_size=1024, epochs=1, crop_px=0))
        (run,) = trainer.epochs(trainer.begin(Seed()), Seed(), 1)
        epoch = {"train_s": run.train_s, "wait_s": run.wait_s, "peak_bytes": peak_bytes()}
        return {"entries": count, **found, **epoch}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", default="")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--entries", type=int, default=IMAGENET_COUNT)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write_large_pack(Path(options.write[0]), int(options.write[1]))
        return
    from benchmarks.machine import command_line, machine, write_json
    from dse.execution.local import worker_environment

    if os.environ.get("PJRT_NPROC") != "1":  # as a worker: XLA reads it when it starts
        environment = worker_environment(0) | {"PYTHONPATH": str(ROOT)}
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    document = {"command": command_line(), "machine": machine("jax", "pillow", "simplejpeg")}
    if options.data:
        source = Path(options.data.removeprefix("folder:"))
        document["packing"] = pack_and_train(source, options.images)
        print(document["packing"], flush=True)
    if options.entries:
        document["memory"] = memory(options.entries)
        print(document["memory"], flush=True)
    if options.json:
        write_json(options.json, document)


if __name__ == "__main__":
    main()
