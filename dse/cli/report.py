"""`dse report`: studies as one HTML page to send to others."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dse.cli.options import JsonFlag, ResultsDirectory, StorageUrl
from dse.cli.running import check_output, studies_in
from dse.cli.tables import note, print_json, print_line
from dse.errors import DataError, DseError, UsageError
from dse.text import size_text

if TYPE_CHECKING:
    from dse.data import DataSpec
    from dse.report.html.contents import Contents
    from dse.report.html.markup import Html

EXAMPLES = """
\b
Examples:
  dse report squeeze_ratio-digits
  dse report squeezenet-photos-search --out report.html
  dse report squeeze_ratio-digits pct_3x3-digits --out both.html
"""


def command(
    study_names: Annotated[
        list[str], typer.Argument(metavar="STUDY...", help="One study, or several to compare.")
    ],
    results: ResultsDirectory = Path("results"),
    storage_url: StorageUrl = "",
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The page to write, an .html file.")
    ] = Path("report.html"),
    data: Annotated[
        str | None,
        typer.Option(
            "--data", metavar="SPEC", help="Where the images are now, if not where they were."
        ),
    ] = None,
    with_errors: Annotated[
        bool,
        typer.Option(
            "--errors/--no-errors",
            help="Score the validation images where weights and images are at hand, and show "
            "recall, confusions and the worst images.",
        ),
    ] = True,
    with_photos: Annotated[
        bool, typer.Option("--photos/--no-photos", help="Show the worst images as thumbnails.")
    ] = True,
    as_json: JsonFlag = False,
) -> None:
    """Write studies as one HTML page: front, layers, claim, errors, deployment, provenance.

    The page fetches nothing and can be sent as it is; it works without scripts and printed too.
    It shows thumbnails of images: look at it before you publish it, or use --no-photos.
    """
    from dse.report.html.contents import read_contents
    from dse.report.html.page import report_page, write_report
    from dse.report.tables.studies import study_directory

    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out is {out}, but must end in .html, for example report.html")
    check_output(out)
    names = list(dict.fromkeys(study_names))
    with studies_in(storage_url, results, names) as folder:
        studies = [read_contents(folder, name, at=at) for at, name in enumerate(names)]
        errors = {}
        for study in studies if with_errors else ():
            try:
                section = _errors(study, study_directory(folder, study.name), data, with_photos)
            except DseError as error:  # the page is worth having without it
                section = None
                note(f"note: {study.name}: what its network gets wrong is not shown: {error}")
            if section:
                errors[study.name] = section
    page = report_page(studies, errors=errors)
    write_report(out, page)
    if as_json:
        print_json({"studies": names, "path": str(out), "bytes": len(page.encode())})
    else:
        print_line(out)
        note(f"{size_text(len(page.encode()))}; open it in any browser")


def _errors(study: Contents, directory: Path, data: str | None, with_photos: bool) -> Html | None:
    """Score the validation images with the study's network; None where it has no weights here.

    Raises:
        DseError: weights or images cannot be read, or are not those of the study.
    """
    from dse.study.paths import WEIGHTS_FOLDER

    point, found = study.shown, study.found
    if point is None:
        return None
    names = [seed.weights for seed in found.seeds if seed.weights] if found else []
    names += [f"{WEIGHTS_FOLDER}/{point.key}-seed0.safetensors"]
    weights = next((path for name in names if (path := directory / name).is_file()), None)
    if weights is None:
        return None
    from dse.cli.display import DataProgress
    from dse.cli.evaluate import load
    from dse.cli.running import described, prepared
    from dse.report.html.errors import errors_section
    from dse.training.predict import evaluate

    spec = _spec(study.table.description.command, data)
    dataset = prepared(spec, described(spec))
    fingerprint = study.table.description.data.fingerprint
    if fingerprint != dataset.fingerprint:
        raise DataError(
            f"{dataset.name} holds other images than the study had (data fingerprint "
            f"{dataset.fingerprint}, not {fingerprint}); --data says where they are now"
        )
    with DataProgress() as progress:
        scored = evaluate(
            load(weights, None),
            dataset.validation,
            source=str(weights),
            batch_count=32,
            on_progress=progress,
        )
    what = (
        f"Candidate {point.key} ({weights.name}) on the validation images, so that the test images "
        "stay unseen:"
    )
    pictures = dataset.validation.images if with_photos else None
    return errors_section(scored.outcomes, what=what, pictures=pictures)


def _spec(command: str, data: str | None) -> DataSpec:
    """The images as the study's command had them, from elsewhere where `data` says so."""
    from dse.data import parse_data

    words = shlex.split(command)

    def option(name: str) -> str | None:
        for at, word in enumerate(words):
            if word == name and at + 1 < len(words):
                return words[at + 1]
            if word.startswith(f"{name}="):
                return word.partition("=")[2]
        return None

    limit = option("--train-images")
    return parse_data(
        data or option("--data") or "digits",
        image_size=option("--image-size"),
        train_limit=int(limit) if limit and limit.isdecimal() else None,
        duplicates=option("--duplicates") or "warn",
    )
