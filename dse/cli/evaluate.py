"""`dse evaluate`: the accuracy of a weights file on images of its classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dse.cli.options import ClassesFile, JsonFlag, PreprocessingName, WeightsFile
from dse.cli.tables import note, print_facts, print_json
from dse.errors import DataError, UsageError
from dse.text import percent, shape_text, some_of

if TYPE_CHECKING:
    from dse.data import ClassNames, DataSpec
    from dse.networks import LoadedNetwork
    from dse.training.predict import Evaluation

EXAMPLES = """
\b
Examples:
  dse evaluate squeezenet.safetensors --data folder:imagenet/val --classes imagenet_classes.csv
  dse evaluate results/digits-sweep/weights/2aff3db7c041-seed0.safetensors --data folder:images
"""


def command(
    weights: WeightsFile,
    data: Annotated[
        str,
        typer.Option(
            "--data", metavar="SPEC", help="folder:PATH (its test folder where it has one), digits."
        ),
    ],
    classes_file: ClassesFile = None,
    batch_count: Annotated[
        int, typer.Option("--batch", metavar="N", min=1, help="Images scored at once.")
    ] = 32,
    preprocessing: PreprocessingName = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure top-1 and top-5 accuracy on class folders, or on a data source's test images.

    Folders bear the name or id of a class, by the weights file or by --classes; not every
    class needs a folder. Of a folder without test/ every image is scored, also those that
    were trained on. Broken images are named and left out.
    """
    from dse.data import parse_data, weights_classes

    spec = parse_data(data)
    loaded = load(weights, preprocessing)
    if spec.source == "folder" and spec.path is not None:
        classes = weights_classes(weights, loaded.metadata, classes_file)
        where, found = _on_folders(weights, loaded, spec.path, classes, batch_count)
    elif classes_file is not None:
        raise UsageError(f"--classes is for class folders; {spec.source} has classes of its own")
    else:
        where, found = _on_source(weights, loaded, spec, batch_count)
    document = _document(weights, loaded, found, where)
    if as_json:
        print_json(document)
    else:
        _print(document)


def _on_folders(
    weights: Path, loaded: LoadedNetwork, root: Path, classes: ClassNames, batch_count: int
) -> tuple[dict[str, Any], Evaluation]:
    """Where the images lie, and the accuracy on them."""
    from dse.cli.progress import DataProgress
    from dse.data import open_labelled
    from dse.training.predict import evaluate

    tree = open_labelled(root, classes)
    if tree.ignored_count:
        note(f"note: {tree.directory}: {tree.ignored_count} files are no images and are ignored")
    with DataProgress() as progress:
        found = evaluate(
            loaded, tree, source=str(weights), batch_count=batch_count, on_progress=progress
        )
    if found.broken_count:
        note(
            f"note: {found.broken_count} of {tree.images_count} images cannot be decoded and are "
            f"left out: {some_of(found.broken, count=found.broken_count)}"
        )
    return {"directory": str(tree.directory), "folders_count": len(tree.labels)}, found


def _on_source(
    weights: Path, loaded: LoadedNetwork, spec: DataSpec, batch_count: int
) -> tuple[dict[str, Any], Evaluation]:
    """As `_on_folders`, of the test images of a source that is no folder.

    Raises:
        DataError: its images are of another shape or other classes than the network's.
    """
    from dse.cli.data import prepared
    from dse.data import describe_data
    from dse.training.predict import evaluate

    description, metadata = describe_data(spec), loaded.metadata
    ours = (description.input_shape, description.classes)
    if ours != (tuple(metadata.input_shape), tuple(metadata.classes)):
        height, width, channels = description.input_shape
        raise DataError(
            f"{weights} is not for {spec.source}: it takes "
            f"{shape_text(metadata.input_shape)} and has {len(metadata.classes):,} classes "
            f"({_few(metadata.classes)}), but {spec.source} has {height}x{width}x{channels} and "
            f"{len(description.classes):,} ({_few(description.classes)})"
        )
    test = prepared(spec, description).test
    found = evaluate(loaded, test, source=str(weights), batch_count=batch_count)
    return {"directory": None, "folders_count": len(description.classes)}, found


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def load(weights: Path, preprocessing: str | None) -> LoadedNetwork:
    """The network of a weights file, fed as it says unless a rule is named."""
    from dse.networks import load_network
    from dse.weights.preprocessing import PREPROCESSINGS

    rule = PREPROCESSINGS[preprocessing] if preprocessing else None
    return load_network(weights, preprocessing=rule)


def _document(
    weights: Path, loaded: LoadedNetwork, found: Evaluation, where: dict[str, Any]
) -> dict[str, Any]:
    from dse.stats.intervals import wilson_interval

    metadata, count = loaded.metadata, found.images_count

    def share(name: str, right_count: int | None) -> dict[str, Any]:
        fields = (f"{name}_count", f"{name}_accuracy", f"{name}_interval")
        if right_count is None:
            return dict.fromkeys(fields)
        interval = wilson_interval(right_count, count)
        values = (right_count, right_count / count, [interval.low, interval.high])
        return dict(zip(fields, values, strict=True))

    return {
        "weights": str(weights),
        "candidate": metadata.candidate.key,
        "family": metadata.family,
        "preprocessing": metadata.preprocessing.to_dict(),
        **where,
        "classes_count": len(metadata.classes),
        "images_count": count,
        **share("top1", found.top1_count),
        **share("top5", found.top5_count),
        "broken_count": found.broken_count,
        "broken": list(found.broken),
        "wall_s": found.wall_s,
        "compile_s": found.compile_s,
        "images_per_s": found.images_per_s,
    }


def _print(document: dict[str, Any]) -> None:
    from dse.weights.preprocessing import describe_preprocessing, preprocessing_from_dict

    def share(name: str) -> str | None:
        if (right_count := document[f"{name}_count"]) is None:
            return None
        low, high = document[f"{name}_interval"]
        return (
            f"{percent(document[f'{name}_accuracy'])} ({right_count:,} of "
            f"{document['images_count']:,}; 95%: {percent(low)} to {percent(high)})"
        )

    rule = preprocessing_from_dict(document["preprocessing"])
    print_facts(
        {
            "weights": f"{document['weights']}: {document['family']} {document['candidate']}",
            "images": _images(document),
            "fed as": describe_preprocessing(rule),
            "top-1": share("top1"),
            "top-5": share("top5"),
            "images/s": f"{document['images_per_s']:.1f}, decoding included",
        }
    )


def _images(document: dict[str, Any]) -> str:
    if document["directory"] is None:
        return f"{document['images_count']:,} test images of {document['classes_count']:,} classes"
    return (
        f"{document['directory']}: {document['images_count']:,}, in folders of "
        f"{document['folders_count']:,} of {document['classes_count']:,} classes"
    )
