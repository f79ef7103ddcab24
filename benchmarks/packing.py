"""Packs of large images: how fast they are made and read, what training waits for, and memory.

    python benchmarks/packing.py folder:photos --json results/benchmarks/packing.json

From the photos of the folder, JPEGs of 500x375 are made (`--images`, 20,000 unless told), then:

    pack      `dse pack --short-side 160`; beside it, Pillow decoding, cropping and resizing to 224
    read      images of the pack at 128 pixels, and by random resized crops, by one thread
    train     SqueezeNet v1.1 at 128 pixels from the pack, two workers of one thread: share of the
              time that each waits for images
    decoders  a small sweep from the pack with 1 and with 4 decoding threads: trials.csv the same
    memory    a pack of 1,281,167 entries that share the bytes of a few images (what it takes is the
              index): prepared, then one epoch of a small network at 16 pixels; peak of memory

Rates are per second of processor time of one core, so other work on the machine matters little.
Each part is written when it is done, and what the file has already is not measured again; photos
and pack stay in `--work`. `--only photos` makes the photos and measures nothing.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import resource
import shutil
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

    kinds = (".jpg", ".jpeg")
    paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in kinds)
    photos = [Image.open(path).convert("RGB") for path in paths[:200]]
    for number in range(count):
        draws = np.random.default_rng(number)
        name = folder / f"class{number % 10}" / f"{number:06}.jpg"
        if name.exists():
            continue
        image = photos[number % len(photos)]
        wide, tall = image.size
        share = draws.uniform(0.7, 1)
        left, top = draws.uniform(0, 1 - share, 2) * (wide, tall)
        box = (left, top, left + share * wide, top + share * tall)
        name.parent.mkdir(parents=True, exist_ok=True)
        temporary = name.with_suffix(".part")
        image.resize((500, 375), Image.Resampling.BICUBIC, box=box).save(
            temporary, "JPEG", quality=90
        )
        temporary.rename(name)


def rate_of(function: Callable[[Any], object], items: Any) -> float:
    """Calls per second of processor time."""
    started = time.process_time()
    for item in items:
        function(item)
    return len(items) / (time.process_time() - started)


def pack(work: Path, count: int) -> dict[str, Any]:
    """Packing, and Pillow beside it."""
    from PIL import Image

    from dse.data import parse_data
    from dse.data.packing import pack_folder

    def by_pillow(path: Path) -> None:
        image = Image.open(path).convert("RGB")
        np.asarray(image.resize((224, 224), Image.Resampling.BILINEAR, box=(62, 0, 437, 375)))

    files = sorted((work / "photos").rglob("*.jpg"))[:count]
    found: dict[str, Any] = {"images": len(files)}
    found["file_bytes"] = sum(path.stat().st_size for path in files) / len(files)
    found["pillow_224_per_core_s"] = rate_of(by_pillow, files[:: max(1, len(files) // 500)])
    out = pack_of(work)
    out.unlink(missing_ok=True)
    started = time.process_time(), time.perf_counter()
    pack_folder(parse_data(f"folder:{work / 'photos'}", image_size=160), out, short_side=160)
    found["pack_per_core_s"] = len(files) / (time.process_time() - started[0])
    found["pack_per_s"] = len(files) / (time.perf_counter() - started[1])
    found["packed_bytes"] = out.stat().st_size / len(files)
    return found


def pack_of(work: Path) -> Path:
    """Where the pack is."""
    return work / "photos.pack"


def read(work: Path) -> dict[str, Any]:
    """Images of the pack, by one thread."""
    from dse.data import parse_data, prepare_data
    from dse.data.batches import Streamed, take

    os.environ |= {"DSE_STREAM_GB": "0", "DSE_DECODERS": "1"}
    spec = parse_data(f"pack:{pack_of(work)}", image_size=128)
    started = time.perf_counter()
    images = prepare_data(spec, cache_directory=work / "cache" / "data").train.images
    found = {"first_look_s": time.perf_counter() - started}
    assert isinstance(images, Streamed)
    blocks = np.arange(min(2048, len(images)) // 64 * 64).reshape(-1, 64)
    found["read_128_per_core_s"] = 64 * rate_of(lambda at: images[at], blocks)
    found["crop_128_per_core_s"] = 64 * rate_of(lambda at: take(images, at, (0,), 0.08), blocks)
    return found


def dse(work: Path, *words: str, decoders: int = 2) -> float:
    """Run a command on the pack, streamed, without what an earlier run left; seconds."""
    results = work / "results"
    shutil.rmtree(results, ignore_errors=True)
    environment = {name: text for name, text in os.environ.items() if name != "PJRT_NPROC"}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "DSE_STREAM_GB": "0",
        "DSE_DECODERS": str(decoders),
        "DSE_CACHE": str(work / "cache"),
    }
    options = ["--data", f"pack:{pack_of(work)}", "--results", str(results)]
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "dse.cli.main", *words, *options],
        check=True,
        env=environment,
        cwd=work,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - started


def train(work: Path) -> dict[str, Any]:
    """SqueezeNet v1.1 on two cores; what its workers' logs say of waiting."""
    recipe = ["batch_size=32", "learning_rate=0.01", "crop_px=0", "crop_area=0.08"]
    seconds = dse(
        work,
        *("train", "squeezenet_v1.1", "--image-size", "128", "--train-images", "3000"),
        *("--epochs", "1", "--seeds", "2", "--workers", "2", "--study", "waiting"),
        *[word for text in recipe for word in ("--recipe", text)],
    )
    folder = work / "results" / "waiting"
    said = "".join(path.read_text() for path in sorted((folder / "logs").glob("*.log")))
    with (folder / "trials.csv").open(newline="") as file:
        rates = [float(row["images_per_s"]) for row in csv.DictReader(file)]
    return {
        "seconds": seconds,
        "images_per_s": rates,
        "waiting_share": [
            float(x) / 100 for x in re.findall(r"([\d.]+)% of training waited", said)
        ],
    }


