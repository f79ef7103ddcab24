"""`dse evaluate`: the accuracy of a weights file on images of its classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dse.cli.evaluate_views import classes_document, print_classes, write_errors
from dse.cli.options import ClassesFile, JsonFlag, PreprocessingName, WeightsFile
from dse.cli.running import check_output
from dse.cli.tables import note, print_facts, print_json
from dse.errors import UsageError
from dse.text import counted, percent, some_of

if TYPE_CHECKING:
    from dse.data import LabelledTree, Split
    from dse.networks import LoadedNetwork
    from dse.training.predict import Evaluation
    from dse.weights.metadata import WeightsMetadata

EXAMPLES = """
\b
Examples:
  dse evaluate squeezenet.safetensors --data folder:imagenet/val --classes imagenet_classes.csv
  dse evaluate results/digits-sweep/weights/2aff3db7c041-seed0.safetensors --data folder:images
  dse evaluate small.tflite --data folder:photos
  dse evaluate shapes.dsz --data folder:photos --errors errors.csv --confusion confusion.png
"""


def command(
    weights: WeightsFile,
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="SPEC",
            help="folder:PATH (its test folder where it has one), pack:FILE, digits.",
        ),
    ],
    classes_file: ClassesFile = None,
    batch_count: Annotated[
        int, typer.Option("--batch", metavar="N", min=1, help="Images scored at once.")
    ] = 32,
    preprocessing: PreprocessingName = None,
    errors: Annotated[
        Path | None,
        typer.Option(
            "--errors",
            metavar="FILE",
            help="List the images that are not correct, the most confident first, in a CSV file.",
        ),
    ] = None,
    confusion: Annotated[
        Path | None,
        typer.Option(
            "--confusion", metavar="FILE", help="Draw the confusion matrix: a .png or .svg file."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure accuracy, overall and per class, on class folders or a source's test images.

    Top-1, top-5 and balanced accuracy (the mean recall of the classes), recall and precision of
    each class with 95% intervals (Wilson), the confusion matrix, and the calibration error: how
    far the probabilities are from the accuracies.

    Folders bear the name or id of a class, by the weights file or by --classes; not every
    class needs a folder. Of a folder without test/ every image is scored, also those that
    were trained on. Broken images are named and left out. Files of dse export run in
    onnxruntime, LiteRT or as compiled by gcc.
    """
    from dse.api import open_scorer
    from dse.cli.display import DataProgress
    from dse.cli.running import prepared
    from dse.data import (
        check_same_data,
        describe_data,
        open_labelled,
        parse_data,
        weights_classes,
    )
    from dse.data.given import as_fed
    from dse.data.source import warnings_text

    if confusion is not None and confusion.suffix.lower() not in (".png", ".svg"):
        raise UsageError(f"--confusion is {confusion}, but must end in .png or .svg")
    for path, option in ((errors, "--errors"), (confusion, "--confusion")):
        if path is not None:
            check_output(path, option)
    spec = parse_data(data)
    score, metadata, runtime = open_scorer(weights, preprocessing)
    images: LabelledTree | Split
    if spec.source == "folder" and spec.path is not None:
        images = open_labelled(spec.path, weights_classes(weights, metadata, classes_file))
        where = {"directory": str(images.directory), "folders_count": len(images.labels)}
        for warning in images.warnings:
            note(f"note: {warning}")
    elif classes_file is not None:
        raise UsageError(f"--classes is for class folders; {spec.source} has classes of its own")
    else:
        spec = as_fed(spec, metadata.preprocessing)
        description = describe_data(spec)
        check_same_data(weights, metadata, spec, description)
        images = prepared(spec, description).test
        where = {"directory": None, "folders_count": len(metadata.classes)}
    warned: list[str] = []
    with DataProgress() as progress:
        found = score(
            images,
            source=str(weights),
            batch_count=batch_count,
            on_progress=progress,
            on_warning=warned.append,
        )
    if warned:
        note(f"note: {warnings_text(warned, found.broken_count + found.images_count)}")
    if found.broken_count:
        note(
            f"note: {found.broken_count} of {found.broken_count + found.images_count} images "
            f"cannot be decoded and are left out: {some_of(found.broken, count=found.broken_count)}"
        )
    outcomes = found.outcomes
    if as_json:
        document = _document(weights, metadata, found, where)
        print_json(document | {"runtime": runtime} | classes_document(outcomes))
    else:
        _print(weights, metadata, found, where, runtime)
        print_classes(outcomes)
    if errors is not None:
        count = write_errors(errors, outcomes)
        note(f"written: {errors} ({counted(count, 'image')} not correct)")
    if confusion is not None:
        from dse.report.figures.confusion import plot_confusion

        plot_confusion(outcomes, confusion)
        note(f"written: {confusion}")


