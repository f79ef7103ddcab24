"""The images of a study, looked at and prepared, with what the user should know of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dse.cli.tables import note

if TYPE_CHECKING:
    from dse.data import DataDescription, Dataset, DataSpec


def described(spec: DataSpec) -> DataDescription:
    """What is known of the images before they are decoded; says its warnings."""
    from dse.cli.progress import DataProgress
    from dse.data import describe_data

    with DataProgress() as progress:
        description = describe_data(spec, progress=progress)
    for warning in description.warnings:
        note(f"note: {warning}")
    return description


def prepared(spec: DataSpec, description: DataDescription) -> Dataset:
    """The images themselves; says the warnings that `description` had not."""
    from dse.cli.progress import DataProgress
    from dse.data import prepare_data

    with DataProgress() as progress:
        dataset = prepare_data(spec, progress=progress)
    for warning in dataset.warnings:
        if warning not in description.warnings:  # broken images show when they are decoded
            note(f"note: {warning}")
    return dataset