def decoders(work: Path) -> dict[str, Any]:
    """The table of a small sweep with 1 and 4 threads, without what is measured in seconds."""
    tables = []
    for count in (1, 4):
        dse(
            work,
            *("sweep", "squeeze_ratio.yaml", "--image-size", "32", "--train-images", "1000"),
            *("--epochs", "1", "--recipe", "crop_area=0.08", "--recipe", "crop_px=0"),
            *("--study", "decoders", "--plots", str(work / "plots")),
            decoders=count,
        )
        with (work / "results" / "decoders" / "trials.csv").open(newline="") as file:
            tables.append(
                [{k: v for k, v in r.items() if k not in OF_TIME} for r in csv.DictReader(file)]
            )
    return {"rows": len(tables[0]), "columns": len(tables[0][0]), "same": tables[0] == tables[1]}


OF_TIME = ("train_s", "compile_s", "images_per_s", "ended_s")
"""Columns of trials.csv that differ from run to run."""


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


PARTS = ("photos", "pack", "read", "train", "decoders", "memory")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", default="")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--entries", type=int, default=IMAGENET_COUNT)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir(), "dse-packing"))
    parser.add_argument("--only", action="append", choices=PARTS)
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
    if not options.only:  # each in a process of its own: peaks of memory are a process's
        for part in PARTS:
            subprocess.run([sys.executable, *sys.argv, "--only", part], check=True)
        return
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    source = Path(options.data.removeprefix("folder:"))
    document: dict[str, Any] = {}
    if options.json and options.json.exists():
        document = json.loads(options.json.read_text())
    command = command_line().partition(" --only")[0]
    document |= {"command": command, "machine": machine("jax", "pillow", "simplejpeg")}
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "pack": lambda: pack(work, options.images),
        "read": lambda: read(work),
        "train": lambda: train(work),
        "decoders": lambda: decoders(work),
        "memory": lambda: memory(options.entries),
    }
    for part in options.only:
        if part == "photos":
            make_photos(source, work / "photos", options.images)
        elif part not in document:
            document[part] = measures[part]()
            print(part, document[part], flush=True)
            if options.json:
                write_json(options.json, document)


if __name__ == "__main__":
    main()
