"""Names of the files of a study, and how each is written: all of it or nothing.

results/<study>/study.db        the record (SQLite in WAL mode)
                study.yaml      what was studied: space, recipe, data, versions
                trials.csv      one row per candidate and seed
                answer.json     what a search found
                init.*          the weights that candidates start from, where there are any
                weights/        a safetensors file for each finished row
                checkpoints/    of trials that may be resumed
                logs/           what the workers said
results/references/<name>-<data>-<key>/
                reference.json  what was measured of it, beside its own study's files
"""

from __future__ import annotations

from pathlib import Path

from dse.errors import StudyError
from dse.files import replacing
from dse.study.shared import SharedStudy

DATABASE_NAME = "study.db"
DESCRIPTION_NAME = "study.yaml"
TRIALS_NAME = "trials.csv"
ANSWER_NAME = "answer.json"
REFERENCE_NAME = "reference.json"
STUDY_FILES = (TRIALS_NAME, DESCRIPTION_NAME, DATABASE_NAME, ANSWER_NAME)

WEIGHTS_FOLDER = "weights"
CHECKPOINTS_FOLDER = "checkpoints"
LOGS_FOLDER = "logs"
REFERENCES_FOLDER = "references"

COMPRESSION_FRONT_SUFFIX = "-front.json"
"""Of the table that `dse compress --front` writes beside its `.dsz` file."""


def write_file(path: Path, content: bytes) -> Path:
    """Write a file of a study; a reader sees the old one or the whole new one.

    Raises:
        StudyError: the folder cannot be written.
    """
    try:
        with replacing(path) as file:
            file.write(content)
    except OSError as error:
        raise folder_error(path.parent, error) from error
    return path


def record_damaged(where: Path | SharedStudy, problem: object) -> StudyError:
    """What to say of a record that does not hold what it should.

    Args:
        where: the folder of the study, or the database that holds it.
        problem: what was found.
    """
    if isinstance(where, SharedStudy):
        return StudyError(
            f"{where} is damaged: {problem}; restore it from a backup, or choose another --study "
            "name"
        )
    return StudyError(
        f"{where / DATABASE_NAME} is damaged: {problem}; put a sound copy in its place, or "
        f"choose another --study name ({TRIALS_NAME} beside it is as it was)"
    )


def folder_error(directory: Path, cause: BaseException) -> StudyError:
    """What to say where a study's folder cannot be read or written."""
    return StudyError(
        f"{directory} cannot be read or written: {str(cause).splitlines()[0]}; what was recorded "
        "is kept: once this is fixed (space on the disk, rights of the folder, or another "
        "--results folder), the same command resumes"
    )
