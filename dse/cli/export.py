"""`dse export`: a weights file in the format of another runtime."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from dse.cli.options import ClassesFile, JsonFlag, ResultsDirectory
from dse.cli.tables import note, print_facts, print_json
from dse.text import counted, percent, size_text

EXAMPLES = """
\b
Examples:
  dse export squeezenet.safetensors --out squeezenet.onnx
  dse export small.dsz --with-preprocessing --out small.tflite
  dse export small.dsz --int8 --calibrate folder:photos --with-preprocessing --out small.tflite
  dse export small.dsz --calibrate folder:photos --out network.c
  dse export w.safetensors --calibrate folder:photos --finetune 5 --out network.c
  dse export squeeze_ratio-digits/2aff3db7c041 --out digits.onnx
"""


def command(
    weights: Annotated[
        str,
        typer.Argument(
            metavar="WEIGHTS",
            help="A weights file, .safetensors or .dsz, or STUDY/CANDIDATE: its first seed.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The file to write, such as x.onnx.")
    ],
    format: Annotated[
        Literal["onnx", "tflite", "c", "pytorch", "stablehlo"] | None,
        typer.Option("--format", help="Default: as the suffix of --out says."),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Integer arithmetic; takes --calibrate.")
    ] = False,
    calibrate_on: Annotated[
        str | None,
        typer.Option(
            "--calibrate",
            metavar="SPEC",
            help="Images that int8 takes the range of every map from: folder:PATH (its train "
            "folder where it has one), digits, cifar10.",
        ),
    ] = None,
    calibration_count: Annotated[
        int,
        typer.Option("--calibration-images", metavar="N", min=1, help="How many of them."),
    ] = 128,
    method: Annotated[
        Literal["minmax", "percentile", "mse"],
        typer.Option(
            "--calibration",
            help="How ranges follow from the images: all values, all but one in 20,000 at each "
            "end, or the least squared error.",
        ),
    ] = "percentile",
    finetune_epochs: Annotated[
        int,
        typer.Option(
            "--finetune",
            metavar="EPOCHS",
            min=0,
            help="Train the network for int8 so long, on the images of --calibrate, which are "
            "those that it was trained on; written is what is more accurate in int8.",
        ),
    ] = 0,
    with_preprocessing: Annotated[
        bool,
        typer.Option(
            "--with-preprocessing",
            help="Let the file take uint8 pixels, RGB or gray, and scale them itself.",
        ),
    ] = False,
    compress_weights: Annotated[
        bool,
        typer.Option(
            "--compress-weights",
            help="C: hold kernels in codes where that is smaller, decoded as the program runs.",
        ),
    ] = False,
    classes_file: ClassesFile = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="NAME",
            help="Refuse, by how much, if the C program does not fit this chip of `dse describe`.",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file of --out if there is one.")
    ] = False,
    results: ResultsDirectory = Path("results"),
    as_json: JsonFlag = False,
) -> None:
    """Write a network for another runtime: ONNX, LiteRT (.tflite), C99, PyTorch or StableHLO.

    C is int8 and takes pixels: network.c, network.h and network_test.c, a program that runs one
    image and compares its scores. PyTorch is network.py and network.safetensors.
    """
    from dse.export.exporting import export_weights, find_weights

    found = export_weights(
        find_weights(weights, results),
        out,
        format=format,
        int8=int8,
        calibrate_on=calibrate_on,
        calibration_count=calibration_count,
        method=method,
        finetune_epochs=finetune_epochs,
        with_preprocessing=with_preprocessing,
        compress_weights=compress_weights,
        classes_file=classes_file,
        device=device,
        force=force,
        say=note,
    )
    if as_json:
        print_json({**asdict(found), "paths": [str(path) for path in found.paths]})
        return
    facts = {
        "network": found.candidate,
        "values": f"{found.params_count:,} in {found.precision}",
    }
    if found.calibration_count:
        facts["calibrated"] = f"{method}, {found.calibration_count} images"
    if tuned := found.finetuned:
        before, after = percent(tuned.before.int8), percent(tuned.after.int8)
        facts["fine-tuned"] = (
            f"{counted(tuned.epochs, 'epoch')}: int8 accuracy {after}, {before} before, on "
            f"{tuned.before.images_count:,} validation images (float32 "
            f"{percent(tuned.before.float32)}); "
            + ("written as fine-tuned" if tuned.is_kept else "no better, so written as it was")
        )
    if found.memory:
        constants, code = found.memory.constant_bytes, found.memory.code_bytes
        facts["flash"] = f"{constants:,} bytes and about {code:,} of code on a Cortex-M4"
        facts["RAM"] = f"{found.memory.ram_bytes:,} bytes, beside image and scores"
    sizes = [(path, path.stat().st_size) for path in found.paths]
    wrote = [f"{path}: {size:,} bytes ({size_text(size)})" for path, size in sizes]
    print_facts({**facts, "wrote": ", ".join(wrote)})
