"""`dse import`: published weights as a weights file that says everything of itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dse.cli.options import ClassesFile, JsonFlag
from dse.cli.tables import note, print_facts, print_json
from dse.errors import UsageError, WeightsError
from dse.text import bytes_text

if TYPE_CHECKING:
    from dse.weights.metadata import WeightsMetadata

EXAMPLES = """
\b
Examples:
  dse import squeezenet_v1.0
  dse import squeezenet_v1.0.net --out squeezenet.safetensors
  dse import squeezenet1_1.safetensors --out squeezenet_v1.1.safetensors
  dse import squeezenet_v1.0.net --out squeezenet.safetensors --classes imagenet_classes.csv
"""

PRESET = "squeezenet_v1.0"
"""The network that is published in the deep-compression format; the file names none."""

FormatName = Literal["deep-compression", "torchvision"]


def command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="The published file; or squeezenet_v1.0, which is fetched from its authors.",
        ),
    ],
    file_format: Annotated[
        FormatName | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="deep-compression: SqueezeNet v1.0 as its authors published it. torchvision: a "
            "state dict of SqueezeNet v1.0, v1.1 or AlexNet as safetensors. Default: by the "
            "file's name.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="WEIGHTS",
            help="Weights file to write; default: the network's name, .safetensors.",
        ),
    ] = None,
    classes_file: ClassesFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a weights file of published weights.

    It holds the weights in float32 and says which network they belong to, its classes and
    how images are fed to it; without --classes the classes are called by their numbers.
    """
    from dse.weights.safetensors import save_weights

    if str(file) == PRESET and not file.exists():
        file, file_format = _fetched(), file_format or "deep-compression"
    is_safetensors = file.suffix.lower() in (".safetensors", ".pth", ".pt", ".bin")
    file_format = file_format or ("torchvision" if is_safetensors else "deep-compression")
    found = (_torchvision if file_format == "torchvision" else _deep_compression)(file)
    path = out or Path(f"{found.network}.safetensors")
    if path.exists() and file.exists() and path.samefile(file):
        raise UsageError(f"--out is {path}, the file to be imported; it would be overwritten")
    metadata = _metadata(found, file, file_format, classes_file)
    if found.note:
        note(found.note)
    save_weights(path, found.arrays, {}, metadata)
    kernels = [array for name, array in found.arrays.items() if name.endswith("/kernel")]
    document = {
        "file": str(file),
        "network": found.network,
        "candidate": metadata.candidate.key,
        "family": metadata.family,
        "metaparameters": dict(metadata.metaparameters),
        "input_shape": metadata.input_shape,
        "classes_count": len(metadata.classes),
        "preprocessing": metadata.preprocessing.to_dict(),
        "params_count": sum(array.size for array in found.arrays.values()),
        "nonzero_weights_count": sum(int((kernel != 0).sum()) for kernel in kernels),
        "file_bytes": file.stat().st_size,
        "file_sha256": found.sha256,
        "weights": str(path),
        "weights_bytes": path.stat().st_size,
    }
    if as_json:
        print_json(document)
        return
    print_facts(
        {
            "network": found.network,
            "parameters": document["params_count"],
            "nonzero weights": document["nonzero_weights_count"],
            "read": f"{file}: {bytes_text(document['file_bytes'])}",
            "wrote": f"{path}: {bytes_text(document['weights_bytes'])}",
        }
    )


@dataclass(frozen=True)
class _Found:
    """What a file holds: weights of a preset's network by path, and how images are fed to it."""

    network: str
    classes_count: int
    input_shape: tuple[int, int, int]
    preprocessing: str
    arrays: dict[str, Any]
    sha256: str
    note: str = ""


def _fetched() -> Path:
    """The authors' file of SqueezeNet v1.0, from the cache or their repository."""
    from dse.cli.display import DataProgress
    from dse.data.download import download
    from dse.data.spec import cache_root
    from dse.weights.deep_compression import PUBLISHED_MD5, PUBLISHED_NAME, PUBLISHED_URL

    path = cache_root() / "published" / PUBLISHED_NAME
    if not path.exists():
        with DataProgress() as progress:
            download(
                PUBLISHED_URL,
                path,
                md5=PUBLISHED_MD5,
                otherwise="or name its place: dse import FILE",
                progress=progress,
            )
    return path


def _deep_compression(file: Path) -> _Found:
    from dse.architecture import PRESETS, build
    from dse.weights.deep_compression import PUBLISHED_SHA256, read_deep_compression

    preset = PRESETS[PRESET]
    decoded = read_deep_compression(
        file, build(preset.candidate, preset.input_shape, preset.classes_count)
    )
    said = (
        f"note: {file} is well formed, but not the published file, whose SHA-256 is "
        f"{PUBLISHED_SHA256}; its format has no checksum, so some values may be wrong"
    )
    return _Found(
        PRESET,
        preset.classes_count,
        preset.input_shape,
        "caffe",
        decoded.arrays,
        decoded.sha256,
        "" if decoded.sha256 == PUBLISHED_SHA256 else said,
    )


def _torchvision(file: Path) -> _Found:
    from dse.weights.torchvision import INPUT_SHAPE, read_torchvision

    state = read_torchvision(file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    count = state.architecture.classes_count
    return _Found(state.preset, count, INPUT_SHAPE, "torchvision", state.arrays, digest)


def _metadata(
    found: _Found, file: Path, file_format: FormatName, classes_file: Path | None
) -> WeightsMetadata:
    from dse.architecture import PRESETS
    from dse.data import read_classes
    from dse.weights.metadata import WeightsMetadata
    from dse.weights.preprocessing import PREPROCESSINGS

    names: tuple[str, ...] = tuple(map(str, range(found.classes_count)))
    ids: tuple[str, ...] = ()
    if classes_file:
        classes = read_classes(classes_file)
        if len(classes.names) != found.classes_count:
            raise WeightsError(
                f"{classes_file} has {len(classes.names):,} classes, but {found.network} has "
                f"{found.classes_count:,}"
            )
        names, ids = classes.names, classes.ids
    candidate = PRESETS[found.network].candidate
    return WeightsMetadata(
        family=candidate.family,
        metaparameters=candidate.metaparameters,
        input_shape=found.input_shape,
        classes=names,
        preprocessing=PREPROCESSINGS[found.preprocessing],
        class_ids=ids,
        extra={"imported_from": file.name, "imported_format": file_format},
    )