def load(weights: Path, preprocessing: str | None) -> LoadedNetwork:
    """The network of a weights file, fed as it says unless a rule is named."""
    from dse.networks import load_network
    from dse.weights.preprocessing import PREPROCESSINGS

    rule = PREPROCESSINGS[preprocessing] if preprocessing else None
    return load_network(weights, preprocessing=rule)


def _document(
    weights: Path, metadata: WeightsMetadata, found: Evaluation, where: dict[str, Any]
) -> dict[str, Any]:
    def share(name: str, correct_count: int | None) -> dict[str, Any]:
        names = (f"{name}_count", f"{name}_accuracy", f"{name}_interval")
        if correct_count is None:
            return dict.fromkeys(names)
        low, high = _interval(correct_count, found)
        values = (correct_count, correct_count / found.images_count, [low, high])
        return dict(zip(names, values, strict=True))

    return {
        "weights": str(weights),
        "candidate": metadata.candidate.key,
        "family": metadata.family,
        "preprocessing": metadata.preprocessing.to_dict(),
        **where,
        "classes_count": len(metadata.classes),
        "images_count": found.images_count,
        **share("top1", found.top1_count),
        **share("top5", found.top5_count),
        "broken_count": found.broken_count,
        "broken": list(found.broken),
        "wall_s": found.wall_s,
        "compile_s": found.compile_s,
        "images_per_s": found.images_per_s,
    }


def _print(
    weights: Path,
    metadata: WeightsMetadata,
    found: Evaluation,
    where: dict[str, Any],
    runtime: str | None,
) -> None:
    from dse.stats.classification import calibration
    from dse.weights.preprocessing import describe_preprocessing

    outcomes = found.outcomes
    calibrated, (largest, largest_share) = calibration(outcomes), outcomes.largest

    def share(correct_count: int | None) -> str | None:
        if correct_count is None:
            return None
        low, high = _interval(correct_count, found)
        return (
            f"{percent(correct_count / found.images_count)} ({correct_count:,} of "
            f"{found.images_count:,}; 95%: {percent(low)} to {percent(high)})"
        )

    images = f"{found.images_count:,} test images of {len(metadata.classes):,} classes"
    if where["directory"] is not None:
        images = (
            f"{where['directory']}: {found.images_count:,}, in folders of "
            f"{where['folders_count']:,} of {len(metadata.classes):,} classes"
        )
    print_facts(
        {
            "weights": f"{weights}: {metadata.family} {metadata.candidate.key}",
            **({"runtime": runtime} if runtime else {}),
            "images": images,
            "fed as": describe_preprocessing(metadata.preprocessing),
            "top-1": share(found.top1_count),
            "top-5": share(found.top5_count),
            "balanced": f"{percent(outcomes.balanced_accuracy)}, mean recall of the classes; the "
            f"largest, {largest}, has {percent(largest_share)} of the images",
            "calibration": f"error {100 * calibrated.error:.2f} points; mean probability "
            f"{percent(calibrated.confidence)}, accuracy {percent(outcomes.is_correct.mean())}",
            "images/s": f"{found.images_per_s:.1f}, decoding included",
        }
    )


def _interval(correct_count: int, found: Evaluation) -> tuple[float, float]:
    from dse.stats.intervals import wilson_interval

    interval = wilson_interval(correct_count, found.images_count)
    return interval.low, interval.high
