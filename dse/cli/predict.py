"""`dse predict`: the best classes of single images."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dse.cli.evaluate import load
from dse.cli.options import ClassesFile, JsonFlag, PreprocessingName, WeightsFile
from dse.cli.tables import note, print_json, print_table
from dse.errors import DataError

if TYPE_CHECKING:
    from dse.data import ClassNames
    from dse.training.predict import Best

EXAMPLES = """
\b
Examples:
  dse predict squeezenet.safetensors shark.jpg --classes imagenet_classes.csv
  dse predict squeezenet.safetensors *.jpg --json
  dse predict shapes.dsz new-photos
"""

BATCH_COUNT = 32


def command(
    weights: WeightsFile,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE...",
            help="Image files, folders (all images below), or quoted patterns: 'new/**/*.jpg'.",
        ),
    ],
    classes_file: ClassesFile = None,
    preprocessing: PreprocessingName = None,
    upright: Annotated[
        bool,
        typer.Option(
            "--upright",
            help="Turn images as their EXIF data says (a phone's are often stored lying), also "
            "where the weights file's rule passes over it, as that of SqueezeNet does.",
        ),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show the five best classes of each image with their probabilities and scores.

    A probability is the softmax of the scores over all classes; a score is what the network
    gives before it; for SqueezeNet as published, the mean of conv10's map after its ReLU. A
    broken image is an error, told after the others.
    """
    from dse.data import weights_classes
    from dse.data.source import warnings_text
    from dse.training.predict import predict

    loaded = load(weights, preprocessing)
    if upright:
        loaded = loaded.applying_exif_orientation()
    classes = weights_classes(weights, loaded.metadata, classes_file)
    paths = find_images(images)
    warned: list[str] = []
    results = list(
        predict(
            loaded,
            paths,
            source=str(weights),
            batch_count=BATCH_COUNT,
            on_warning=warned.append,
        )
    )
    if warned:
        note(f"note: {warnings_text(warned, len(paths))}")
    found = [result for result in results if not isinstance(result, str)]
    broken = [result for result in results if isinstance(result, str)]
    if as_json:
        print_json(
            {
                "weights": str(weights),
                "images": [{"image": best.path, "best": _rows(best, classes)} for best in found],
                "broken": broken,
            }
        )
    elif found:
        _print(found, classes)
    if broken:
        raise DataError(f"cannot be decoded: {', '.join(broken)}")


def find_images(names: list[str]) -> list[str]:
    """The files that are named: folders and patterns stand for the images below them, sorted.

    Raises:
        DataError: a folder without images, or a pattern that no file has.
    """
    from dse.data.tree import walk_tree

    paths: list[str] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            found = [str(path / file.path) for file in walk_tree(path).images("")]
            if not found:
                raise DataError(f"{name} holds no images")
        elif glob.has_magic(name) and not path.exists():
            found = sorted(one for one in glob.glob(name, recursive=True) if Path(one).is_file())
            if not found:
                raise DataError(f"no file is named as {name} says")
        else:
            found = [name]
        paths += found
    return list(dict.fromkeys(paths))


def _rows(best: Best, classes: ClassNames) -> list[dict[str, Any]]:
    return [
        {
            "index": index,
            "id": classes.ids[index] if classes.ids else None,
            "class": classes.names[index],
            "probability": probability,
            "score": score,
        }
        for index, probability, score in zip(
            best.classes, best.probabilities, best.scores, strict=True
        )
    ]


def _print(found: list[Best], classes: ClassNames) -> None:
    """A image's name stands in the row of its best class."""
    print_table(
        ("probability", "score", "index", "id", "class", "image"),
        [
            (
                f"{row['probability']:.1%}",
                f"{row['score']:.2f}",
                str(row["index"]),
                row["id"],
                row["class"],
                best.path if rank == 0 else "",
            )
            for best in found
            for rank, row in enumerate(_rows(best, classes))
        ],
        right=("probability", "score", "index"),
    )
