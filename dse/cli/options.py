"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def _database(text: str) -> str:
    if not text:
        return ""
    from dse.study.shared import parse_url

    return parse_url(text)


StorageUrl = Annotated[
    str,
    typer.Option(
        "--storage",
        metavar="URL",
        envvar="DSE_STORAGE",
        show_envvar=True,
        show_default=False,
        callback=_database,
        help="PostgreSQL database that has the record, as postgresql+psycopg://USER@HOST/DATABASE; "
        "default: a file in the study's folder.",
    ),
]

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]

SpaceName = Annotated[
    str,
    typer.Argument(metavar="SPACE", help="A search space: a path or a name of `dse spaces`."),
]

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="The study's name.")]

WeightsFile = Annotated[
    Path, typer.Argument(metavar="WEIGHTS", help="A weights file of `dse sweep` or `dse import`.")
]

ResultsDirectory = Annotated[
    Path, typer.Option("--results", metavar="DIR", help="Where the studies are.")
]

SettingTexts = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a metaparameter; repeatable."),
]

RecipeTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--recipe",
        metavar="KEY=VALUE",
        help="Change the recipe (learning_rate, batch_size, …); repeatable.",
    ),
]

EpochsCount = Annotated[
    int | None,
    typer.Option("--epochs", metavar="N", min=1, help="Passes over the training images."),
]

SizeName = Literal["params_count", "macs", "weight_bytes", "peak_activation_bytes"]

SizeAxis = Annotated[
    SizeName,
    typer.Option(
        "--x",
        metavar="SIZE",
        help="What accuracy is set against: params_count, macs, weight_bytes or "
        "peak_activation_bytes.",
    ),
]

DataText = Annotated[
    str,
    typer.Option(
        "--data", metavar="SPEC", help="digits, folder:PATH, pack:FILE, cifar10 or cifar10:PATH."
    ),
]

ImageSize = Annotated[
    str | None,
    typer.Option(
        "--image-size",
        metavar="PIXELS",
        help="Size that images of a folder or pack get: a side, or HEIGHTxWIDTH.",
    ),
]

InitWeights = Annotated[
    Path | None,
    typer.Option(
        "--init",
        metavar="WEIGHTS",
        help="Start from these weights (of any classes): what fits is inherited, the last layer "
        "is new, and images are fed as the file says.",
    ),
]

TrainImages = Annotated[
    int | None,
    typer.Option(
        "--train-images",
        metavar="N",
        min=1,
        help="Train on a fixed, stratified subset of N images.",
    ),
]

Duplicates = Annotated[
    Literal["warn", "drop", "error"],
    typer.Option(
        "--duplicates",
        help="Images of a folder that are in two splits or in two classes: tell, leave out copies "
        "(the training one first), or stop.",
    ),
]

StudySeed = Annotated[
    int,
    typer.Option(
        "--study-seed", metavar="N", min=0, max=2**32 - 1, help="Source of all random draws."
    ),
]

WorkersCount = Annotated[
    int | None,
    typer.Option(
        "--workers", metavar="N", min=1, help="Processes; default: one per core, or one per GPU."
    ),
]

DevicesPerWorker = Annotated[
    int,
    typer.Option(
        "--devices-per-worker",
        metavar="N",
        min=1,
        help="Devices that train one candidate together, each with a share of every batch.",
    ),
]

ExecutorName = Annotated[
    Literal["local", "ray"],
    typer.Option(
        "--executor", help="What runs the workers: processes of this machine, or a Ray cluster."
    ),
]

Address = Annotated[
    str,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        show_default=False,
        help="Head of the Ray cluster, or auto; default: one that is started here.",
    ),
]

GpusPerWorker = Annotated[
    float | None,
    typer.Option(
        "--gpus-per-worker",
        metavar="N",
        min=0,
        help="GPUs of each worker of a Ray cluster, or a share of one, such as 0.25; default: 1 "
        "where there are any.",
    ),
]

Artifacts = Annotated[
    str,
    typer.Option(
        "--artifacts",
        metavar="URL",
        show_default=False,
        help="Where images, checkpoints and weights of a Ray cluster are exchanged: s3://, gs:// "
        "or az://BUCKET/PREFIX, or a folder that every machine sees; default: through Ray.",
    ),
]

ClassesFile = Annotated[
    Path | None,
    typer.Option(
        "--classes",
        metavar="FILE",
        help="Names of the classes: a CSV file with the columns index, wnid and name.",
    ),
]

PreprocessingName = Annotated[
    Literal["caffe", "torchvision"] | None,
    typer.Option(
        "--preprocessing",
        metavar="NAME",
        help="Feed images as caffe or torchvision does, whatever the weights file says.",
    ),
]

TensorBoardDirectory = Annotated[
    Path | None,
    typer.Option(
        "--tensorboard",
        metavar="DIR",
        help="Write loss and accuracies for TensorBoard there too; needs the extra tensorboard.",
    ),
]

Port = Annotated[
    int, typer.Option("--port", metavar="N", min=1, max=65535, help="Port to serve on.")
]

PlotsDirectory = Annotated[Path, typer.Option("--plots", metavar="DIR", help="Where the plots go.")]
